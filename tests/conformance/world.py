"""What a conformance test needs of a Kafka, embedded or real: clients, names of its own, and patience."""

from __future__ import annotations

import itertools
import queue
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from streamkit.clock import Clock, ManualClock, SystemClock
from streamkit.errors import KafkaError, RetriableError
from streamkit.kafka.client import (
    Admin,
    Committed,
    Consumer,
    Headers,
    KafkaClient,
    NewTopic,
    Polled,
    Producer,
    Reader,
    TopicPartition,
)
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.client.group_settings import GroupProtocol, GroupSettings
from tests.conformance.elapsing import Elapsing

PATIENCE_S = 20.0
HEARTBEAT_INTERVAL_MS = 100  # a rebalance is noticed by heartbeat: 3 s by default
PROMPT = {
    "heartbeat.interval.ms": str(HEARTBEAT_INTERVAL_MS),
    "fetch.wait.max.ms": "50",
    "topic.metadata.refresh.interval.ms": "500",
}
_Value = TypeVar("_Value")
_Made = TypeVar("_Made", bound=Admin | Consumer | Producer | Reader)


@dataclass(frozen=True, slots=True)
class Got:
    """A record that a poll gave."""

    tp: TopicPartition
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None


def records(polled: Polled) -> list[Got]:
    return [
        Got(batch.tp, *row)
        for batch in polled.batches
        for row in zip(
            batch.offsets().tolist(), batch.timestamps().tolist(), batch.keys(), batch.values(), batch.headers(), strict=True
        )
    ]


def values(got: Iterable[Got]) -> list[bytes | None]:
    return [record.value for record in got]


@dataclass
class Listener:
    """Remembers the callbacks; may do something inside them. ``held`` is what the member has, whichever protocol tells it."""

    calls: list[tuple[str, list[TopicPartition]]] = field(default_factory=list)
    when_assigned: Callable[[Sequence[TopicPartition]], None] = lambda _: None
    when_revoked: Callable[[Sequence[TopicPartition]], None] = lambda _: None
    held: list[TopicPartition] = field(default_factory=list)

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.held = sorted({*self.held, *partitions})
        self.calls.append(("assigned", sorted(partitions)))
        self.when_assigned(partitions)

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.calls.append(("revoked", sorted(partitions)))
        self.when_revoked(partitions)
        self.held = [tp for tp in self.held if tp not in set(partitions)]

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.calls.append(("lost", sorted(partitions)))
        self.held = [tp for tp in self.held if tp not in set(partitions)]

    def names(self) -> list[str]:
        """The callbacks in their order."""
        return [name for name, _ in self.calls]


class Stranger(Protocol):
    """A member of a group in a process of its own, which may be killed."""

    def has_joined(self) -> bool:
        """Whether it has partitions."""
        ...

    def kill(self) -> None:
        """As kill -9: it does not leave the group."""
        ...


Member = tuple[Consumer, Listener]


class Shared:
    """The clients that the tests of one Kafka share: making one takes longer than most tests."""

    def __init__(self, client: KafkaClient, *, ahead: bool) -> None:
        self._client = client
        self._writer: Producer | None = None
        self.admin = client.admin()
        self.ready = ReadyProducers(self._new_producer) if ahead else None

    def _new_producer(self) -> Producer:
        producer = self._client.producer(f"conformance-{uuid.uuid4().hex[:8]}")
        producer.init_transactions(PATIENCE_S)
        return producer

    @contextmanager
    def transaction(self) -> Iterator[Producer]:
        """A transaction that is committed at the end. One that fails takes its producer along."""
        if self._writer is None:
            self._writer = self._new_producer()
        writer, self._writer = self._writer, None
        try:
            writer.begin()
            yield writer
            writer.commit(PATIENCE_S)
        except BaseException:
            writer.close()
            raise
        self._writer = writer

    def close(self) -> None:
        if self.ready is not None:
            self.ready.close()
        if self._writer is not None:
            self._writer.close()
        self.admin.close()


