"""The window store and its changelog against plain dicts."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import StateError
from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import CannotAddError
from streamkit.state.blocks import decode_block
from streamkit.state.changelog import REWRITE_SLACK_ROWS, BlockChangelog
from streamkit.state.footprint import footprint
from streamkit.state.functions import accumulator
from streamkit.state.key_index import IntKeys, KeySet, ObjectKeys
from streamkit.state.time_record import TimeRecord
from streamkit.state.window_store import WindowStore

ACCUMULATORS = [
    accumulator("count", Kind.ANY, nullable=True),
    accumulator("sum", Kind.INT, nullable=True),
    accumulator("min", Kind.INT, nullable=True),
    accumulator("max", Kind.INT, nullable=False),
    accumulator("mean", Kind.INT, nullable=False),
]


def ints(values: list[int], valid: list[bool] | None = None) -> Column:
    return Column(np.array(values, np.int64), None if valid is None else np.array(valid), Kind.INT)


def new_store() -> WindowStore:
    return WindowStore(ACCUMULATORS)


def add(store: WindowStore, records: list[tuple[int, Any, int | None]]) -> None:
    ends = np.array([end for end, _, _ in records], np.int64)
    keys: Any = [key for _, key, _ in records]
    if all(isinstance(key, int) for key in keys):
        keys = np.array(keys, np.int64)
    nullable = ints([v or 0 for _, _, v in records], [v is not None for _, _, v in records])
    whole = ints([v or 0 for _, _, v in records])
    store.update(ends, None, keys, [None, nullable, nullable, whole, whole])


def contents(store: WindowStore) -> dict[tuple[int, Any], tuple[Any, ...]]:
    out = {}
    for entries in store.entries():
        columns = [column.to_list() for column in store.results(entries)]
        keys = entries.keys if isinstance(entries.keys, list) else entries.keys.tolist()
        for key, *values in zip(keys, *columns, strict=True):
            out[entries.pane.end, key] = tuple(values)
    return out


def reference(records: list[tuple[int, Any, int | None]]) -> dict[tuple[int, Any], tuple[Any, ...]]:
    groups: dict[tuple[int, Any], list[int | None]] = defaultdict(list)
    for end, key, value in records:
        groups[end, key].append(value)
    out = {}
    for group, values in groups.items():
        there = [v for v in values if v is not None]
        filled = [v or 0 for v in values]
        nothing = not there
        out[group] = (
            len(values),
            None if nothing else sum(there),
            None if nothing else min(there),
            max(filled),
            sum(filled) / len(filled),
        )
    return out


INT_RECORDS = st.lists(
    st.tuples(st.sampled_from([10, 20, 30]), st.integers(-5, 5), st.one_of(st.none(), st.integers(-1000, 1000))), max_size=60
)
MIXED_RECORDS = st.lists(
    st.tuples(st.sampled_from([10, 20]), st.one_of(st.none(), st.integers(-3, 3), st.sampled_from("ab")), st.integers(-9, 9)),
    max_size=40,
)


@given(INT_RECORDS, st.integers(1, 60))
def test_any_cut_into_batches_gives_the_reference(records: list[tuple[int, int, int | None]], size: int) -> None:
    store = new_store()
    for start in range(0, len(records), size):
        add(store, records[start : start + size])
    assert contents(store) == reference(records)


@given(MIXED_RECORDS, st.integers(1, 40))
def test_null_and_other_keys_are_groups_of_their_own(records: list[tuple[int, Any, int]], size: int) -> None:
    store = new_store()
    for start in range(0, len(records), size):
        add(store, records[start : start + size])
    assert contents(store) == reference(records)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=300), max_size=6))
def test_int_keys_get_dense_slots_once(batches: list[list[int]]) -> None:
    index, plain = IntKeys(), ObjectKeys()
    for batch in batches:
        column = np.array(batch, np.int64)
        slots = index.slots(column)
        plain.slots(column)
        assert index.keys()[slots].tolist() == batch
    assert sorted(index.keys().tolist()) == sorted(plain.keys())
    assert len(index) == len(plain)


def test_a_sum_beyond_64_bits_is_refused_and_leaves_nothing_behind() -> None:
    store = new_store()
    big = 2**62
    with pytest.raises(CannotAddError) as caught:
        add(store, [(20, 1, 5), (10, 7, big), (10, 8, 1), (10, 7, big)])
    assert caught.value.index == 3
    assert contents(store) == {}
    add(store, [(10, 8, 1)])
    assert contents(store) == reference([(10, 8, 1)])


def test_sums_that_only_seem_to_overflow_are_kept() -> None:
    store = new_store()
    records = [(10, key, 2**61) for key in range(8)]
    add(store, records)
    assert contents(store) == reference(records)


def test_objects_refuse_text_in_a_sum() -> None:
    store = WindowStore([accumulator("sum", Kind.ANY, nullable=True)])
    with pytest.raises(CannotAddError, match="a number is needed"):
        store.update(np.array([10, 10]), None, ["a", "b"], [Column([1, "x"], None, Kind.ANY)])
    assert len(store) == 0


@given(st.lists(st.tuples(INT_RECORDS, st.integers(0, 3)), max_size=12), st.sampled_from([5, None]))
def test_slots_of_closed_windows_are_given_to_others(
    steps: list[tuple[list[tuple[int, int, int | None]], int]], five: int | None
) -> None:
    """Windows close in the middle, and others take the place of their rows."""
    store, expected = new_store(), dict[tuple[int, Any], list[tuple[int, Any, int | None]]]()
    for turn, (records, closing) in enumerate(steps):
        moved = [(end + 30 * turn, five if key == 5 else key, value) for end, key, value in records]
        add(store, moved)
        for record in moved:
            expected.setdefault(record[:2], []).append(record)
        ends = sorted({end for end, _ in expected})[:closing]
        closed = store.close(*ends)
        assert len(closed or ()) == sum(end in ends for end, _ in expected)
        expected = {entry: of for entry, of in expected.items() if entry[0] not in ends}
        assert contents(store) == reference([record for of in expected.values() for record in of])
        assert store.first_window_end == min((end for end, _ in expected), default=None)


def test_rows_of_several_windows_are_closed_together_each_with_its_end() -> None:
    store = new_store()
    records: list[tuple[int, Any, int | None]] = [(20, 1, 5), (10, 7, 3), (10, 1, 4), (30, 7, 2)]
    add(store, records)
    closed = store.close(10, 15, 20)
    assert closed is not None
    assert closed.ends is not None
    assert sorted(zip(closed.ends.tolist(), closed.keys, closed.cells[0][0].tolist(), strict=True)) == [
        (10, 1, 1),
        (10, 7, 1),
        (20, 1, 1),
    ]
    assert contents(store) == reference(records[3:])
    assert store.close(10, 20) is None


def test_what_a_store_grew_to_is_given_back() -> None:
    store = WindowStore([accumulator("sum", Kind.INT, nullable=False)])
    many = np.arange(200_000, dtype=np.int64)
    for end in (10, 20, 30):
        store.update(np.full(len(many), end), None, many, [ints(many.tolist())])
        before = footprint(store)
        store.close(end)
        store.update(np.full(5, end + 10), None, many[:5], [ints([1] * 5)])
    assert before > 10_000_000 > 100 * footprint(store)
    assert contents(store) == {(40, key): (1,) for key in range(5)}


# ---- changelog


class Log:
    """A compacted topic."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    def live_blocks(self) -> int:
        last = dict(self.records)
        return sum(1 for key, value in last.items() if value is not None and key.startswith(b"block"))

    def compacted(self) -> list[tuple[bytes, bytes | None]]:
        last = {key: position for position, (key, _) in enumerate(self.records)}
        return [entry for position, entry in enumerate(self.records) if last[entry[0]] == position and entry[1] is not None]


