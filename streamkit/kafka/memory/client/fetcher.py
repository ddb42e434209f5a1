"""Fetching from the partitions that a consumer or reader has: positions, pauses, and the ends it has reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.memory.client.batch import MemoryBatch
from streamkit.kafka.memory.client.classify import classified
from streamkit.kafka.memory.client.link import PASSING, Link
from streamkit.kafka.memory.network import NoAnswer
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Fetched, Isolation
from streamkit.kafka.memory.server.requests.fetch import fetch

_RETRY_PAUSE_S = 0.1


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
        self.waiting = False  # the last request was not served: not an answer that nothing is there

    def assign(self, offsets: Mapping[TopicPartition, int | None], *, paused: bool) -> None:
        """Replaces what is read."""
        self._positions = {tp: Position(offset, paused) for tp, offset in offsets.items()}

    def add(self, partitions: Iterable[TopicPartition]) -> None:
        """Takes partitions on, paused and without a position."""
        self._positions.update({tp: Position(None, paused=True) for tp in partitions})

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            self._positions.pop(tp, None)

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

        Positions move only when every partition has answered: of a poll that raises, nothing was handed out. A request that
        got no answer is sent again by the next call (``waiting`` tells), as librdkafka's fetcher does without a word.
        """
        polled = Polled()
        wanted = [(tp, p.offset) for tp, p in self._positions.items() if not p.paused and p.offset is not None]
        self.waiting = False
        if not wanted or max_records <= 0:
            return polled
        try:
            answers = self._link.send("Fetch", fetch, wanted, max_records, Isolation.READ_COMMITTED)
        except NoAnswer:
            self.waiting = True
            return polled
        except BrokerError as error:
            if error.code not in PASSING:
                raise classified(error, "poll") from error
            self.waiting = True
            return polled
        for tp, fetched in self._usable(answers):
            self._take(tp, fetched, polled)
        return polled

    @staticmethod
    def _usable(answers: Mapping[TopicPartition, Fetched | BrokerError]) -> list[tuple[TopicPartition, Fetched]]:
        """Without partitions that do not exist: librdkafka waits, without a word, for them to come."""
        usable = []
        for tp, answer in answers.items():
            if not isinstance(answer, BrokerError):
                usable.append((tp, answer))
            elif answer.code != "UNKNOWN_TOPIC_OR_PART":
                raise classified(answer, "poll") from answer
        return usable

    def wait(self, seen: int, deadline: float) -> bool:
        """Before the next fetch of the same poll; False when its time is up."""
        if not self.waiting:
            return self._link.wait(seen, deadline)
        clock = self._link.clock
        left = deadline - clock.monotonic()
        if left <= 0:
            return False
        clock.sleep(min(left, _RETRY_PAUSE_S))
        return True

    def _take(self, tp: TopicPartition, fetched: Fetched, polled: Polled) -> None:
        position = self._positions[tp]
        position.offset = fetched.next_position
        if fetched.spans:
            polled.batches.append(MemoryBatch(tp, fetched.columns, fetched.spans, fetched.leader_epoch))
            self._positions[tp] = self._positions.pop(tp)
        if fetched.next_position == fetched.last_stable_offset != position.end:
            position.end = polled.ends[tp] = fetched.next_position
