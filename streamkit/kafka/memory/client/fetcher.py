"""Fetching from the partitions that a consumer or reader has: positions, pauses, and the ends it has reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.memory.client.batch import MemoryBatch
from streamkit.kafka.memory.client.classify import classified
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Fetched, Isolation
from streamkit.kafka.memory.server.requests.fetch import fetch


@dataclass(slots=True)
class Position:
    """Where a partition is read next; ``offset`` is None until the first seek. ``end`` is the end that was reported last, so
    that each is reported once."""

    offset: int | None
    paused: bool = False
    end: int | None = None


class Fetcher:
    """Reads committed records of its partitions, each in offset order, the partitions in turn."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._positions: dict[TopicPartition, Position] = {}

    def assign(self, offsets: Mapping[TopicPartition, int | None], *, paused: bool) -> None:
        """Replaces what is read."""
        self._positions = {tp: Position(offset, paused) for tp, offset in offsets.items()}

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        for position in [self._of(tp) for tp in partitions]:
            position.paused = True

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """A partition that was paused reports its end again."""
        for tp in partitions:
            position = self._of(tp)
            if position.offset is None:
                raise ValueError(f"{tp} was resumed before a seek decided where to start")
            if position.paused:
                position.paused = False
                position.end = None

    def seek(self, tp: TopicPartition, offset: int) -> None:
        position = self._of(tp)
        position.offset = offset
        position.end = None

    def _of(self, tp: TopicPartition) -> Position:
        position = self._positions.get(tp)
        if position is None:
            raise ValueError(f"{tp} is not assigned; assigned are {', '.join(map(str, self._positions)) or 'none'}")
        return position

    def fetch(self, max_records: int) -> Polled:
        """What is there now, at most `max_records` records. A partition that gave records takes its next turn last.

        Positions move only when every partition has answered: of a poll that raises, nothing was handed out.
        """
        polled = Polled()
        answers: dict[TopicPartition, Fetched] = {}
        room = max_records
        for tp, position in self._positions.items():
            if position.paused or position.offset is None or room <= 0:
                continue
            fetched = self._ask(tp, position.offset, room)
            if fetched is not None:
                answers[tp] = fetched
                room -= len(fetched.columns)
        for tp, fetched in answers.items():
            self._take(tp, fetched, polled)
        return polled

    def _ask(self, tp: TopicPartition, offset: int, room: int) -> Fetched | None:
        """None for a partition that does not exist: librdkafka waits, without a word, for it to come."""
        try:
            return self._link.send(fetch, tp, offset, room, Isolation.READ_COMMITTED)
        except BrokerError as error:
            if error.code == "UNKNOWN_TOPIC_OR_PART":
                return None
            raise classified(error, "poll") from error

    def _take(self, tp: TopicPartition, fetched: Fetched, polled: Polled) -> None:
        position = self._positions[tp]
        position.offset = fetched.next_position
        if fetched.spans:
            polled.batches.append(MemoryBatch(tp, fetched.columns, fetched.spans, fetched.leader_epoch))
            self._positions[tp] = self._positions.pop(tp)
        if fetched.next_position == fetched.last_stable_offset != position.end:
            position.end = polled.ends[tp] = fetched.next_position
