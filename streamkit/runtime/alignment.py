"""Partitions that run ahead wait for those that they meet (`max_drift`): else windows stay open until the others are there.

    FREE ──further ahead than max_drift──> HELD ──no longer, or who is behind gives nothing──> FREE

A partition is held by keeping its fetched batches in hand, unprocessed. Only where too many records are in hand it is paused as
well, and resumed when most of them are processed: to pause and resume with every batch costs many times what it saves, for a
client drops what it has fetched of a partition that is paused.

How far a partition is, is the latest event time read of it. Those that meet are the source partitions of one task, and of all
sub-topologies that repartition topics connect, as far as this worker reads them. Who is idle, at the end of its log, or ended
holds nobody up; nor does one that gives nothing newer for `MOST_WAIT_S` although it has records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from streamkit.clock import Clock
from streamkit.eventtime.inputs import InputState
from streamkit.instrument import Instrument
from streamkit.kafka.client import RecordBatch, TopicPartition
from streamkit.plan.topology import Topology
from streamkit.runtime.pauses import Pauses
from streamkit.runtime.task import InputPosition, Task
from streamkit.runtime.task_set import TaskSet

MOST_WAIT_S = 10.0
"""So long a partition is waited for that has records and gives none."""

RELEASED_AFTER_S = 10.0
"""A partition that was not held for so long is told as released: in a backlog it is held and let go with every batch."""

_PAUSE_POLLS, _RESUME_POLLS, _MOST_POLLS = 4, 1, 20
"""In full polls: in hand of one partition before it is paused, and when it is resumed; of all before all that run ahead are
paused, until half of that is processed."""

_NEVER = 2**63

_REASON = "max_drift"
_CAUGHT_UP = "it is no longer that far ahead"


@dataclass(slots=True)
class _Hold:
    """From the first batch that was kept until none was for a while."""

    since: float
    last: float
    reason: str = _CAUGHT_UP


@dataclass(slots=True)
class _Stand:
    """The latest time of a partition that others wait for, and since when it is that."""

    time: int
    since: float


class Alignment:
    """Gives out the batches of each poll, those of partitions that run ahead when it is their time."""

    def __init__(
        self, topology: Topology, tasks: TaskSet, pauses: Pauses, clock: Clock, instrument: Instrument, max_records: int
    ) -> None:
        self._tasks = tasks
        self._pauses = pauses
        self._clock = clock
        self._instrument = instrument
        self._max_records = max_records
        sources = [source for part in topology.parts for source in part.sources]
        self._drift_ms = {s.topic.name: s.event_time.max_drift_ms for s in sources if s.event_time.max_drift_ms is not None}
        self._meeting = meeting(topology)
        self._free: list[RecordBatch] = []
        self._hands: dict[TopicPartition, deque[RecordBatch]] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._is_full = False
        self._holds: dict[TopicPartition, _Hold] = {}
        self._stands: dict[TopicPartition, _Stand] = {}

    @property
    def held(self) -> frozenset[TopicPartition]:
        """Those of which there is something in hand."""
        return frozenset(self._hands)

    @property
    def records(self) -> int:
        """In hand, of all of them."""
        return sum(len(batch) for hand in self._hands.values() for batch in hand)

    # ---- what was polled

    def receive(self, batches: Iterable[RecordBatch]) -> None:
        for batch in batches:
            if batch.tp.topic not in self._drift_ms:
                self._free.append(batch)
            elif (hand := self._hands.get(batch.tp)) is None:
                self._hands[batch.tp] = deque([batch])
            else:
                hand.append(batch)

    def reached(self, ends: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """The ends that are reached, with those of before: one of which records are in hand is not at its end."""
        if not self._hands and not self._ends:
            return ends
        self._ends |= ends
        reached = {tp: end for tp, end in self._ends.items() if tp not in self._hands}
        for tp in reached:
            del self._ends[tp]
        return reached

    # ---- what may be processed

    def admit(self) -> Sequence[RecordBatch]:
        """The next batch of each partition that need not wait, the one with the earliest record first. To be called again when
        they are processed, until it gives none: they may have let others go."""
        batches, self._free = self._free, []
        if self._hands:
            now = self._clock.monotonic()
            ahead = self._too_far_ahead(now)
            for tp in [tp for tp in self._hands if tp not in ahead]:
                batches.append(self._hands[tp].popleft())
                if not self._hands[tp]:
                    del self._hands[tp]
            self._pause(ahead)
        else:  # what was in hand of one that is paused may have been dropped
            self._pauses.hold(_REASON, ())
        return sorted(batches, key=_earliest) if len(batches) > 1 else batches

    def settle(self) -> None:
        """Behind the last `admit` of a step: tells who is free again."""
        if not self._holds:
            return
        now = self._clock.monotonic()
        for tp, hold in list(self._holds.items()):
            if tp not in self._hands and (now - hold.last >= RELEASED_AFTER_S or hold.reason != _CAUGHT_UP):
                self._released(tp, now)

    def _too_far_ahead(self, now: float) -> frozenset[TopicPartition]:
        groups: dict[Hashable, list[tuple[InputPosition, Task]]] = {}
        for task in self._tasks.running():
            together = self._meeting.get(task.id.sub_topology, task.id)
            groups.setdefault(together, []).extend((p, task) for p in task.inputs.values() if p.watermark is not None)
        ahead = set()
        for members in groups.values():
            if any(position.tp in self._hands for position, _ in members):
                ahead |= self._ahead_of(members, now)
        return frozenset(ahead)

    def _ahead_of(self, members: Sequence[tuple[InputPosition, Task]], now: float) -> set[TopicPartition]:
        behind = [position for position, task in members if self._is_waited_for(position, task)]
        given_up: list[TopicPartition] = []
        while behind:
            slowest = min(behind, key=_latest)
            ahead = {p.tp for p, _ in members if _latest(p) - _latest(slowest) > self._drift_ms.get(p.tp.topic, _NEVER)}
            if ahead.isdisjoint(self._hands):
                break
            stand = self._stands.get(slowest.tp)
            if stand is None or stand.time != _latest(slowest):
                stand = self._stands[slowest.tp] = _Stand(_latest(slowest), now)
            if now - stand.since < MOST_WAIT_S:
                for tp in ahead.intersection(self._hands):
                    self._hold(tp, slowest.tp, now)
                return ahead
            behind.remove(slowest)
            given_up.append(slowest.tp)
        for position, _ in members:
            if given_up and position.tp in self._holds and position.tp in self._hands:
                self._holds[position.tp].reason = f"{given_up[0]} has given nothing newer for {MOST_WAIT_S:.0f} s"
        return set()

    def _is_waited_for(self, position: InputPosition, task: Task) -> bool:
        if task.time.inputs[position.tp].state is not InputState.ACTIVE or position.at_end:
            return False
        return position.tp in self._hands or position.caught_up_at < position.next_offset

    def _hold(self, tp: TopicPartition, behind: TopicPartition, now: float) -> None:
        hold = self._holds.get(tp)
        if hold is None:
            self._holds[tp] = _Hold(now, now)
            self._instrument.event("partition-held", topic=tp.topic, partition=tp.partition, waits_for=str(behind))
        else:
            hold.last, hold.reason = now, _CAUGHT_UP

    def _released(self, tp: TopicPartition, now: float) -> None:
        hold = self._holds.pop(tp)
        seconds = round(now - hold.since, 3)
        self._instrument.event("partition-released", topic=tp.topic, partition=tp.partition, seconds=seconds, reason=hold.reason)

    def _pause(self, ahead: AbstractSet[TopicPartition]) -> None:
        counts = {tp: sum(map(len, hand)) for tp, hand in self._hands.items()}
        self._is_full = sum(counts.values()) > (_MOST_POLLS // 2 if self._is_full else _MOST_POLLS) * self._max_records
        self._paused = {
            tp
            for tp, count in counts.items()
            if count > (_RESUME_POLLS if tp in self._paused else _PAUSE_POLLS) * self._max_records
        }
        if self._is_full:
            self._paused |= ahead
        self._pauses.hold(_REASON, self._paused)

    # ---- what is gone

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """What is in hand of these is fetched again, by whomever they belong to."""
        for tp in partitions:
            self._hands.pop(tp, None)
            self._ends.pop(tp, None)
            self._holds.pop(tp, None)
            self._stands.pop(tp, None)
            self._paused.discard(tp)

    def drop_all(self) -> None:
        for kept in (self._free, self._hands, self._ends, self._paused, self._holds, self._stands):
            kept.clear()


def meeting(topology: Topology) -> dict[str, str]:
    """Sub-topology -> the name that it has in common with all that repartition topics connect it with; those that are alone are
    left out."""
    common = {part.name: part.name for part in topology.parts}
    for part in topology.parts:
        for repartition in part.reads:
            one, other = common[part.name], common[topology.writer_of(repartition).name]
            common = {name: one if found == other else found for name, found in common.items()}
    names = list(common.values())
    return {name: found for name, found in common.items() if names.count(found) > 1}


def _latest(position: InputPosition) -> int:
    assert position.watermark is not None  # noqa: S101 - only those of sources meet
    return position.watermark.max_timestamp


def _earliest(batch: RecordBatch) -> int:
    return int(batch.timestamps()[0]) if len(batch) else 0
