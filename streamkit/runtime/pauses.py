"""Partitions that are not read for a while, each for one or more reasons; it is read again when none is left."""

from __future__ import annotations

from collections.abc import Collection

from streamkit.kafka.client import Consumer, TopicPartition


class Pauses:
    """What is held back of the partitions whose tasks run. All others are the consumer's: before a start, after a roll-back."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._by_reason: dict[str, frozenset[TopicPartition]] = {}

    @property
    def held(self) -> frozenset[TopicPartition]:
        return frozenset().union(*self._by_reason.values())

    def hold(self, reason: str, partitions: Collection[TopicPartition]) -> None:
        """These, and only these, are held for this reason from now on."""
        wanted = frozenset(partitions)
        if wanted == self._by_reason.get(reason, frozenset()):
            return
        before = self.held
        self._by_reason[reason] = wanted
        after = self.held
        if new := after - before:
            self._consumer.pause(sorted(new))
        if free := before - after:
            self._consumer.resume(sorted(free))

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Their tasks are gone: whoever starts them anew resumes them."""
        gone = frozenset(partitions)
        self._by_reason = {reason: held - gone for reason, held in self._by_reason.items()}

    def forget_all(self) -> None:
        self._by_reason.clear()
