"""Entries of sliding and rolling windows against every record in every window, whatever the cuts; and through a changelog and
back, to the last bit of a float."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state import scans, sliding_store
from streamkit.state.accumulators import CannotAddError, CannotGiveError
from streamkit.state.changelog import REWRITE_SLACK_ROWS, BlockChangelog
from streamkit.state.functions import accumulator
from streamkit.state.ordered import TimedColumn
from streamkit.state.sliding_store import END, SlidingStore
from streamkit.state.time_record import TimeRecord
from tests.support.examples import examples

SIZE = 5
SINCE = -100
"""Nothing is closed before."""
FUNCTIONS = [
    accumulator("sum", Kind.FLOAT, nullable=False),
    accumulator("max", Kind.INT, nullable=True),
    accumulator("mean", Kind.INT, nullable=False),
    accumulator("variance", Kind.FLOAT, nullable=False, options={"population": True}),
    accumulator("sum", Kind.ANY, nullable=True),
    accumulator("count_distinct", Kind.INT, nullable=False),
    accumulator("last", Kind.INT, nullable=False),
    accumulator("collect", Kind.INT, nullable=False, options={"limit": 100}),
    accumulator("count", Kind.ANY, nullable=True),
]
Record = tuple[int, Any, int]
"""Time, key, value."""
Step = tuple[list[Record], int]
"""A batch, and by how many milliseconds time moves behind it."""

int_keys = st.integers(-2, 2)
any_keys = st.one_of(st.none(), st.text("ab", max_size=1), st.sampled_from([1, 1.0, True]))


def steps_of(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Step]]:
    records = st.lists(st.tuples(st.integers(-30, 30), keys, st.integers(-99, 99)), max_size=20)
    return st.lists(st.tuples(records, st.integers(0, 25)), max_size=8)


drawn = st.one_of(steps_of(int_keys), steps_of(any_keys))


class Played:
    """A store with what was put in, and the rows that came out by (key, its type, end)."""

    def __init__(self, kind: str) -> None:
        self.right = kind == "sliding"
        self.store = self.new_store()
        self.closed = -40
        self.kept: list[tuple[int, int, Any, int]] = []  # time, since, key, value
        self.rows: dict[tuple[Any, str, int], tuple[Any, ...]] = {}

    def new_store(self) -> SlidingStore:
        return SlidingStore(FUNCTIONS, SIZE, right=self.right)

    def play(self, step: Step, *, cuts: int = 1) -> None:
        records, ahead = step
        fits = [(time, max(time + 1, self.closed + 1), key, value) for time, key, value in records]
        fits = [one for one in fits if one[1] <= one[0] + 1 + (SIZE if self.right else 0)]
        self.kept += fits
        for part in range(cuts):
            add(self.store, fits[part * len(fits) // cuts : (part + 1) * len(fits) // cuts])
        before = self.closed
        for part in range(1, cuts + 1):
            self.close(before + ahead * part // cuts)

    def close(self, through: int) -> None:
        entries = self.store.close(through)
        self.closed = max(self.closed, through)
        if entries is not None:
            start, end = self.store.bounds(entries)
            assert (end - start == SIZE + 1).all()
            assert end.tolist() == sorted(end.tolist())
            columns = [column.to_list() for column in self.store.results(entries)]
            keys = entries.keys if isinstance(entries.keys, list) else entries.keys.tolist()  # of whichever a store has now
            for key, last, *row in zip(keys, end.tolist(), *columns, strict=True):
                assert (key, type(key).__name__, last) not in self.rows
                self.rows[key, type(key).__name__, last] = tuple(row)

    def expected(self) -> dict[tuple[Any, str, int], tuple[Any, ...]]:
        """Every window that some record begins or ends, with all records that count in it, by the definition."""
        found = {}
        for key in {(key, type(key)) for _, _, key, _ in self.kept}:
            mine = [one for one in self.kept if (one[2], type(one[2])) == key]
            ends = {since for _, since, _, _ in mine} | ({time + SIZE + 2 for time, _, _, _ in mine} if self.right else set())
            for end in ends:
                inside = [(t, value) for t, since, _, value in mine if end - SIZE - 1 <= t < end and since <= end]
                if inside:
                    found[(key[0], key[1].__name__, end)] = exact([v for _, v in sorted(inside, key=lambda one: one[0])])
        return found


def exact(values: list[int]) -> tuple[Any, ...]:
    """max, mean, sum, different values, last, all, number: what is the same in any order of adding."""
    return max(values), sum(values) / len(values), sum(values), len(set(values)), values[-1], values, len(values)


def comparable(rows: dict[tuple[Any, str, int], tuple[Any, ...]]) -> dict[tuple[Any, str, int], tuple[Any, ...]]:
    """But for the last bits of the floats."""
    assert all(abs(row[0] - row[4] / 10) < 1e-9 for row in rows.values())
    return {at: (row[1], row[2], *row[4:6], row[6], row[7], row[8]) for at, row in rows.items()}


def add(store: SlidingStore, records: list[tuple[int, int, Any, int]]) -> None:
    if not records:
        return
    times, since, values = (np.array([one[part] for one in records], np.int64) for part in (0, 1, 3))
    keys: Any = [key for _, _, key, _ in records]
    if all(type(key) is int for key in keys):
        keys = np.array(keys, np.int64)
    ints = Column(values, None, Kind.INT)
    timed = TimedColumn(values, None, Kind.INT, times)
    tenths = Column(values / 10, None, Kind.FLOAT)
    untyped = Column(values.tolist(), None, Kind.ANY)
    store.update(times, since, keys, [tenths, ints, ints, tenths, untyped, ints, timed, timed, None])


both_kinds = pytest.mark.parametrize("kind", ["sliding", "rolling"])


@both_kinds
@settings(max_examples=examples(60))
@given(steps=drawn, cuts=st.integers(2, 4))
def test_any_cut_gives_the_windows_of_the_definition_and_the_same_bits(kind: str, steps: list[Step], cuts: int) -> None:
    whole, cut = Played(kind), Played(kind)
    for step in steps:
        whole.play(step)
        with patch.object(scans, "_LONG", 1), patch.object(sliding_store, "_SPARE_KEYS", 0):  # and by the other ways of adding
            cut.play(step, cuts=cuts)
    for one in (whole, cut):
        peeked = one.store.peek()
        one.close(END)
        assert comparable(one.rows) == one.expected()
        assert len(one.store) == 0
        assert (0 if peeked is None else len(peeked)) <= len(one.rows)
    assert repr(sorted(whole.rows.items(), key=repr)) == repr(sorted(cut.rows.items(), key=repr))


def test_of_late_records_at_the_very_same_time_the_one_that_came_later_is_the_last() -> None:
    """Their ranges of windows were cut into pieces of different lengths, and the shorter ones added first."""
    played = Played("sliding")
    for step in [([], 43), ([(1, 0, 1)], 1), ([(1, 0, 0)], 0)]:
        played.play(step)
    played.close(END)
    assert comparable(played.rows) == played.expected()


@both_kinds
@settings(max_examples=examples(60))
@given(steps=drawn, commits=st.lists(st.booleans(), min_size=8, max_size=8))
def test_what_is_read_back_goes_on_to_the_same_bits(kind: str, steps: list[Step], commits: list[bool]) -> None:
    straight, again = Played(kind), Played(kind)
    log: dict[bytes, bytes | None] = {}
    writer = BlockChangelog("s", "f", again.store.accumulators, "a")
    for number, (step, restart) in enumerate(zip(steps, commits, strict=False)):
        straight.play(step)
        again.play(step)
        log.update(writer.collect(again.store, TimeRecord("f", again.closed, again.closed, again.closed, [], 0)))
        if restart:
            again.store = again.new_store()
            writer = BlockChangelog("s", "f", again.store.accumulators, f"b{number}")
            for key, value in log.items():
                if key.startswith(b"block:") and value is not None:
                    writer.apply(again.store, key, value)
            again.store.drop_through(again.closed)
            assert list(again.store.take_dirty()) == []
            assert len(again.store) == len(straight.store)
    straight.close(END)
    again.close(END)
    assert repr(sorted(straight.rows.items(), key=repr)) == repr(sorted(again.rows.items(), key=repr))


def store_of(function: str, kind: Kind) -> SlidingStore:
    return SlidingStore([accumulator(function, kind, nullable=False)], SIZE, right=True)


def times_of(*times: int) -> Any:
    return np.array(times, np.int64)


def test_a_batch_that_cannot_be_added_leaves_nothing() -> None:
    store = store_of("sum", Kind.INT)
    with pytest.raises(CannotAddError) as error:
        store.update(times_of(1, 2, 2), None, ["a", "b", "b"], [Column(times_of(1, 2**62, 2**62), None, Kind.INT)])
    assert error.value.index == 2
    assert len(store) == 0
    assert list(store.take_dirty()) == []
    assert store.close(END) is None


def test_a_total_that_does_not_fit_names_its_key() -> None:
    store = store_of("sum", Kind.INT)
    store.update(times_of(1, 1, 2, 3), None, ["a", "b", "b", "b"], [Column(times_of(1, 2**62, 1, 2**62), None, Kind.INT)])
    found = store.close(END)
    assert found is not None
    with pytest.raises(CannotGiveError, match="does not fit into 64 bits") as error:
        store.results(found)
    assert found.keys[error.value.index] == "b"


def test_blocks_and_keys_stay_bounded_by_what_is_open() -> None:
    """Ten new keys each millisecond."""
    store = store_of("count", Kind.ANY)
    writer = BlockChangelog("s", "f", store.accumulators, "a")
    live: dict[bytes, int] = {}
    largest = 0
    for now in range(1_000):
        store.update(np.full(10, now), None, np.arange(now * 10, now * 10 + 10), [None])
        store.close(now)
        for key, value in writer.collect(store, TimeRecord("f", now, now, now, [], 0)):
            if key.startswith(b"block:"):
                live.pop(key, None) if value is None else live.update({key: 10})
        largest = max(largest, len(store._ids), len(store._live))
    assert len(store) <= 10 * (SIZE + 3)
    assert sum(live.values()) <= 2 * len(store) + REWRITE_SLACK_ROWS
    assert largest < 2_000
