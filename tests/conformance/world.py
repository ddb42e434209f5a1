"""What a conformance test needs of a Kafka, embedded or real: clients, names of its own, and patience."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from streamkit.errors import KafkaError
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

PATIENCE_S = 20.0
PROMPT = {"heartbeat.interval.ms": "100", "fetch.wait.max.ms": "50"}  # a rebalance is noticed by heartbeat: 3 s by default
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
    """Remembers the callbacks; may do something inside them."""

    calls: list[tuple[str, list[TopicPartition]]] = field(default_factory=list)
    when_assigned: Callable[[Sequence[TopicPartition]], None] = lambda _: None
    when_revoked: Callable[[Sequence[TopicPartition]], None] = lambda _: None
    held: list[TopicPartition] = field(default_factory=list)

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.held = sorted(partitions)
        self.calls.append(("assigned", self.held))
        self.when_assigned(partitions)

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.calls.append(("revoked", sorted(partitions)))
        self.when_revoked(partitions)
        self.held = []

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.calls.append(("lost", sorted(partitions)))
        self.held = []


class World:
    """One Kafka. Everything that it makes is closed with it."""

    def __init__(self) -> None:
        self._made: list[Admin | Consumer | Producer | Reader] = []
        self._numbers = itertools.count(1)
        self._run = uuid.uuid4().hex[:8]
        self.admin = self._keep(self.client().admin())

    @cached_property
    def _writer(self) -> Producer:
        writer = self.producer()
        self._made.insert(0, self._made.pop())  # closed last: listeners may write while their consumer closes
        return writer

    def client(self) -> KafkaClient:
        raise NotImplementedError

    def name(self, what: str) -> str:
        return f"conformance-{self._run}-{what}-{next(self._numbers)}"

    def topic(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        name = self.name("topic")
        self.admin.create_topics([NewTopic(name, partitions, config=config or {})], PATIENCE_S)
        return name

    def producer(self, transactional_id: str | None = None) -> Producer:
        producer = self._keep(self.client().producer(transactional_id or self.name("txn")))
        producer.init_transactions(PATIENCE_S)
        return producer

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        reader = self._keep(self.client().reader())
        reader.assign(positions)
        return reader

    def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None) -> tuple[Consumer, Listener]:
        """A member of the group; not in it before it polls."""
        listener = listener or Listener()
        consumer = self._keep(self.client().consumer(group))
        consumer.subscribe(topics, listener)
        return consumer, listener

    def member(self, group: str, topic: str, partitions: int = 1) -> tuple[Consumer, Listener]:
        """The only member of the group, with all partitions of the topic."""
        consumer, listener = self.consumer(group, [topic])
        self.settle([(consumer, listener)], lambda: len(listener.held) == partitions)
        return consumer, listener

    def settle(self, members: Sequence[tuple[Consumer, Listener]], done: Callable[[], bool]) -> None:
        """Polls the members in turn until `done`."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, [listener.calls for _, listener in members]
            for consumer, _ in members:
                consumer.poll(100, 0.05)

    def write(self, topic: str, *values: bytes | None, key: bytes | None = b"k", partition: int = 0) -> None:
        """One committed transaction."""
        self._writer.begin()
        for value in values:
            self._writer.produce(topic, value, key, partition)
        self._writer.commit(PATIENCE_S)

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
        deadline = time.monotonic() + PATIENCE_S
        while not all(tp in ends for tp in tps):
            assert time.monotonic() < deadline, f"no end of {tps}; ends {ends}, {len(got)} records"
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
        self._writer.begin()
        self._writer.send_offsets(offsets, consumer.group_metadata(), PATIENCE_S)
        self._writer.commit(PATIENCE_S)

    def close(self) -> None:
        for made in reversed(self._made):
            with suppress(KafkaError):  # many tests end with a client that was fenced
                made.close()

    def _keep(self, made: _Made) -> _Made:
        self._made.append(made)
        return made


class MemoryWorld(World):
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        super().__init__()

    def client(self) -> KafkaClient:
        return MemoryClient(self._cluster)


class RealWorld(World):
    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        super().__init__()

    def client(self) -> KafkaClient:
        from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings

        return ConfluentClient(ConnectionSettings(self._bootstrap, properties=PROMPT))
