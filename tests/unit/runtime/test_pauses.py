"""A partition is read again when nobody holds it any more."""

from __future__ import annotations

from collections.abc import Iterable

from streamkit.kafka.client import TopicPartition
from streamkit.runtime.pauses import Pauses

A, B, C = (TopicPartition("in", number) for number in range(3))


class Calls:
    def __init__(self) -> None:
        self.made: list[tuple[str, list[TopicPartition]]] = []

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self.made.append(("pause", list(partitions)))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self.made.append(("resume", list(partitions)))


def test_held_for_two_reasons_it_waits_for_both():
    calls = Calls()
    pauses = Pauses(calls)  # type: ignore[arg-type]  # the two calls that it makes
    pauses.hold("drift", [A, B])
    pauses.hold("memory", [B, C])
    pauses.hold("memory", {C, B})  # the same again
    assert pauses.held == {A, B, C}
    pauses.hold("drift", [])
    assert pauses.held == {B, C}
    pauses.hold("memory", [A])
    assert calls.made == [("pause", [A, B]), ("pause", [C]), ("resume", [A]), ("pause", [A]), ("resume", [B, C])]


def test_what_is_gone_is_not_resumed_by_it():
    calls = Calls()
    pauses = Pauses(calls)  # type: ignore[arg-type]  # the two calls that it makes
    pauses.hold("memory", [A, B])
    pauses.forget([A])
    pauses.hold("memory", [])
    pauses.hold("memory", [C])
    pauses.forget_all()
    assert pauses.held == frozenset()
    assert calls.made == [("pause", [A, B]), ("resume", [B]), ("pause", [C])]
