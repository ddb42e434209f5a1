"""Window arithmetic on columns and on scalars against counting, also before 1970."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import DeclarationError
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME
from streamkit.eventtime.windows import CumulatingWindow, FixedWindow, HoppingWindow, TumblingWindow
from tests.support.reference import Grid, Hops, Windows


@st.composite
def windows(draw: st.DrawFn) -> tuple[FixedWindow, Windows]:
    """A window and what it is by definition."""
    kind = draw(st.sampled_from([TumblingWindow, CumulatingWindow, HoppingWindow]))
    step, steps = draw(st.integers(1, 9)), 1 if kind is TumblingWindow else draw(st.integers(1, 5))
    offset, grace = draw(st.integers(-40, 40)), draw(st.integers(0, 20))
    size = step * steps + (draw(st.integers(0, step)) if kind is HoppingWindow else 0)
    window = kind(size_ms=size, step_ms=step, offset_ms=offset, grace_ms=grace)
    return window, Hops(size, step, offset) if kind is HoppingWindow else Grid(size, step, offset)


moments = st.one_of(st.integers(-100, 100), st.sampled_from([MIN_TIMESTAMP, MAX_TIMESTAMP, 0, -1]))


@given(windows(), st.lists(moments, min_size=1, max_size=20))
def test_panes_count_in_exactly_the_windows_of_the_definition(drawn: tuple[FixedWindow, Windows], times: list[int]) -> None:
    window, definition = drawn
    pane_ends = window.pane_ends(np.array(times, np.int64))
    columns = (pane_ends, window.first_window_end(pane_ends), window.last_window_end(pane_ends))
    for time, pane_end, first, last in zip(times, *(column.tolist() for column in columns), strict=True):
        holding = definition.windows_of(time)
        ends = [end for _, end in holding]
        assert (first, last) == (ends[0], ends[-1])
        assert [(window.start_of(end), end) for end in ends] == holding
        assert all(window.next_end(a) == b and window.previous_end(b) == a for a, b in pairwise(ends))
        assert pane_end > time
        if isinstance(window, HoppingWindow):
            assert window.counts_in(pane_end) == (first, last)
            assert {tuple(definition.windows_of(t)) for t in range(pane_end - window.pane_ms, pane_end)} == {tuple(holding)}
        if isinstance(window, CumulatingWindow):
            assert [window.ends_span(end) for end in ends] == [False] * (len(holding) - 1) + [True]


@given(windows(), st.lists(moments, min_size=1, max_size=20))
def test_the_first_open_end_is_the_smallest_that_has_not_closed(
    drawn: tuple[FixedWindow, Windows], watermarks: list[int]
) -> None:
    window, definition = drawn
    for watermark, end in zip(watermarks, window.first_open_end(np.array(watermarks, np.int64)).tolist(), strict=True):
        assert end in {e for _, e in definition.windows_of(end - 1)}
        assert window.closes_at(end) > watermark >= window.closes_at(window.previous_end(end))


def test_no_time_leaves_room_to_compute() -> None:
    window = TumblingWindow(size_ms=86_400_000, step_ms=86_400_000, grace_ms=86_400_000)
    assert window.first_open_end(np.array([NO_TIME]))[0] < MIN_TIMESTAMP


@pytest.mark.parametrize("watermark, open_end", [(8, 10), (9, 20), (-1, 10), (-2, 0), (-11, 0), (-12, -10)], ids=str)
def test_edges(watermark: int, open_end: int) -> None:
    """A window [0, 10) closes at 9, one of before 1970 at -1."""
    assert TumblingWindow(size_ms=10, step_ms=10).first_open_end(np.array([watermark])).tolist() == [open_end]


@pytest.mark.parametrize(
    "kind, size, step, grace, says",
    [
        (TumblingWindow, 0, 0, 0, "size must be longer than 0"),
        (CumulatingWindow, 10, 0, 0, "step must be longer than 0"),
        (HoppingWindow, 10, 0, 0, "hop must be longer than 0"),
        (HoppingWindow, 10, 11, 0, r"hop \(11ms\) must not be longer than size \(10ms\)"),
        (TumblingWindow, 10, 10, -1, "grace must not be negative"),
        (CumulatingWindow, 10, 3, 0, r"size \(10ms\) must be a multiple of step \(3ms\)"),
    ],
)
def test_nonsense_is_refused(kind: type[FixedWindow], size: int, step: int, grace: int, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        kind(size_ms=size, step_ms=step, grace_ms=grace)
