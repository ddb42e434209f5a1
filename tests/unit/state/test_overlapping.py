"""Totals of overlapping windows against adding up every window's panes, whatever windows are skipped and wherever it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.eventtime.windows import HoppingWindow
from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.functions import accumulator
from streamkit.state.overlapping import OverlappingTotals
from streamkit.state.window_store import Entries, WindowStore

ACCUMULATORS = [accumulator("sum", Kind.FLOAT, nullable=False), accumulator("max", Kind.INT, nullable=False)]


Input = tuple[int, int, int, int]
"""Time, key, value, and for how many of its windows the record is late."""


def make(window: HoppingWindow, records: list[Input]) -> WindowStore:
    store = WindowStore(ACCUMULATORS, window.counts_in)
    times, keys, values, late = (np.array(column, np.int64) for column in zip(*records, strict=True))
    panes = window.pane_ends(times)
    since = np.minimum(window.first_window_end(panes) + late * window.step_ms, window.last_window_end(panes))
    store.update(panes, since, keys, [Column(values / 10, None, Kind.FLOAT), Column(values, None, Kind.INT)])
    return store


def rows(entries: Entries | None, store: WindowStore) -> dict[Any, tuple[Any, ...]]:
    if entries is None:
        return {}
    columns = [column.to_list() for column in store.results(entries)]
    return dict(zip(np.asarray(entries.keys).tolist(), zip(*columns, strict=True), strict=True))


def expected(window: HoppingWindow, records: list[Input], end: int) -> dict[int, tuple[Any, int]]:
    found: dict[int, list[int]] = {}
    for time, key, value, late in records:
        first, last = window.counts_in(int(window.pane_ends(np.array([time]))[0]))
        if min(first + late * window.step_ms, last) <= end <= last:
            found.setdefault(key, []).append(value)
    return {key: (pytest.approx(sum(values) / 10), max(values)) for key, values in found.items()}


@st.composite
def cases(draw: st.DrawFn) -> tuple[HoppingWindow, list[Input]]:
    hop = draw(st.integers(1, 6))
    size = hop * draw(st.integers(1, 5)) + draw(st.integers(0, hop))
    record = st.tuples(st.integers(-60, 60), st.integers(0, 3), st.integers(-99, 99), st.sampled_from([0, 0, 0, 1, 2, 9]))
    window = HoppingWindow(size_ms=size, step_ms=hop, offset_ms=draw(st.integers(-9, 9)))
    return window, draw(st.lists(record, min_size=1, max_size=30))


def closed(window: HoppingWindow, store: WindowStore, restarts: st.DataObject | None) -> Iterator[tuple[int, dict[Any, Any]]]:
    """Window after window, with new totals now and then."""
    totals = OverlappingTotals(store, window.size_ms, window.offset_ms)
    end = store.first_window_end
    while end is not None:
        if restarts is not None and restarts.draw(st.booleans(), label="restart"):
            totals = OverlappingTotals(store, window.size_ms, window.offset_ms)
        peeked = rows(totals.peek(end), store)
        found = rows(totals.window(end), store)
        assert peeked == {key: (pytest.approx(total), high) for key, (total, high) in found.items()}
        yield end, found
        store.drop_through(end)
        assert all(store.needed_through(pane) > end for pane in store.panes)
        first = store.first_window_end
        end = None if first is None else max(first, window.next_end(end))


@given(cases())
def test_every_window_has_the_rows_of_its_panes(case: tuple[HoppingWindow, list[Input]]) -> None:
    window, records = case
    for end, found in closed(window, make(window, records), None):
        assert found == expected(window, records, end)


@given(cases(), st.data())
def test_a_restart_changes_no_bit_of_a_sum_of_floats(case: tuple[HoppingWindow, list[Input]], data: st.DataObject) -> None:
    window, records = case
    assert list(closed(window, make(window, records), data)) == list(closed(window, make(window, records), None))
