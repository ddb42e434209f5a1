"""How long a partition with a backlog stood still: from samples of committed offsets and log ends.

A standstill begins when a backlog is there and the committed offset has moved last, and ends with the first sample in which it
has moved on. While nobody could be asked (the coordinator is away), nothing is known to have moved: that counts as standing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.support.cluster3 import ProxiedKafka

SAMPLE_EVERY_S = 0.25
_ASK_FOR_S = 1.5

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Standstill:
    partition: Partition
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(slots=True)
class _State:
    committed: int
    since: float | None = None  # it stands still with a backlog since then


@dataclass(slots=True)
class Standstills:
    """Folds samples. ``slack``: how far below the end a committed offset may stay without a backlog, by topic: behind the last
    record of a topic that transactions write stand their markers, which nobody commits."""

    slack: Mapping[str, int] = field(default_factory=dict)
    found: list[Standstill] = field(default_factory=list)
    _states: dict[Partition, _State] = field(default_factory=dict)

    def sample(self, at: float, committed: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        for partition, end in ends.items():
            offset = committed.get(partition, 0)
            state = self._states.setdefault(partition, _State(offset))
            if offset != state.committed and state.since is not None:
                self.found.append(Standstill(partition, state.since, at))
                state.since = None
            state.committed = offset
            behind = end - offset > self.slack.get(partition[0], 0)
            if behind and state.since is None:
                state.since = at
            elif not behind:
                state.since = None

    def close(self, at: float) -> None:
        """What stands still to this moment counts."""
        for partition, state in self._states.items():
            if state.since is not None:
                self.found.append(Standstill(partition, state.since, at))
                state.since = None

    def standing(self, at: float) -> dict[Partition, float]:
        """Partitions that stand still now, and since how many seconds."""
        return {partition: at - state.since for partition, state in self._states.items() if state.since is not None}


def longest_each(found: Iterable[Standstill], starts: Sequence[float]) -> list[Standstill | None]:
    """For each fault, by its start, the longest standstill that it has to answer for: those that it began in (all was moving
    before), and those that began after it and before the next."""
    longest: list[Standstill | None] = [None] * len(starts)
    for one in found:
        first_within = bisect_left(starts, one.start)
        index = first_within if first_within < len(starts) and starts[first_within] <= one.end else first_within - 1
        known = longest[index] if index >= 0 else None
        if index >= 0 and (known is None or one.seconds > known.seconds):
            longest[index] = one
    return longest


class Sampler:
    """Asks every quarter second, past the proxy, in a thread of its own. `lag` is the last backlog seen."""

    def __init__(self, kafka: ProxiedKafka, group: str, partitions: Sequence[Partition], slack: Mapping[str, int]) -> None:
        self.standstills = Standstills(slack)
        self.committed: dict[Partition, int] = {}
        self.ends: dict[Partition, int] = {}
        self.asked_at = 0.0
        self._kafka = kafka
        self._group = group
        self._partitions = list(partitions)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)
        self.standstills.close(time.monotonic())

    def standing(self) -> dict[Partition, float]:
        with self._lock:
            return self.standstills.standing(time.monotonic())

    def moved_since(self, at: float) -> bool:
        """Whether a sample was taken after `at` in which nobody stood still since before it."""
        now = time.monotonic()
        with self._lock:
            return self.asked_at > at and all(seconds < now - at for seconds in self.standstills.standing(now).values())

    def watch(self, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self._partitions.extend(partitions)

    def _run(self) -> None:
        while not self._over.is_set():
            # A client that is kept may wait for a node that is down; and a consumer asks for the offsets, because the answer of
            # a coordinator that has just moved crashes an AdminClient (librdkafka 2.16).
            admin = self._kafka.admin()
            consumer = Consumer({**self._kafka.client_config(), "group.id": self._group, "enable.auto.commit": False})
            try:
                while not self._over.wait(SAMPLE_EVERY_S):
                    self._ask(admin, consumer)
            except (KafkaException, TimeoutError):
                continue
            finally:
                consumer.close()

    def _ask(self, admin: AdminClient, consumer: Consumer) -> None:
        with self._lock:
            wanted = [TopicPartition(topic, partition) for topic, partition in self._partitions]
        latest = admin.list_offsets({tp: OffsetSpec.latest() for tp in wanted}, request_timeout=_ASK_FOR_S)
        found = consumer.committed(wanted, _ASK_FOR_S)
        committed = {(tp.topic, tp.partition): max(tp.offset, 0) for tp in found if tp.error is None}
        ends = dict(self.ends)  # a partition without a leader has the end that it had
        for tp, answer in latest.items():
            with contextlib.suppress(KafkaException):
                end = answer.result(_ASK_FOR_S + 0.5).offset
                if end >= 0:  # a request that timed out is answered with -1001 and no error
                    ends[tp.topic, tp.partition] = end
        now = time.monotonic()
        with self._lock:
            self.committed, self.ends, self.asked_at = committed, ends, now
            self.standstills.sample(now, committed, ends)
