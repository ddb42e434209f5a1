"""The bar: at most 200 bytes for a key in a window, or a session; and that what is counted is what is there."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import pytest

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.changelog import BlockChangelog
from streamkit.state.footprint import footprint
from streamkit.state.functions import accumulator
from streamkit.state.session_store import SessionStore
from streamkit.state.time_record import TimeRecord
from streamkit.state.window_store import WindowStore

BAR = 200
BATCH = 2_000
FUNCTIONS = [accumulator(name, Kind.INT, nullable=False) for name in ("count", "sum", "max")]
TIME = TimeRecord("f", -1, -1, -1, [], 0)

Filled = tuple[WindowStore | SessionStore, BlockChangelog]


def batches(kind: str, entries: int) -> Iterator[Any]:
    for start in range(0, entries, BATCH):
        numbers = np.arange(start, min(start + BATCH, entries)) * 7_919
        yield numbers if kind == "int" else [f"customer-{number % 10**6:06}" for number in numbers.tolist()]


def windows(kind: str, entries: int) -> Filled:
    store = WindowStore(FUNCTIONS)
    writer = BlockChangelog("s", "f", store.accumulators, "a")
    for keys in batches(kind, entries):
        ones = Column(np.ones(len(keys), np.int64), None, Kind.INT)
        store.update(np.full(len(keys), 60, np.int64), None, keys, [ones, ones, ones])
        for _ in writer.collect(store, TIME):
            pass
    return store, writer


def sessions(kind: str, entries: int) -> Filled:
    store = SessionStore(FUNCTIONS, 60)
    writer = BlockChangelog("s", "f", store.accumulators, "a", shared_slots=True)
    for keys in batches(kind, entries):
        ones = Column(np.ones(len(keys), np.int64), None, Kind.INT)
        store.update(np.zeros(len(keys), np.int64), keys, [ones, ones, ones], refuse_nothing)
        for _ in writer.collect(store, TIME):
            pass
    return store, writer


def refuse_nothing(index: int, reason: str) -> NoReturn:
    raise AssertionError((index, reason))


# those of the benchmark, and such as arrays or tables have just grown for
@pytest.mark.parametrize("entries", [9_000, 17_000, 33_000, 66_000, 100_000, 131_000, 132_000, 140_000])
@pytest.mark.parametrize("kind", ["int", "text"])
@pytest.mark.parametrize("fill", [windows, sessions])
def test_an_entry_takes_at_most_200_bytes(fill: Callable[[str, int], Filled], kind: str, entries: int) -> None:
    store, writer = fill(kind, entries)
    assert len(store) == entries
    assert footprint(store, writer) / entries <= BAR


@pytest.mark.parametrize("entries", [6_000, 30_000])
@pytest.mark.parametrize("kind", ["int", "text"])
@pytest.mark.parametrize("fill", [windows, sessions])
def test_what_is_counted_is_what_is_allocated(fill: Callable[[str, int], Filled], kind: str, entries: int) -> None:
    """Texts that a dict and a list hold were counted twice."""
    fill(kind, 2 * BATCH)  # what is made once for all stays out of it
    gc.collect()
    tracemalloc.start()
    try:
        store, writer = fill(kind, entries)
        gc.collect()
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert footprint(store, writer) == pytest.approx(allocated, rel=0.03)
