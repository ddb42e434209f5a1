"""The checker finds what is wrong, names it, and finds nothing where nothing is."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from streamkit.errors import LostOffsetError, StateError
from streamkit.kafka.client import TopicPartition
from streamkit.testing.checker import (
    Commit,
    Expected,
    Found,
    Kind,
    Source,
    TimeOf,
    atomic,
    fail_closed,
    final_results,
    fold,
    frontiers,
    results,
    settled,
    single_writer,
    state,
    times,
    updates,
)

BIDS = TopicPartition("bids", 0)


def kinds(verdict):
    return [(violation.invariant, violation.kind) for violation in verdict.violations]


def test_a_run_without_fault_has_nothing_to_tell():
    must = [Expected(("a", n), n, lane="a") for n in range(5)]
    verdict = results(must, [Found(one.identity, one.content) for one in must])
    assert verdict.ok
    assert verdict.looked_at == {"I1": 10}


def test_lost_and_duplicated_name_the_input_they_come_from():
    must = [Expected(n, n, sources=(Source("bids", 0, n, 100 + n),)) for n in range(3)]
    verdict = results(must, [Found(0, 0, "out-0@0"), Found(2, 2, "out-0@1"), Found(2, 2, "out-0@7")])
    assert (verdict.lost, verdict.duplicated) == (1, 1)
    assert [str(violation) for violation in verdict.violations] == [
        "I1 duplicated: 2 is there 2 times (out-0@1, out-0@7), from bids-0@2 (number 102)",
        "I1 lost: 1, from bids-0@1 (number 101)",
    ]


def test_another_content_is_wrong_not_lost():
    verdict = results([Expected("w", (2, 5))], [Found("w", (1, 3))])
    assert kinds(verdict) == [("I1", Kind.WRONG)]


def test_what_the_reference_does_not_know_is_wrong():
    assert kinds(results([], [Found("w", 1)])) == [("I1", Kind.WRONG)]


def test_order_counts_within_a_lane_only():
    must = [Expected("a1", 1, lane="a"), Expected("b1", 1, lane="b"), Expected("a2", 2, lane="a")]
    found = {one.identity: Found(one.identity, one.content) for one in must}
    assert results(must, [found["b1"], found["a1"], found["a2"]]).ok
    assert kinds(results(must, [found["a2"], found["b1"], found["a1"]])) == [("I1", Kind.OUT_OF_ORDER)]


def test_a_reference_that_expects_twice_is_a_mistake_of_the_test():
    with pytest.raises(ValueError, match="twice"):
        results([Expected("a", 1), Expected("a", 1)], [])


def test_a_second_final_result_breaks_the_invariant_of_windows():
    verdict = final_results([Expected("w", 1)], [Found("w", 1), Found("w", 1)])
    assert kinds(verdict) == [("I1", Kind.DUPLICATED), ("I6", Kind.DUPLICATED)]


@pytest.mark.parametrize(
    "values,broken",
    [([1, 6], []), ([6], []), ([1, 3], [Kind.LOST]), ([3, 1, 6], [Kind.OUT_OF_ORDER]), ([4, 6], [Kind.WRONG]), ([], [Kind.LOST])],
)
def test_updates_are_values_of_growing_prefixes_and_end_at_the_whole(values, broken):
    verdict = updates({"a": [1, 3, 6]}, [Found("a", value) for value in values])
    assert [violation.kind for violation in verdict.violations] == broken


def test_state_is_compared_row_by_row():
    verdict = state({"a": 1, "b": 2, "c": 3}, {"b": 9, "c": 3, "d": 4})
    assert sorted(kind.value for _, kind in kinds(verdict)) == ["lost", "wrong", "wrong"]
    assert verdict.invariants == ("I3",)


def test_an_offset_may_not_run_ahead_of_its_effects_nor_behind_them():
    inputs = [Source("bids", 0, n) for n in range(4)]
    assert atomic([Commit("w", {BIDS: 2}, inputs[:2]), Commit("w", {BIDS: 4}, inputs[2:])], inputs).ok
    ahead = atomic([Commit("w", {BIDS: 3}, inputs[:2])], inputs)
    assert [(v.kind, v.sources) for v in ahead.violations] == [(Kind.LOST, (inputs[2],))]
    behind = atomic([Commit("w", {BIDS: 2}, inputs[:3])], inputs)
    assert [(v.kind, v.sources) for v in behind.violations] == [(Kind.DUPLICATED, (inputs[2],))]


def test_inputs_without_an_effect_of_their_own_are_not_missed():
    assert atomic([Commit("w", {BIDS: 9}, [Source("bids", 0, 3)])], [Source("bids", 0, 3)]).ok


def test_ranges_of_two_writers_may_not_overlap():
    first = Commit("w1", {BIDS: 5}, [Source("bids", 0, 4)])
    assert single_writer([first, Commit("w2", {BIDS: 6}, [Source("bids", 0, 5)])]).ok
    twice = single_writer([first, Commit("w2", {BIDS: 6}, [Source("bids", 0, 4)])])
    assert kinds(twice) == [("I5", Kind.DUPLICATED)]
    assert kinds(single_writer([first, Commit("w2", {BIDS: 3})])) == [("I5", Kind.WRONG)]


def test_time_that_goes_back_is_found_per_owner():
    assert frontiers([("a", 1), ("b", 0), ("a", 1), ("b", 3)]).ok
    assert kinds(frontiers([("a", 5), ("b", 1), ("a", 4)])) == [("I6", Kind.WRONG)]


def test_a_settled_group_has_no_lag_no_open_transaction_and_a_stable_end():
    assert settled({BIDS: 5}, {BIDS: 6}, {BIDS: (7, 7)}, []).ok
    verdict = settled({BIDS: 5}, {}, {BIDS: (3, 7)}, ["app-a-0"])
    assert kinds(verdict) == [("I7", Kind.STUCK)] * 3


def test_failing_closed_takes_a_named_error_and_silence_afterwards():
    before, after = Commit("w", {BIDS: 1}, at=1.0), Commit("w", {BIDS: 2}, at=3.0)
    assert fail_closed(StateError("foreign"), StateError, [before], since=2.0).ok
    assert kinds(fail_closed(StateError("foreign"), StateError, [before, after], since=2.0)) == [("I9", Kind.OPEN)]
    assert kinds(fail_closed(None, (StateError, LostOffsetError), [before], since=2.0)) == [("I9", Kind.OPEN)]


@dataclass
class Entry:
    key: bytes | None
    value: bytes | None


def block(*sections):
    return msgspec.msgpack.encode([1, "f", [[end, len(keys), keys, cells] for end, keys, cells in sections]])


def time_record(frontier, closed_through):
    return Entry(b"time", msgspec.json.encode({"frontier": frontier, "closed_through": closed_through}))


def test_a_changelog_folds_to_the_rows_of_open_windows():
    one = (1).to_bytes(8, "little")
    two = (2).to_bytes(8, "little")
    entries = [
        Entry(b"block:x:0", block((10, ["a", "b"], [[one + two]]), (20, ["a"], [[one]]))),
        time_record(5, 0),
        Entry(b"block:x:1", block((20, ["a"], [[two]]))),
        Entry(b"block:x:0", None),
        time_record(12, 10),
    ]
    assert fold(entries[:2]) == {(10, "a"): (1,), (10, "b"): (2,), (20, "a"): (1,)}
    assert fold(entries) == {(20, "a"): (2,)}
    assert times(entries) == [TimeOf(5, 0), TimeOf(12, 10)]
