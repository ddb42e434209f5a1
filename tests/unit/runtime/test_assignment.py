"""Ownership epochs: a partition that went and came back is another ownership (R9)."""

from __future__ import annotations

from streamkit.kafka.client import TopicPartition
from streamkit.runtime.assignment import Assignment

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def make() -> tuple[Assignment, list[object]]:
    told: list[object] = []
    return Assignment(lambda: told.append("commit"), lambda partitions: told.append(("dropped", list(partitions)))), told


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
    assert told == ["commit", ("dropped", [A])]
    assert assignment.owned == {B}


def test_lost_partitions_are_dropped_without_a_commit() -> None:
    assignment, told = make()
    assignment.on_assigned([A])
    assignment.on_lost([A])
    assert told == [("dropped", [A])]
    assert assignment.owned == set()


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