class ReadyProducers:
    """Producers that are made ahead: on a real Kafka one takes up to half a second to find its coordinator."""

    def __init__(self, make: Callable[[], Producer]) -> None:
        self._make = make
        self._ready: queue.Queue[Producer] = queue.Queue(maxsize=3)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="ready producers", daemon=True)
        self._thread.start()

    def take(self) -> Producer:
        return self._ready.get(timeout=PATIENCE_S)

    def _fill(self) -> None:
        while not self._ended.is_set():
            producer = self._make()
            while not self._ended.is_set():
                with suppress(queue.Full):
                    self._ready.put(producer, timeout=0.1)
                    break
            else:
                producer.close()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)
        while not self._ready.empty():
            self._ready.get().close()


class World:
    """One Kafka. Everything that it makes is closed with it. `clock` is the time that it lives in."""

    def __init__(self, shared: Shared, clock: Clock) -> None:
        self.clock = clock
        self._made: list[Admin | Consumer | Producer | Reader] = []
        self._numbers = itertools.count(1)
        self._run = uuid.uuid4().hex[:8]
        self._shared = shared
        self.admin = shared.admin
        self.protocol: GroupProtocol = "classic"
        self.differences: list[str] = []  # what is known to differ between the two Kafkas, as the test says

    def client(self, **options: Any) -> KafkaClient:
        """Options: transaction_timeout_ms, session_timeout_ms, max_poll_interval_ms, group_instance_id."""
        raise NotImplementedError

    def add_partitions(self, topic: str, total: int) -> None:
        raise NotImplementedError

    def append(self, topic: str, value: bytes | None, key: bytes | None = b"k", partition: int = 0) -> None:
        """As a producer without transactions writes."""
        raise NotImplementedError

    def clean(self) -> None:
        """Has the log cleaner run, where it does not run by itself."""
        raise NotImplementedError

    def stranger(self, group: str, topic: str, session_timeout_ms: int) -> Stranger:
        """Joins the group from a process of its own; returns once it has partitions."""
        stranger = self.new_stranger(group, topic, session_timeout_ms)
        self.eventually(stranger.has_joined)
        return stranger

    def stranger_beside(self, member: Member, group: str, topic: str, session_timeout_ms: int) -> Stranger:
        """As `stranger`, in a group that `member` is in already."""
        stranger = self.new_stranger(group, topic, session_timeout_ms)
        self.settle([member], stranger.has_joined)
        return stranger

    def new_stranger(self, group: str, topic: str, session_timeout_ms: int) -> Stranger:
        raise NotImplementedError

    def differs(self, *, memory: _Value, real: _Value, why: str) -> _Value:
        """What this Kafka is expected to do, where the two are known to differ."""
        raise NotImplementedError

    def eventually(self, check: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        deadline = self.clock.monotonic() + patience_s
        while not check():
            assert self.clock.monotonic() < deadline, "it never came"
            self.clock.sleep(0.05)

    def name(self, what: str) -> str:
        return f"conformance-{self._run}-{what}-{next(self._numbers)}"

    def topic(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Kept for ever, unless it says otherwise: tests write times of 1970, which a broker deletes when it next looks."""
        name = self.name("topic")
        kept = {"retention.ms": "-1"} if config is None else config
        self.admin.create_topics([NewTopic(name, partitions, config=kept)], PATIENCE_S)
        self.await_leaders(name, partitions)
        return name

    def await_leaders(self, topic: str, partitions: int = 1) -> None:
        """A topic that was made a moment ago is in the metadata before its leaders know that they lead it."""
        tps = [TopicPartition(topic, p) for p in range(partitions)]

        def lead() -> bool:
            with suppress(RetriableError):
                return len(self.admin.end_offsets(tps, PATIENCE_S)) == partitions
            return False

        self.eventually(lead)

    def producer(self, transactional_id: str | None = None, **options: Any) -> Producer:
        if self._shared.ready is not None and transactional_id is None and not options:
            return self._keep(self._shared.ready.take())
        producer = self._keep(self.client(**options).producer(transactional_id or self.name("txn")))
        producer.init_transactions(PATIENCE_S)
        return producer

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        reader = self._keep(self.client().reader())
        reader.assign(positions)
        return reader

    def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None, **options: Any) -> Member:
        """A member of the group; not in it before it polls."""
        listener = listener or Listener()
        consumer = self._keep(self.client(**options).consumer(group))
        consumer.subscribe(topics, listener)
        return consumer, listener

    def member(self, group: str, topic: str, partitions: int = 1, **options: Any) -> Member:
        """The only member of the group, with all partitions of the topic."""
        consumer, listener = self.consumer(group, [topic], **options)
        self.settle([(consumer, listener)], lambda: len(listener.held) == partitions)
        return consumer, listener

    def settle(self, members: Sequence[Member], done: Callable[[], bool]) -> None:
        """Polls the members in turn until `done`."""
        deadline = self.clock.monotonic() + PATIENCE_S
        while not done():
            assert self.clock.monotonic() < deadline, [listener.calls for _, listener in members]
            for consumer, _ in members:
                consumer.poll(100, 0.05)

    def write(self, topic: str, *values: bytes | None, key: bytes | None = b"k", partition: int = 0) -> None:
        """One committed transaction, with its marker: a broker answers a commit before that is written."""
        with self._shared.transaction() as writer:
            for value in values:
                writer.produce(topic, value, key, partition)
            writer.flush(PATIENCE_S)
            end = self.end(topic, partition)
        self.eventually(lambda: self.end(topic, partition) > end)

    def read(self, topic: str, partition: int = 0, start: int = 0) -> list[Got]:
        """What a reader sees up to the end of the partition."""
        tp = TopicPartition(topic, partition)
        got, _ = self.drain(self.reader({tp: start}), [tp])
        return got

    def read_all(self, topic: str, partitions: int) -> list[Got]:
        tps = [TopicPartition(topic, p) for p in range(partitions)]
        return self.drain(self.reader(dict.fromkeys(tps, 0)), tps)[0]

    def drain(
        self, source: Reader | Consumer, tps: Sequence[TopicPartition], max_records: int = 500
    ) -> tuple[list[Got], dict[TopicPartition, int]]:
        """Polls until each partition has reported its end; returns the records and the ends."""
        got: list[Got] = []
        ends: dict[TopicPartition, int] = {}
        deadline = self.clock.monotonic() + PATIENCE_S
        while not all(tp in ends for tp in tps):
            assert self.clock.monotonic() < deadline, f"no end of {tps}; ends {ends}, {len(got)} records"
            polled = source.poll(max_records, 0.2)
            got += records(polled)
            ends |= polled.ends
        return got, ends

    def end(self, topic: str, partition: int = 0) -> int:
        """The high watermark."""
        tp = TopicPartition(topic, partition)
        return self.admin.end_offsets([tp], PATIENCE_S)[tp]

    def commit_offset(self, consumer: Consumer, offsets: Mapping[TopicPartition, Committed]) -> None:
        """A transaction that holds nothing but offsets."""
        with self._shared.transaction() as writer:
            writer.send_offsets(offsets, consumer.group_metadata(), PATIENCE_S)

    def close(self) -> None:
        for made in reversed(self._made):
            with suppress(KafkaError):  # many tests end with a client that was fenced
                made.close()

    def _keep(self, made: _Made) -> _Made:
        self._made.append(made)
        return made


class MemoryWorld(World):
    """The embedded cluster, with time-outs by a clock of its own."""

    def __init__(self) -> None:
        clock = ManualClock(SystemClock().now_ms())
        self._cluster = Cluster(clock, time_outs=True)
        self._cluster.network = Elapsing(self._cluster.broker, self._cluster._on_time)
        super().__init__(Shared(MemoryClient(self._cluster), ahead=False), clock)

    def client(self, **options: Any) -> KafkaClient:
        transaction_timeout_ms = options.pop("transaction_timeout_ms", 30_000)
        group = GroupSettings(
            protocol=self.protocol,
            instance_id=options.pop("group_instance_id", None),
            session_timeout_ms=options.pop("session_timeout_ms", 45_000),
            max_poll_interval_ms=options.pop("max_poll_interval_ms", 300_000),
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        )
        assert not options, options
        return MemoryClient(self._cluster, transaction_timeout_ms=transaction_timeout_ms, group=group)

    def add_partitions(self, topic: str, total: int) -> None:
        self._cluster.add_partitions(topic, total)

    def append(self, topic: str, value: bytes | None, key: bytes | None = b"k", partition: int = 0) -> None:
        self._cluster.append(topic, value, key, partition)

    def clean(self) -> None:
        self._cluster.clean()

    def new_stranger(self, group: str, topic: str, session_timeout_ms: int) -> Stranger:
        settings = GroupSettings(
            self.protocol, session_timeout_ms=session_timeout_ms, heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS
        )
        client = MemoryClient(self._cluster, client_id="stranger", group=settings)
        consumer, listener = client.consumer(group), Listener()
        consumer.subscribe([topic], listener)
        return EmbeddedStranger(client, (consumer, listener))

    def differs(self, *, memory: _Value, real: _Value, why: str) -> _Value:  # noqa: ARG002 - of the other world
        self.differences.append(why)
        return memory


@dataclass
class EmbeddedStranger:
    client: MemoryClient
    member: Member

    def has_joined(self) -> bool:
        consumer, listener = self.member
        consumer.poll(1, 0)
        return bool(listener.held)

    def kill(self) -> None:
        self.client.crash(expire=False)


class RealWorld(World):
    """A real Kafka through librdkafka."""

    def __init__(self, bootstrap: str, shared: Shared) -> None:
        self._bootstrap = bootstrap
        self._strangers: list[ForeignProcess] = []
        super().__init__(shared, SystemClock())

    def client(self, **options: Any) -> KafkaClient:
        from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings

        properties = dict(PROMPT)
        if self.protocol == "consumer":
            options["group_protocol"] = self.protocol
            del properties["heartbeat.interval.ms"]  # the broker's setting decides
        return ConfluentClient(ConnectionSettings(self._bootstrap, properties=properties, **options))

    def add_partitions(self, topic: str, total: int) -> None:
        from confluent_kafka.admin import AdminClient, NewPartitions

        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        for future in admin.create_partitions([NewPartitions(topic, total)]).values():
            future.result(PATIENCE_S)

    def append(self, topic: str, value: bytes | None, key: bytes | None = b"k", partition: int = 0) -> None:
        from confluent_kafka import Producer as PlainProducer

        producer = PlainProducer({"bootstrap.servers": self._bootstrap})
        producer.produce(topic, value, key, partition)
        assert producer.flush(PATIENCE_S) == 0

    def clean(self) -> None:
        """It runs by itself."""

    def new_stranger(self, group: str, topic: str, session_timeout_ms: int) -> Stranger:
        stranger = ForeignProcess(self._bootstrap, self.protocol, group, topic, session_timeout_ms)
        self._strangers.append(stranger)
        return stranger

    def differs(self, *, memory: _Value, real: _Value, why: str) -> _Value:  # noqa: ARG002 - of the other world
        self.differences.append(why)
        return real

    def close(self) -> None:
        for stranger in self._strangers:
            stranger.kill()
        super().close()


class ForeignProcess:
    """A consumer of librdkafka in a Python of its own."""

    PROGRAM = """
import sys, confluent_kafka as ck
bootstrap, protocol, group, topic, session_ms = sys.argv[1:]
config = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol}
if protocol == "classic":
    config |= {"session.timeout.ms": session_ms, "heartbeat.interval.ms": "100", "partition.assignment.strategy": "range"}
else:
    config |= {"group.remote.assignor": "range"}
consumer = ck.Consumer(config)
consumer.subscribe([topic], on_assign=lambda consumer, partitions: partitions and print("joined", flush=True))
while True:
    consumer.poll(0.1)
"""

    def __init__(self, bootstrap: str, protocol: str, group: str, topic: str, session_timeout_ms: int) -> None:
        arguments = [sys.executable, "-c", self.PROGRAM, bootstrap, protocol, group, topic, str(session_timeout_ms)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(arguments, stdout=self._said)

    def has_joined(self) -> bool:
        assert self._process.poll() is None, "it has ended"
        self._said.seek(0)
        return self._said.read().startswith(b"joined")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()


def predecessor(world: World, topic: str) -> tuple[Producer, str]:
    """A producer with an open transaction, and its transactional id."""
    transactional_id = world.name("txn")
    producer = world.producer(transactional_id)
    producer.begin()
    producer.produce(topic, b"predecessor", b"k", 0)
    producer.flush(PATIENCE_S)
    return producer, transactional_id
