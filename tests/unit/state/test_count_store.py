"""Count windows against lists of records, whatever the cuts into batches; and through a changelog and back at any commit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state import changelog, count_store
from streamkit.state.accumulators import CannotAddError, CannotGiveError
from streamkit.state.changelog import BlockChangelog
from streamkit.state.count_store import CountStore
from streamkit.state.functions import accumulator
from streamkit.state.ordered import TimedColumn
from streamkit.state.time_record import TimeRecord
from streamkit.state.window_store import Entries

FUNCTIONS = [
    accumulator("sum", Kind.FLOAT, nullable=False),
    accumulator("max", Kind.INT, nullable=False),
    accumulator("sum", Kind.ANY, nullable=True),
    accumulator("collect", Kind.INT, nullable=False, options={"limit": 100}),
]
Record = tuple[int, Any, int]
"""Time, key, value."""

int_keys = st.integers(-2, 2)
any_keys = st.one_of(st.none(), st.text("ab", max_size=1), st.sampled_from([1, 1.0, True]))
sizes = st.one_of(st.integers(1, 5).map(lambda size: (size, size)), st.tuples(st.integers(1, 8), st.integers(1, 8)))


def records_of(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Record]]:
    return st.lists(st.tuples(st.integers(0, 40), keys, st.integers(-99, 99)), max_size=30)


drawn = st.one_of(records_of(int_keys), records_of(any_keys))


def rows(store: CountStore, entries: Entries) -> list[tuple[Any, ...]]:
    """(key, its type, first time, last time, results)."""
    first, last, *_ = entries.cells[0]
    columns = [column.to_list() for column in store.results(entries)]
    keys = entries.keys if isinstance(entries.keys, list) else entries.keys.tolist()
    return [(key, type(key).__name__, *row) for key, *row in zip(keys, first.tolist(), last.tolist(), *columns, strict=True)]


def add(store: CountStore, records: list[Record]) -> list[tuple[Any, ...]]:
    """Adds a batch as the operator does, leaving out what is refused (13); gives the windows that it fills."""
    while records:
        times = np.array([time for time, _, _ in records], np.int64)
        keys: Any = [key for _, key, _ in records]
        if all(type(key) is int for key in keys):
            keys = np.array(keys, np.int64)
        values = np.array([value for _, _, value in records], np.int64)
        untyped = [value if value != 13 else "thirteen" for value in values.tolist()]
        inputs = [
            Column(values / 10, None, Kind.FLOAT),
            Column(values, None, Kind.INT),
            Column(untyped, None, Kind.ANY),
            TimedColumn(values, None, Kind.INT, times),
        ]
        try:
            return rows(store, store.update(times, keys, inputs).entries)
        except CannotAddError as error:
            refused = error.index
        assert [value for _, _, value in records].index(13) == refused  # the first one
        records = records[:refused] + records[refused + 1 :]
    return []


def open_rows(store: CountStore) -> list[tuple[Any, ...]]:
    return sorted(rows(store, store.filling()), key=repr)


def expected(records: list[Record], size: int, every: int) -> Iterator[tuple[Any, ...]]:
    """(key, its type, first time, last time, largest value, number) of each window, in the order of the last records."""
    by_key: dict[tuple[Any, str], list[Record]] = {}
    for record in records:
        if record[2] != 13:
            seen = by_key.setdefault((record[1], type(record[1]).__name__), [])
            seen.append(record)
            if len(seen) % every == 0:
                inside = seen[-size:]
                times, values = [time for time, _, _ in inside], [value for _, _, value in inside]
                yield (
                    record[1],
                    type(record[1]).__name__,
                    min(times),
                    max(times),
                    max(values),
                    sum(values),
                    sorted_by_time(inside),
                )


def sorted_by_time(inside: list[Record]) -> list[int]:
    return [value for _, _, value in sorted(inside, key=lambda record: record[0])]


@given(drawn, sizes, st.lists(st.integers(0, 30), max_size=4), st.sampled_from([1, 1 << 18]))
def test_any_cut_gives_the_windows_of_the_definition_and_the_same_bits(
    records: list[Record], sizes: tuple[int, int], cuts: list[int], merged_at_once: int
) -> None:
    whole, cut = CountStore(FUNCTIONS, *sizes), CountStore(FUNCTIONS, *sizes)
    with patch.object(count_store, "_MERGED_AT_ONCE", merged_at_once):
        filled = add(whole, records)
    bounds = sorted({0, len(records), *(at for at in cuts if at < len(records))})
    in_parts = [row for start, end in pairwise(bounds) for row in add(cut, records[start:end])]
    assert [(*row[:4], *row[5:]) for row in filled] == list(expected(records, *sizes))
    assert repr(in_parts) == repr(filled)
    assert repr(open_rows(cut)) == repr(open_rows(whole))
    assert len(cut) == len(whole)


def read_back(
    log: list[tuple[bytes, bytes | None]], store: CountStore, reader: BlockChangelog, *, compacted: bool = False
) -> None:
    newest = dict(log)
    for key, value in log:
        if not key.startswith(b"block:") or (compacted and newest[key] is None):
            continue
        if value is None:
            reader.forget(key)
        else:
            reader.apply(store, key, value)


@pytest.mark.parametrize("compacted", [False, True])
@given(batches=st.lists(st.tuples(drawn, st.booleans(), st.booleans()), max_size=8), sizes=sizes)
def test_what_is_read_back_goes_on_as_it_would_have(
    batches: list[tuple[list[Record], bool, bool]], sizes: tuple[int, int], *, compacted: bool
) -> None:
    """Batches with commits between them, and restores; blocks are written anew and dropped as soon as any row could go."""
    whole, store = CountStore(FUNCTIONS, *sizes), CountStore(FUNCTIONS, *sizes)
    writer = BlockChangelog("s", "f", store.accumulators, "0", shared_slots=True)
    log: list[tuple[bytes, bytes | None]] = []
    with patch.object(changelog, "REWRITE_SLACK_ROWS", 0):
        for number, (records, commits, restores) in enumerate(batches):
            assert repr(add(store, records)) == repr(add(whole, records))
            if commits or restores:
                log += writer.collect(store, TimeRecord("f", 0, -(2**62), 0))
            if restores:
                store = CountStore(FUNCTIONS, *sizes)
                writer = BlockChangelog("s", "f", store.accumulators, str(number + 1), shared_slots=True)
                read_back(log, store, writer, compacted=compacted)
                assert list(store.take_dirty()) == []
                assert repr(open_rows(store)) == repr(open_rows(whole))
                assert len(store) == len(whole)


@pytest.mark.parametrize("size, every", [(30, 1), (30, 7), (24, 18), (16, 4), (5, 40)])
@pytest.mark.parametrize("keys", [1, 4])
def test_long_windows_whatever_the_cuts_and_restarts(size: int, every: int, keys: int) -> None:
    """Batches that cross several blocks of panes, and ones of a single record."""
    random = np.random.default_rng(size + keys)
    times, chosen, values = random.integers(0, 40, 600), random.integers(0, keys, 600), random.integers(-99, 13, 600)
    records = list(zip(times.tolist(), chosen.tolist(), values.tolist(), strict=True))
    whole, cut = CountStore(FUNCTIONS, size, every), CountStore(FUNCTIONS, size, every)
    filled = add(whole, records)
    assert [(*row[:4], *row[5:]) for row in filled] == list(expected(records, size, every))
    found: list[tuple[Any, ...]] = []
    log: list[tuple[bytes, bytes | None]] = []
    writer = BlockChangelog("s", "f", cut.accumulators, "0", shared_slots=True)
    with patch.object(changelog, "REWRITE_SLACK_ROWS", 0):
        while records:
            batch = int(random.choice([1, 2, 9, 70, 300]))
            found += add(cut, records[:batch])
            records = records[batch:]
            log += writer.collect(cut, TimeRecord("f", 0, -(2**62), 0))
            if random.random() < 0.3:
                cut = CountStore(FUNCTIONS, size, every)
                writer = BlockChangelog("s", "f", cut.accumulators, str(len(records)), shared_slots=True)
                read_back(log, cut, writer)
    assert repr(found) == repr(filled)


def test_blocks_are_rewritten_so_that_the_changelog_stays_bounded_also_of_keys_that_leave() -> None:
    store = CountStore([accumulator("count", Kind.ANY, nullable=True)], 2, 2)
    writer = BlockChangelog("s", "f", store.accumulators, "a", shared_slots=True)
    live: dict[bytes, int] = {}
    with patch.object(changelog, "REWRITE_SLACK_ROWS", 100):
        for round_number in range(100):
            keys = np.arange(1_000) + round_number // 2 * 1_000  # each key comes twice and has left then
            store.update(np.full(1_000, round_number, np.int64), keys, [None])
            for key, value in writer.collect(store, TimeRecord("f", 0, -(2**62), 0)):
                if key.startswith(b"block:"):
                    live.pop(key, None) if value is None else live.update({key: 1_000})
    assert len(store) == 0
    assert len(store._keys) == 1_024
    assert sum(live.values()) <= 2_100
    assert writer._rows <= 2_100


def test_a_sum_of_panes_that_overflows_has_no_result() -> None:
    store = CountStore([accumulator("sum", Kind.INT, nullable=False)], 4, 2)
    keys = np.array([7, 8, 7, 8, 7, 8, 7, 8])
    values = np.array([1, 2**62, 1, 1, 1, 2**62, 1, 1])
    filled = store.update(np.arange(8), keys, [Column(values, None, Kind.INT)])
    with pytest.raises(CannotGiveError) as caught:
        store.results(filled.entries)
    assert filled.entries.keys[caught.value.index] == 8
