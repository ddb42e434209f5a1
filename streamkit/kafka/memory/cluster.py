"""An in-process Kafka cluster, and what tests and tools do to it from outside."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

from streamkit.clock import Clock, SystemClock
from streamkit.kafka.client import Headers, NewTopic, TopicPartition
from streamkit.kafka.memory.faults import Faults, When
from streamkit.kafka.memory.network import Direct, Network, Punctual
from streamkit.kafka.memory.server import timers
from streamkit.kafka.memory.server.broker import GROUP_REQUESTS, PARTITION_REQUESTS, TRANSACTION_REQUESTS, Broker, Ended
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.log import Isolation
from streamkit.kafka.memory.server.requests.create_partitions import create_partitions
from streamkit.kafka.memory.server.requests.create_topics import create_topic
from streamkit.kafka.memory.server.requests.end_txn import fence_and_abort
from streamkit.kafka.memory.server.requests.produce import produce
from streamkit.kafka.murmur2 import partition_for


class LogRecord(NamedTuple):
    """A record as it lies in a log."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Process(Protocol):
    """What has a background of its own: a `MemoryClient`."""

    def background(self) -> float | None: ...
    def living_members(self) -> list[tuple[str, str]]: ...


class Cluster:
    """Topics, consumer groups and transactions in memory, for any number of `MemoryClient`s in any number of threads.

    Nothing ends by time unless ``time_outs``: then sessions, rebalances and transactions that take too long end by the clock, at
    the next request or while somebody waits. A simulation gives its own ``network`` and calls `run_due` at `next_due`.

    >>> cluster = Cluster(topics={"bids": 3})
    >>> cluster.append("bids", b"4.00", key=b"C", partition=1)
    0
    >>> [(record.partition, record.offset, record.value) for record in cluster.read("bids")]
    [(1, 0, b'4.00')]
    """

    def __init__(
        self,
        clock: Clock | None = None,
        topics: Mapping[str, int] | None = None,
        *,
        time_outs: bool = False,
        network: Network | None = None,
    ) -> None:
        self.broker = Broker(clock or SystemClock(), cluster_id="streamkit-embedded")
        self._processes: list[Process] = []
        direct = Punctual(self.broker, self._on_time) if time_outs else Direct(self.broker)
        self.network: Network = network or direct
        self.faults = Faults()
        for name, partitions in (topics or {}).items():
            self.create_topic(name, partitions)

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        with self.broker.changed:
            create_topic(self.broker, NewTopic(name, partitions, config=config or {}))

    def add_partitions(self, name: str, total: int) -> None:
        """Lets a topic grow to `total` partitions."""
        with self.broker.changed:
            create_partitions(self.broker, name, total)

    def clean(self) -> None:
        """One pass of the log cleaner and of retention over all topics. Nothing is cleaned by itself, so that tests say when."""
        with self.broker.changed:
            for topic in self.broker.topics.values():
                topic.clean(self.broker.clock.now_ms())
            self.broker.touch()

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> int:
        """What an outside producer without transactions does; returns the record's offset. Partition -1: murmur2 of the
        key, and 0 for a null key. Timestamp 0: now."""
        with self.broker.changed:
            if partition < 0:
                partition = 0 if key is None else partition_for(key, max(self.broker.partition_count(topic), 1))
            times = array("q", [timestamp or self.broker.clock.now_ms()])
            columns = Columns([value], [key], times, None if headers is None else [headers])
            return produce(self.broker, TopicPartition(topic, partition), columns)

    def read(
        self,
        topic: str,
        isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
        partitions: Iterable[int] | None = None,
    ) -> list[LogRecord]:
        """Everything of a topic that such a reader sees now, partition by partition."""
        with self.broker.changed:
            chosen = range(self.broker.partition_count(topic)) if partitions is None else partitions
            return [
                record
                for p in (chosen or [0])  # a topic that does not exist raises
                for record in self._read_partition(TopicPartition(topic, p), Isolation(isolation))
            ]

    def _read_partition(self, tp: TopicPartition, isolation: Isolation) -> list[LogRecord]:
        log = self.broker.log(tp)
        fetched = log.fetch(log.start_offset, log.high_watermark, isolation)
        columns = fetched.columns
        offsets = [offset for span in fetched.spans for offset in range(span.first_offset, span.first_offset + span.records)]
        headers = columns.headers if columns.headers is not None else [None] * len(columns)
        return [
            LogRecord(tp.topic, tp.partition, *row[:4], row[4] or [])
            for row in zip(offsets, columns.timestamps, columns.keys, columns.values, headers, strict=True)
        ]

    # ---- groups and transactions

    def members(self, group_id: str) -> dict[str, list[TopicPartition]]:
        """Member id -> its partitions, in the group's present generation."""
        with self.broker.changed:
            group = self.broker.groups.get(group_id)
            return group.assignments() if group is not None else {}

    def has_member(self, group_id: str, member_id: str) -> bool:
        return member_id in self.members(group_id)

    def expire(self, member_id: str) -> None:
        """What the coordinator does when the session of a member has timed out: removes it and rebalances. The member
        learns it (`on_lost`) at its next poll."""
        with self.broker.changed:
            for group in self.broker.groups.values():
                if member_id in group.membership.members:
                    group.expire(member_id, self.broker.clock.monotonic())
                    self.broker.touch()
                    return
        raise ValueError(f"no group has a member '{member_id}'")

    def open_transactions(self) -> list[str]:
        """The transactional ids whose transaction is open."""
        with self.broker.changed:
            return [transaction.transactional_id for transaction in self.broker.transactions.ongoing()]

    def expire_transaction(self, transactional_id: str) -> None:
        """What the coordinator does when transaction.timeout.ms is over: aborts it and fences its producer."""
        with self.broker.changed:
            for transaction in self.broker.transactions.ongoing():
                if transaction.transactional_id == transactional_id:
                    fence_and_abort(self.broker, transaction)
                    return
        raise ValueError(f"'{transactional_id}' has no open transaction")

    def observe(self, observer: Callable[[Ended], None]) -> None:
        """Has every end of a transaction told, once per group whose offsets it held, at the moment they become visible."""
        self.broker.observers.append(observer)

    # ---- time

    def next_due(self) -> float | None:
        """When the brokers have something to do by themselves next (monotonic seconds), or None."""
        with self.broker.changed:
            return timers.next_due(self.broker)

    def run_due(self) -> None:
        """Ends what has taken too long by now: sessions, rebalances, transactions, outages."""
        with self.broker.changed:
            timers.run_due(self.broker)

    def register(self, process: Process) -> None:
        """Has the background of a process run with ``time_outs``."""
        if isinstance(self.network, Punctual):
            self._processes.append(process)

    def _on_time(self) -> float | None:
        """Called when somebody asks for something, which may be long after it was due. So the heartbeats that would have come in
        the meantime are taken for come: who lives is never late."""
        dues = [process.background() for process in self._processes]
        now = self.broker.clock.monotonic()
        for group_id, member_id in [member for process in self._processes for member in process.living_members()]:
            if group_id in self.broker.groups:
                self.broker.groups[group_id].membership.renew(member_id, now)
        timers.run_due(self.broker)
        return min((due for due in (*dues, timers.next_due(self.broker)) if due is not None), default=None)

    # ---- faults

    def move_coordinators(self, seconds: float, *, groups: bool = True, transactions: bool = True) -> None:
        """The coordinators of all groups, of all transactional ids, or of both move to another broker: for half of the time
        nobody is the coordinator, then the new one loads. What was acknowledged stays; sessions start anew."""
        requests = (GROUP_REQUESTS if groups else frozenset()) | (TRANSACTION_REQUESTS if transactions else frozenset())
        with self.broker.changed:
            now = self.broker.clock.monotonic()
            self.broker.begin_outage(requests, "NOT_COORDINATOR", now + seconds / 2)
            self.broker.begin_outage(requests, "COORDINATOR_LOAD_IN_PROGRESS", now + seconds)
            if groups:
                for group in self.broker.groups.values():
                    group.membership.postpone(now + seconds)

    def move_leaders(self, seconds: float) -> None:
        """Every partition gets another leader, with the next leader epoch; until then none answers."""
        with self.broker.changed:
            self.broker.begin_outage(PARTITION_REQUESTS, "NOT_LEADER_FOR_PARTITION", self.broker.clock.monotonic() + seconds)
            for topic in self.broker.topics.values():
                for log in topic.logs:
                    log.leader_epoch += 1

    def restart_brokers(self, seconds: float) -> None:
        """All brokers go and come back: nothing succeeds meanwhile, and all that was acknowledged is there again."""
        self.move_coordinators(seconds)
        self.move_leaders(seconds)

    def inject(
        self, call: str, *, error: BaseException, when: When = "before", client_id: str | None = None, skip: int = 0
    ) -> None:
        """Plants a fault in a client call, see `Faults.inject`."""
        self.faults.inject(call, error=error, when=when, client_id=client_id, skip=skip)
