"""Fetching from the partitions that a consumer or reader has: positions, pauses, and the ends it has reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from streamkit.errors import FatalError, LostOffsetError
from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.memory.client.batch import MemoryBatch
from streamkit.kafka.memory.client.classify import classified
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Isolation
from streamkit.kafka.memory.server.requests.fetch import fetch


@dataclass(slots=True)
class Position:
    """Where a partition is read next. ``offset`` None: where the group stands, asked for at the first fetch.
    ``end`` is the end that was reported last, so that each is reported once."""

    offset: int | None
    paused: bool = False
    end: int | None = None


class Fetcher:
    """Reads committed records of its partitions, each in offset order, the partitions in turn."""

    def __init__(self, link: Link, start_offset: Callable[[TopicPartition], int]) -> None:
        self._link = link
        self._start_offset = start_offset
        self._positions: dict[TopicPartition, Position] = {}

    @property
    def partitions(self) -> list[TopicPartition]:
        return list(self._positions)

    def assign(self, offsets: Mapping[TopicPartition, int | None], *, paused: bool) -> None:
        """Replaces what is read."""
        self._positions = {tp: Position(offset, paused) for tp, offset in offsets.items()}

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            if tp in self._positions:
                self._positions[tp].paused = True

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """A partition that was paused reports its end again."""
        for tp in partitions:
            position = self._positions.get(tp)
            if position is not None and position.paused:
                position.paused = False
                position.end = None

    def seek(self, tp: TopicPartition, offset: int) -> None:
        position = self._positions.get(tp)
        if position is None:
            raise FatalError(f"{tp} is not assigned to this consumer", code="_STATE", call="seek")
        position.offset = offset
        position.end = None

    def fetch(self, max_records: int) -> Polled:
        """What is there now, at most `max_records` records. A partition that gave records takes its next turn last."""
        polled = Polled()
        room = max_records
        for tp in list(self._positions):
            position = self._positions[tp]
            if position.paused or room <= 0:
                continue
            taken = self._fetch_from(tp, position, room, polled)
            if taken:
                room -= taken
                self._positions[tp] = self._positions.pop(tp)
        return polled

    def _fetch_from(self, tp: TopicPartition, position: Position, room: int, polled: Polled) -> int:
        offset = position.offset
        if offset is None:
            offset = position.offset = self._start_offset(tp)
        try:
            fetched = self._link.send(fetch, tp, offset, room, Isolation.READ_COMMITTED)
        except BrokerError as error:
            if error.code == "OFFSET_OUT_OF_RANGE":
                raise LostOffsetError(error.message) from error
            raise classified(error, "poll") from error
        position.offset = fetched.next_position
        if fetched.spans:
            polled.batches.append(MemoryBatch(tp, fetched.columns, fetched.spans, fetched.leader_epoch))
        if fetched.next_position == fetched.last_stable_offset != position.end:
            position.end = polled.ends[tp] = fetched.next_position
        return len(fetched.columns)
