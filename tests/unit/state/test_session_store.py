"""Open sessions against sorting and cutting, whatever the cuts into batches; and through a changelog and back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.changelog import REWRITE_SLACK_ROWS, BlockChangelog
from streamkit.state.footprint import footprint
from streamkit.state.functions import accumulator
from streamkit.state.session_store import SessionStore
from streamkit.state.time_record import TimeRecord

GAP = 5
FUNCTIONS = [
    accumulator("sum", Kind.FLOAT, nullable=False),
    accumulator("max", Kind.INT, nullable=False),
    accumulator("sum", Kind.ANY, nullable=True),
    accumulator("count", Kind.ANY, nullable=True),
]
Record = tuple[int, Any, int]
"""Time, key, value."""

int_keys = st.integers(-2, 2)
any_keys = st.one_of(st.none(), st.text("ab", max_size=1), st.sampled_from([1, 1.0, True]))


def records_of(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Record]]:
    return st.lists(st.tuples(st.integers(0, 40), keys, st.integers(-99, 99)), max_size=30)


drawn = st.one_of(records_of(int_keys), records_of(any_keys))


def add(store: SessionStore, records: list[Record]) -> list[tuple[int, str]]:
    """Adds a batch; gives what could not be added."""
    times = np.array([time for time, _, _ in records], np.int64)
    keys: Any = [key for _, key, _ in records]
    if keys and all(type(key) is int for key in keys):
        keys = np.array(keys, np.int64)
    values = np.array([value for _, _, value in records], np.int64)
    untyped = [value if value != 13 else "thirteen" for value in values.tolist()]
    inputs = [Column(values / 10, None, Kind.FLOAT), Column(values, None, Kind.INT), Column(untyped, None, Kind.ANY), None]
    refused: list[tuple[int, str]] = []
    store.update(times, keys, inputs, lambda index, reason: refused.append((index, reason)))
    return refused


def contents(store: SessionStore) -> dict[tuple[Any, str, int], tuple[Any, ...]]:
    """(key, its type, start) -> end and results."""
    found = {}
    for entries in store.entries():
        start, end = store.bounds(entries)
        columns = [column.to_list() for column in store.results(entries)]
        rows = zip(entries.keys, start.tolist(), end.tolist(), *columns, strict=True)
        for key, first, last, *values in rows:
            found[key, type(key).__name__, first] = (last, *values)
    return found


def expected(records: list[Record]) -> dict[tuple[Any, str, int], tuple[int, int, int]]:
    """(key, its type, start) -> end, largest value, number."""
    by_key: dict[tuple[Any, str], list[tuple[int, int]]] = {}
    for time, key, value in records:
        if value != 13:
            by_key.setdefault((key, type(key).__name__), []).append((time, value))
    found = {}
    for (key, kind), times in by_key.items():
        span: list[tuple[int, int]] = []
        for time, value in [*sorted(times), (10**9, 0)]:
            if span and time - span[-1][0] >= GAP:
                found[key, kind, span[0][0]] = (span[-1][0] + GAP, max(v for _, v in span), len(span))
                span = []
            span.append((time, value))
    return found


def without_sums(found: dict[Any, tuple[Any, ...]]) -> dict[Any, tuple[Any, ...]]:
    return {session: (end, high, count) for session, (end, _, high, _, count) in found.items()}


@given(drawn, st.lists(st.integers(0, 30), max_size=4), st.sampled_from([0, 2, 32]))
def test_any_cut_gives_the_sessions_of_the_definition_and_the_same_bits(records: list[Record], cuts: list[int], few: int) -> None:
    with patch.multiple("streamkit.state.session_keys", _FEW=few, _SPARE_KEYS=few):
        check_any_cut(records, cuts)


def check_any_cut(records: list[Record], cuts: list[int]) -> None:
    whole, cut = SessionStore(FUNCTIONS, GAP), SessionStore(FUNCTIONS, GAP)
    refused = add(whole, records)
    assert [index for index, _ in refused] == [index for index, (_, _, value) in enumerate(records) if value == 13]
    assert {reason for _, reason in refused} <= {"a number is needed, but the value is 'thirteen'"}
    bounds = sorted({0, len(records), *(at for at in cuts if at < len(records))})
    for start, end in pairwise(bounds):
        add(cut, records[start:end])
    assert without_sums(contents(whole)) == expected(records)
    assert repr(sorted(contents(cut).items(), key=repr)) == repr(sorted(contents(whole).items(), key=repr))
    assert len(whole) == len(contents(whole))


def time_record(closed_through: int) -> TimeRecord:
    return TimeRecord("f", closed_through, closed_through, closed_through, [], 0)


Batches = list[tuple[list[Record], int | None]]


@given(st.lists(st.tuples(drawn, st.one_of(st.none(), st.integers(0, 50))), max_size=6), st.sampled_from([0, 2, 32]))
def test_what_is_read_back_is_what_was_there(batches: Batches, few: int) -> None:
    """Batches with commits between them; some commits close all that has ended by some time."""
    with patch.multiple("streamkit.state.session_keys", _FEW=few, _SPARE_KEYS=few):
        check_reading_back(batches)


def check_reading_back(batches: Batches) -> None:
    store = SessionStore(FUNCTIONS, GAP)
    writer = BlockChangelog("s", "f", store.accumulators, "a", shared_slots=True)
    log: dict[bytes, bytes | None] = {}
    order: list[bytes] = []
    closed = -(10**6)
    for records, through in batches:
        add(store, [record for record in records if record[0] > closed])
        if through is not None and through > closed:
            closed = through
            store.take_ended(closed)
        for key, value in writer.collect(store, time_record(closed)):
            log[key] = value
            order.append(key)
    restored = SessionStore(FUNCTIONS, GAP)
    reader = BlockChangelog("s", "f", restored.accumulators, "b", shared_slots=True)
    for key in order:
        value = log[key]
        if key.startswith(b"block:") and value is not None:
            reader.apply(restored, key, value)
    restored.drop_through(closed)
    assert contents(restored) == contents(store)
    assert list(restored.take_dirty()) == []


@pytest.mark.parametrize("make", [int, "customer-{}".format], ids=["int", "text"])
def test_many_sessions_that_come_and_go_are_those_of_their_keys(make: Callable[[int], Any]) -> None:
    """More keys than are followed one by one, some with sessions side by side; those that are gone are forgotten."""
    store, count = SessionStore([accumulator("count", Kind.ANY, nullable=True)], GAP), 3_000
    random, open_sessions = np.random.default_rng(4), dict[tuple[Any, int], int]()
    for number in range(60):
        keys, times = random.integers(0, 50_000, count), number * 20 + 10 * random.integers(0, 4, count)
        names = [make(key) for key in keys.tolist()]
        store.update(times, keys if make is int else names, [None], refuse_nothing)
        for session in zip(names, times.tolist(), strict=True):
            open_sessions[session] = open_sessions.get(session, 0) + 1
        assert sorted(store.identities()) == sorted(open_sessions)
        asked = list(open_sessions)[::7]
        rows = store.rows_of(asked)
        assert (rows.keys, rows.cells[0][0].tolist()) == ([key for key, _ in asked], [start for _, start in asked])
        assert rows.cells[1][0].tolist() == [open_sessions[session] for session in asked]
        through = number * 20
        ended = store.take_ended(through)
        gone = {session for session in open_sessions if session[1] + GAP <= through}
        assert set(zip(ended.keys, ended.cells[0][0].tolist(), strict=True)) == gone
        open_sessions = {session: records for session, records in open_sessions.items() if session not in gone}
        assert len(store) == len(open_sessions)
    assert footprint(store) < 3_000_000  # the keys that have been are tens of thousands


def refuse_nothing(index: int, reason: str) -> NoReturn:
    raise AssertionError((index, reason))


def test_blocks_are_rewritten_so_that_the_changelog_stays_bounded() -> None:
    store = SessionStore([accumulator("count", Kind.ANY, nullable=True)], GAP)
    writer = BlockChangelog("s", "f", store.accumulators, "a", shared_slots=True)
    live: dict[bytes, int] = {}
    for round_number in range(60):
        keys = np.arange(1_000)
        store.update(np.full(1_000, round_number, np.int64), keys, [None], refuse_nothing)
        for key, value in writer.collect(store, time_record(-1)):
            if key.startswith(b"block:"):
                live.pop(key, None) if value is None else live.update({key: 1_000})
    assert len(store) == 1_000
    assert sum(live.values()) <= 2 * 1_000 + REWRITE_SLACK_ROWS + 2_000


def test_slots_are_used_again() -> None:
    store = SessionStore(FUNCTIONS, GAP)
    for round_number in range(50):
        add(store, [(round_number * 10 + key, key, 1) for key in range(5)])
        assert len(store.take_ended(round_number * 10 + 20)) == 5
    assert len(store) == 0
    assert len(store._live) == 64
