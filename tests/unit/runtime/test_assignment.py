"""Ownership epochs: a partition that went and came back is another ownership (R9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamkit.kafka.client import TopicPartition
from streamkit.runtime.assignment import Assignment

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def make() -> tuple[Assignment, list[object]]:
    told: list[object] = []

    def tells(what: str) -> Callable[[Sequence[TopicPartition]], None]:
        return lambda partitions: told.append((what, list(partitions)))

    return Assignment(lambda: told.append("commit"), tells("revoked"), tells("lost")), told


def test_assigned_partitions_are_owned_and_have_an_epoch() -> None:
    assignment, told = make()
    assignment.on_assigned([A, B])
    assert assignment.owned == {A, B}
    assert assignment.changed
    assert set(assignment.epochs([A, B])) == {A, B}
    assert told == []


def test_revoked_partitions_may_be_committed_before_they_go() -> None:
    assignment, told = make()
    assignment.on_assigned([A, B])
    assignment.on_revoked([A])
    assert told == ["commit", ("revoked", [A])]
    assert assignment.owned == {B}


def test_lost_partitions_are_dropped_without_a_commit() -> None:
    assignment, told = make()
    assignment.on_assigned([A])
    assignment.on_lost([A])
    assert told == [("lost", [A])]
    assert assignment.owned == set()


def test_an_assignment_is_complete_when_the_group_has_said_what_we_get() -> None:
    assignment, _ = make()
    assignment.on_assigned([A, B])
    assert assignment.complete
    assignment.on_revoked([A])
    assert not assignment.complete
    assignment.on_assigned([])
    assert assignment.complete


def test_every_change_counts_the_epoch_up_and_only_of_its_partitions() -> None:
    assignment, _ = make()
    assignment.on_assigned([A, B])
    before = assignment.epochs([A, B])
    for leave in (assignment.on_revoked, assignment.on_lost):
        leave([A])
        assert assignment.epochs([A]) == {}  # not ours: never equal to what a transaction began with
        assignment.on_assigned([A])
        after = assignment.epochs([A, B])
        assert after[A] > before[A]
        assert after[B] == before[B]
        before = after
