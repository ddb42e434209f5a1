"""Window arithmetic on columns and on scalars against counting, also before 1970."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import DeclarationError
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME
from streamkit.eventtime.windows import FixedWindow
from tests.support.reference import Grid


@st.composite
def windows(draw: st.DrawFn) -> FixedWindow:
    step, steps = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    return FixedWindow("cumulating", step * steps, step, draw(st.integers(-40, 40)), draw(st.integers(0, 20)))


moments = st.one_of(st.integers(-100, 100), st.sampled_from([MIN_TIMESTAMP, MAX_TIMESTAMP, 0, -1]))


@given(windows(), st.lists(moments, min_size=1, max_size=20))
def test_panes_and_spans_of_a_column_are_those_of_the_definition(window: FixedWindow, times: list[int]) -> None:
    grid = Grid(window.size_ms, window.step_ms, window.offset_ms)
    pane_ends = window.pane_ends(np.array(times, np.int64))
    span_ends = window.span_ends(pane_ends)
    for time, pane_end, span_end in zip(times, pane_ends.tolist(), span_ends.tolist(), strict=True):
        holding = grid.windows_of(time)
        assert (pane_end, span_end) == (holding[0][1], holding[-1][1])
        assert {window.start_of(end) for _, end in holding} == {holding[0][0]}
        assert [window.ends_span(end) for _, end in holding] == [False] * (len(holding) - 1) + [True]


@given(windows(), st.lists(moments, min_size=1, max_size=20))
def test_the_first_open_end_is_the_smallest_that_has_not_closed(window: FixedWindow, watermarks: list[int]) -> None:
    for watermark, end in zip(watermarks, window.first_open_end(np.array(watermarks, np.int64)).tolist(), strict=True):
        assert (end - window.offset_ms) % window.step_ms == 0
        assert window.closes_at(end) > watermark >= window.closes_at(end - window.step_ms)


def test_no_time_leaves_room_to_compute() -> None:
    window = FixedWindow("tumbling", 86_400_000, 86_400_000, 0, 86_400_000)
    assert window.first_open_end(np.array([NO_TIME]))[0] < MIN_TIMESTAMP


@pytest.mark.parametrize("watermark, open_end", [(8, 10), (9, 20), (-1, 10), (-2, 0), (-11, 0), (-12, -10)], ids=str)
def test_edges(watermark: int, open_end: int) -> None:
    """A window [0, 10) closes at 9, one of before 1970 at -1."""
    assert FixedWindow("tumbling", 10, 10).first_open_end(np.array([watermark])).tolist() == [open_end]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("tumbling", 0, 0), "size must be longer than 0"),
        (("cumulating", 10, 0), "step must be longer than 0"),
        (("tumbling", 10, 10, 0, -1), "grace must not be negative"),
        (("cumulating", 10, 3), r"size \(10 ms\) must be a multiple of step \(3 ms\)"),
    ],
)
def test_nonsense_is_refused(arguments: tuple[object, ...], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        FixedWindow(*arguments)  # type: ignore[arg-type]