def changelog(incarnation: str = "a") -> BlockChangelog:
    return BlockChangelog("totals", "f1", ACCUMULATORS, incarnation)


def at(closed_through: int) -> TimeRecord:
    return TimeRecord("f1", closed_through, closed_through, closed_through)


def restored(records: list[tuple[bytes, bytes | None]], closed_through: int) -> tuple[WindowStore, BlockChangelog]:
    store, reader = new_store(), changelog("b")
    for key, value in records:
        if value is None:
            reader.forget(key)
        elif key.startswith(b"block"):
            reader.apply(store, key, value)
    store.drop_through(closed_through)
    return store, reader


@given(
    st.lists(st.tuples(st.one_of(MIXED_RECORDS, INT_RECORDS), st.booleans()), max_size=8),
    st.sampled_from([0, REWRITE_SLACK_ROWS]),
)
def test_restore_gives_back_what_was_committed(steps: list[tuple[list[tuple[int, Any, int]], bool]], slack: int) -> None:
    with patch("streamkit.state.changelog.REWRITE_SLACK_ROWS", slack):
        restore_gives_back(steps)


def restore_gives_back(steps: list[tuple[list[tuple[int, Any, int]], bool]]) -> None:
    store, writer, log, closed = new_store(), changelog(), Log(), 0
    for records, close in steps:
        add(store, [record for record in records if record[0] > closed])
        if close and store.first_window_end is not None:
            closed = store.first_window_end
            store.close(closed)
        log.records += writer.collect(store, at(closed))
    expected = contents(store)
    for kept in (log.records, log.compacted()):
        again, reader = restored(kept, closed)
        assert contents(again) == expected
        # a second owner goes on, and a third restores from both
        add(again, [(40, "z", 1)])
        third, _ = restored([*kept, *reader.collect(again, at(closed))], closed)
        assert contents(third) == contents(again)


