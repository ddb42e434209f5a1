"""What the group consumer and the changelog reader share: which partitions are read, from where, and what a poll returns.

The engine's order for a partition is: assigned (paused) -> `seek` -> `resume` -> records -> `pause` -> ... This module keeps
the position of every partition itself and is the judge of what leaves `poll`:

    assigned ---- seek ----> placed, paused ---- resume ----> live ---- pause ----> placed, paused
                                                              live ---- seek -----> live at the new offset

Only records of live partitions at or after the position leave; all else is a leftover and is dropped. librdkafka drops
outdated records itself (it versions its queues), but the fence against stale records should not rest on one mechanism.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError

from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.confluent.classify import LOST_OFFSET, classify, error_of
from streamkit.kafka.confluent.events import ErrorEvents, logger
from streamkit.kafka.confluent.intake import Batch, ByMessage, Event, Intake, Received

# A seek is refused while the partition's fetcher is being stopped or has not started; it is repeated in the next polls.
_NOT_YET: Final = frozenset(
    {KafkaError._STATE, KafkaError._PREV_IN_PROGRESS, KafkaError._UNKNOWN_PARTITION, KafkaError._TIMED_OUT}
)
_REASSIGN_AFTER_S: Final = 1.0
# The start of the fetcher between assignment and the first seek: any absolute offset avoids a look-up that could finish
# after the seek; nothing is fetched from it because the partition is paused.
_NOWHERE: Final = 0


@dataclass(slots=True)
class _Position:
    """offset: the next record to hand out, None before the first seek. wanted: resumed by the engine. live: librdkafka
    fetches from `offset`. stopped: librdkafka gave the partition up after an error and only an assignment starts it again."""

    offset: int | None = None
    wanted: bool = False
    live: bool = False
    stopped: bool = False


class Fetch:
    """Positions of the assigned partitions over one librdkafka consumer."""

    def __init__(
        self,
        consumer: ck.Consumer,
        events: ErrorEvents,
        *,
        about: str,
        intake: Intake | None = None,
        ignore: Callable[[KafkaError], bool] | None = None,
        incremental: bool = False,
    ) -> None:
        """``intake`` is how records come out of the consumer; as Messages, if none is given."""
        self._consumer = consumer
        self._intake = intake or ByMessage(consumer)
        self._incremental = incremental
        self._events = events
        self._about = about
        self._ignore = ignore
        self._positions: dict[TopicPartition, _Position] = {}
        self._unplaced = False  # some wanted partition is not live
        self._unplaced_since: float | None = None
        self.raised: list[BaseException] = []  # by callbacks inside a poll; the poll raises the first of them

    # ---- assignment ------------------------------------------------------------------------------------------------

    def assign_paused(self, tps: Iterable[TopicPartition]) -> None:
        """All that is read from now on; incrementally: what is read as well."""
        new = {tp: _Position() for tp in tps}
        self._positions = self._positions | new if self._incremental else new
        self._start(new)

    def assign_at(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._positions = {tp: _Position(offset, wanted=True) for tp, offset in offsets.items()}
        self._start(self._positions)

    def unassign(self, tps: Iterable[TopicPartition]) -> None:
        """These are not read any longer; not incrementally: nothing is."""
        if not self._incremental:
            self._positions = {}
            self._consumer.unassign()
            return
        gone = [tp for tp in tps if self._positions.pop(tp, None) is not None]
        self._consumer.incremental_unassign([self._at(tp, _NOWHERE) for tp in gone])

    @property
    def assigned(self) -> list[TopicPartition]:
        return list(self._positions)

    def _start(self, positions: Mapping[TopicPartition, _Position]) -> None:
        """Starts fetchers at our positions; what the engine has not resumed stays paused.

        Paused before and after: a partition that librdkafka knows already must not fetch in between, and one that it does
        not know yet can only be paused after the assignment. What it fetches in between is purged by that pause.
        """
        at_once = {tp: p.wanted and not self._intake.follows_seeks for tp, p in positions.items()}
        paused = [self._at(tp, _NOWHERE) for tp in positions if not at_once[tp]]
        running = [self._at(tp, p.offset) for tp, p in positions.items() if at_once[tp]]
        self._consumer.pause(paused)
        if self._incremental:
            self._consumer.incremental_assign(paused + running)
        else:
            self._consumer.assign(paused + running)
        self._consumer.pause(paused)
        self._consumer.resume(running)
        for tp, position in positions.items():
            position.live = at_once[tp]
            position.stopped = False
        self._unplaced, self._unplaced_since = any(p.wanted and not p.live for p in self._positions.values()), None

    def _restart(self, waiting: Mapping[TopicPartition, _Position]) -> None:
        """Assigns anew: incrementally only what waits, else all, for then librdkafka only takes all."""
        if self._incremental:
            self._consumer.incremental_unassign([self._at(tp, _NOWHERE) for tp in waiting])
            self._start(waiting)
        else:
            self._start(self._positions)

    @staticmethod
    def _at(tp: TopicPartition, offset: int | None) -> ck.TopicPartition:
        if offset is None:
            raise ValueError(f"{tp} was resumed before a seek decided where to start")
        return ck.TopicPartition(tp.topic, tp.partition, offset)

    # ---- pause, resume, seek ---------------------------------------------------------------------------------------

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        positions = [(tp, self._of(tp)) for tp in tps]
        self._consumer.pause([self._at(tp, _NOWHERE) for tp, _ in positions])
        for _, position in positions:
            position.wanted = position.live = False

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            position = self._of(tp)
            self._at(tp, position.offset)  # refuses a partition that was never placed
            position.wanted = True
        self._place()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        position = self._of(tp)
        position.offset = offset
        position.live = False
        if position.wanted:
            self._place()

    def _of(self, tp: TopicPartition) -> _Position:
        position = self._positions.get(tp)
        if position is None:
            raise ValueError(f"{tp} is not assigned; assigned are {', '.join(map(str, self._positions)) or 'none'}")
        return position

    def _place(self) -> None:
        """Brings every wanted partition that is not live to its position.

        Also after a pause: whether librdkafka goes on at the last record handed out or behind what it had fetched ahead
        depends on whether anything was handed out since the last seek. A seek to our own position leaves no doubt.
        """
        waiting = {tp: p for tp, p in self._positions.items() if p.wanted and not p.live}
        if any(p.stopped for p in waiting.values()) or self._overdue():
            self._restart(waiting)
            return
        placed = [self._at(tp, p.offset) for tp, p in waiting.items() if self._seek(tp, p)]
        if placed:
            self._consumer.resume(placed)
        self._unplaced = len(placed) < len(waiting)
        if not self._unplaced:
            self._unplaced_since = None
        elif self._unplaced_since is None:
            self._unplaced_since = time.monotonic()

    def _overdue(self) -> bool:
        return self._unplaced_since is not None and time.monotonic() - self._unplaced_since > _REASSIGN_AFTER_S

    def _seek(self, tp: TopicPartition, position: _Position) -> bool:
        try:
            self._consumer.seek(self._at(tp, position.offset))
        except ck.KafkaException as raised:
            error = error_of(raised)
            if error.code() in _NOT_YET:
                return False
            raise classify(error, "seek", about=str(tp)) from raised
        self._intake.take(tp)
        position.live = True
        return True

    # ---- poll ------------------------------------------------------------------------------------------------------

    def poll(self, max_records: int, timeout: float) -> Polled:
        if self._unplaced:
            self._place()
        received = self._receive(max_records, timeout)
        polled = Polled()
        if received:
            self._sort(received, polled)
        elif not self.raised:
            self._events.check()
        if self.raised:
            self._take_back(polled)
            raise self.raised.pop(0)
        return polled

    def _receive(self, max_records: int, timeout: float) -> Received:
        try:
            with self._events.caught():
                return self._intake.receive(max_records, timeout)
        except BaseException as raised:
            # Records that librdkafka had already handed over are gone with the exception (a signal, for one).
            for position in self._positions.values():
                position.live = False
            self._unplaced = True
            if isinstance(raised, ck.KafkaException):
                raise self._events.classified(error_of(raised), "poll", about=self._about) from raised
            raise
        raise classify(cast("KafkaError", self._events.fatal), "poll", about=self._about)

    def _sort(self, received: Received, polled: Polled) -> None:
        for tp in received.strays:  # first: an end that came behind them is none yet
            position = self._positions.get(tp)
            if position is not None and position.live:
                logger.debug("%s@%s: a record came past the reader; read again", tp, position.offset)
                position.live = False
                self._unplaced = True
        for event in received.events:
            self._event(event, polled)
        for batch in received.batches:
            self._records(batch, polled)

    def _records(self, batch: Batch, polled: Polled) -> None:
        position = self._positions.get(batch.tp)
        if position is None or not position.live or position.offset is None:
            return
        if batch.first_offset < position.offset:
            left = batch.since(position.offset)
            if left is None:
                return
            batch = left
        position.offset = batch.next_offset
        polled.batches.append(batch)

    def _event(self, event: Event, polled: Polled) -> None:
        """An end of partition, or an error: kept for the poll to raise unless it is a leftover of an earlier position."""
        topic, partition, offset, error = event
        if topic is None or partition is None or partition < 0:
            self._keep(error, f"topic '{topic}'" if topic else self._about)
            return
        tp = TopicPartition(topic, partition)
        position = self._positions.get(tp)
        if (
            position is None
            or not position.live
            or position.offset is None
            or (offset is not None and 0 <= offset < position.offset)
        ):
            logger.debug("dropped a leftover event of %s: %s", tp, error)
        elif error.code() == KafkaError._PARTITION_EOF:
            polled.ends[tp] = cast("int", offset)
        else:
            self._keep(error, f"{tp}@{position.offset}")
            if error.name() in LOST_OFFSET:
                position.live, position.stopped = False, True

    def _keep(self, error: KafkaError, about: str) -> None:
        if self._ignore is not None and self._ignore(error):
            logger.debug("ignored: %s", error)
        else:
            self.raised.append(classify(error, "poll", about=about, operation="READ"))

    def _take_back(self, polled: Polled) -> None:
        """The poll raises, so its batches and ends do not reach the engine: go back to read them again."""
        for batch in reversed(polled.batches):
            position = self._positions.get(batch.tp)
            if position is not None:
                position.offset = batch.first_offset
                position.live = False
        for tp in polled.ends:
            if tp in self._positions:
                self._positions[tp].live = False
        self._unplaced = True

    def close(self) -> None:
        """With the consumer, before or behind it."""
        self._intake.close()