def test_blocks_of_closed_windows_are_dropped() -> None:
    store, writer, log = new_store(), changelog(), Log()
    for window in range(1, 50):
        add(store, [(window * 10, key, 1) for key in range(20)])
        if window > 2:
            store.close((window - 2) * 10)
        log.records += writer.collect(store, at((window - 2) * 10))
    assert log.live_blocks() <= 3


def test_a_long_open_window_does_not_grow_the_log_without_bound() -> None:
    store, writer, log = new_store(), changelog(), Log()
    keys = 2_000
    for _ in range(200):
        add(store, [(10, key, 1) for key in range(0, keys, 2)])
        log.records += writer.collect(store, at(0))
    assert log.live_blocks() * (keys // 2) <= 2 * keys + REWRITE_SLACK_ROWS + 2 * keys
    assert contents(restored(log.compacted(), 0)[0]) == contents(store)


def test_large_blocks_are_cut_and_too_large_entries_named() -> None:
    store = WindowStore([accumulator("max", Kind.STR, nullable=False)])
    store.update(np.array([10] * 8), None, [str(i) for i in range(8)], [Column(["x" * 300] * 8, None, Kind.STR)])
    writer = BlockChangelog("texts", "f", [accumulator("max", Kind.STR, nullable=False)], "a", max_block_bytes=1000)
    blocks = [key for key, _ in writer.collect(store, at(0)) if key.startswith(b"block")]
    assert len(blocks) >= 3
    store.update(np.array([10]), None, ["big"], [Column(["x" * 3000], None, Kind.STR)])
    with pytest.raises(StateError, match=r"store 'texts'.*'big'"):
        list(writer.collect(store, at(0)))


def test_a_block_of_another_shape_is_refused() -> None:
    store, writer = new_store(), changelog()
    add(store, [(10, 1, 1)])
    key, value = next(iter(writer.collect(store, at(0))))
    other = BlockChangelog("totals", "f2", ACCUMULATORS, "b")
    assert value is not None
    with pytest.raises(StateError, match="another window, key or output types"):
        other.apply(new_store(), key, value)
    with pytest.raises(StateError, match="cannot be read"):
        other.apply(new_store(), key, b"\xc1")


def test_equal_numbers_of_different_types_are_different_keys() -> None:
    store = new_store()
    keys: list[Any] = [1, True, 1.0, 1, "1", 1.0, None]
    add(store, [(10, key, 1) for key in keys])
    add(store, [(10, True, 1), (10, None, 1)])
    (entries,) = store.entries()
    counts = store.results(entries)[0].to_list()
    assert list(zip(map(repr, entries.keys), counts, strict=True)) == [("1", 2), ("True", 2), ("1.0", 2), ("'1'", 1), ("None", 2)]


@given(st.lists(st.one_of(st.integers(-5, 5), st.none())), st.lists(st.one_of(st.integers(-9, 9), st.none())))
def test_keys_are_found_without_being_entered(entered: list[int | None], asked: list[int | None]) -> None:
    seen = KeySet()
    for key in entered:  # an int first, then perhaps a null: from a table to a dict
        seen.add(np.array([key]) if key is not None else [None])
    assert list(seen.keys()) == list(dict.fromkeys(entered))
    for index in (ObjectKeys(dict.fromkeys(entered)), IntKeys()):
        ints = [key for key in dict.fromkeys(entered) if key is not None]
        inside: list[Any] = list(dict.fromkeys(entered)) if isinstance(index, ObjectKeys) else ints
        index.slots(inside if isinstance(index, ObjectKeys) else np.array(ints, np.int64))
        size = len(index)
        assert index.find(asked).tolist() == [inside.index(key) if key in inside else -1 for key in asked]
        only = [key for key in asked if key is not None]
        assert index.find(np.array(only, np.int64)).tolist() == [inside.index(key) if key in inside else -1 for key in only]
        assert len(index) == size


SCATTERED = np.arange(300, dtype=np.int64) * 7_919_993 % 10**9


def test_totals_of_many_int_keys_are_those_of_their_keys() -> None:
    """Slots of int keys are in the order of their table, not in that of the keys given: totals went to other keys."""
    store = WindowStore([accumulator("sum", Kind.INT, nullable=False)])
    store.update(np.full(len(SCATTERED), 60, np.int64), None, SCATTERED, [ints(SCATTERED.tolist())])
    total = store.total(0, 60, SCATTERED)
    assert dict(zip(total.keys, total.cells[0][0], strict=True)) == dict(zip(SCATTERED, SCATTERED, strict=True))


def test_a_refused_batch_leaves_every_int_key_its_values() -> None:
    """Taking back the new keys of a batch entered the others anew, in another order."""
    store = WindowStore([accumulator("sum", Kind.INT, nullable=False)])
    ends = np.full(len(SCATTERED), 60, np.int64)
    store.update(ends, None, SCATTERED, [ints(SCATTERED.tolist())])
    with pytest.raises(CannotAddError):
        store.update(ends[:2], None, np.array([-1, -1]), [ints([2**62, 2**62])])
    store.update(ends, None, SCATTERED, [ints(SCATTERED.tolist())])
    store.update(ends[:1], None, np.array([-2]), [ints([5])])
    (entries,) = store.entries()
    expected = dict(zip(SCATTERED, 2 * SCATTERED, strict=True)) | {-2: 5}
    assert dict(zip(entries.keys, entries.cells[0][0], strict=True)) == expected


def test_keys_of_several_columns_are_told_apart_by_their_types() -> None:
    """On the wire they are different keys: whether they were one group depended on the number of partitions."""
    nan = float("nan")
    keys: list[Any] = [(1, "a"), (1.0, "a"), (True, "a"), (None, "a"), (1, "a"), (nan, "a"), (float("nan"), "a")]
    store = WindowStore([accumulator("count", Kind.ANY, nullable=False)])
    store.update(np.full(len(keys), 60, np.int64), None, keys, [None])
    store.update(np.full(2, 60, np.int64), None, [(1, "a"), (2, "a")], [None])
    (entries,) = store.entries()
    found = list(zip(map(repr, entries.keys), entries.cells[0][0].tolist(), strict=True))
    assert found == [
        ("(1, 'a')", 3), ("(1.0, 'a')", 1), ("(True, 'a')", 1), ("(None, 'a')", 1), ("(nan, 'a')", 2), ("(2, 'a')", 1)
    ]  # fmt: skip
    assert all(type(key) is tuple for key in entries.keys)


def test_keys_are_found_by_their_slots_also_after_some_were_taken_back() -> None:
    """A commit that changes few rows of a pane of many keys must not look at all of them."""
    keys = ObjectKeys(["a", 1.0, True])
    assert repr(keys.keys_at(np.array([2, 0]))) == "[True, 'a']"
    keys.slots(["b", ("c", 1.0)])
    assert keys.keys_at(np.array([4, 3, 1])) == [("c", 1.0), "b", 1.0]
    keys.truncate(2)
    keys.slots(["d"])
    assert repr(keys.keys_at(np.arange(3))) == repr(keys.keys()) == "['a', 1.0, 'd']"


@pytest.mark.parametrize("keys", [300, 5_000])
def test_of_rows_that_never_close_no_more_is_written_than_about_twice_what_changes(keys: int) -> None:
    """A block that is given up was written anew whole, also the rows that later blocks had: dozens of times what had changed."""
    store = WindowStore([accumulator("count", Kind.ANY, nullable=True)])
    writer = BlockChangelog("s", "f", store.accumulators, "a")
    random, changes = np.random.default_rng(3), 50
    every_key = np.array_split(np.arange(keys), keys // changes)
    written: list[int] = []
    live: dict[bytes, int] = {}
    with patch("streamkit.state.changelog.REWRITE_SLACK_ROWS", 100):
        for number in range(20 * keys // changes):
            chosen = every_key[number] if number < len(every_key) else random.choice(keys, changes, replace=False)
            store.update(np.full(changes, 1_000), None, chosen, [None])
            written.append(0)
            for key, value in writer.collect(store, TimeRecord("f", 0, 0, 0)):
                if value is None:
                    del live[key]
                elif key.startswith(b"block:"):
                    live[key] = sum(len(part) for part in decode_block(value, "f", store.accumulators, "s"))
                    written[-1] += live[key]
            assert sum(live.values()) <= 2 * len(store) + 100 + max(written)
    assert max(sum(written[start : start + 20]) / 20 for start in range(len(written) - 20)) <= 2.2 * changes
