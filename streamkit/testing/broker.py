"""Broker: a Kafka to try things on, embedded or real, with a few plain calls for scripts, demos and tests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from streamkit.clock import SystemClock
from streamkit.errors import RetriableError
from streamkit.kafka.client import KafkaClient, NewTopic, Producer, TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.operators.event_time import scalar_ms
from streamkit.operators.map import instant
from streamkit.plan.topic import Topic
from streamkit.record.model import Record

if TYPE_CHECKING:
    from streamkit.kafka.confluent import ConfluentClient

K = TypeVar("K")
V = TypeVar("V")

_TIMEOUT_S = 30.0
_PAUSE_S = 0.05
FOREVER = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
"""Settings of a topic for trying things: event times of any year are taken and kept."""


class Broker:
    """The embedded broker (``Broker.embedded()``) or a real Kafka (``Broker.at("localhost:9092")``). Hand it to `App.run`.

    It is for demos, scripts and tests: it sends and reads whole topics. Records are kept for ever, whatever their event time.

    >>> import streamkit as sk
    >>> NUMBERS = sk.Topic("numbers", key=str, value=int)
    >>> broker = sk.Broker.embedded()
    >>> broker.create_topic(NUMBERS, partitions=2)
    >>> broker.send(NUMBERS, 1, 2, key="a")
    >>> [record.value for record in broker.read(NUMBERS)]
    [1, 2]
    """

    def __init__(self, client: KafkaClient, *, is_embedded: bool) -> None:
        self.client = client
        self.is_embedded = is_embedded

    @classmethod
    def embedded(cls) -> Broker:
        """A new in-process cluster; it lives as long as this object."""
        return cls(MemoryClient(Cluster(SystemClock())), is_embedded=True)

    @classmethod
    def at(cls, bootstrap_servers: str, properties: Mapping[str, str] | None = None) -> Broker:
        """A real Kafka; ``properties`` are librdkafka's (security, for example)."""
        from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings  # noqa: PLC0415 - only where it is needed

        client: ConfluentClient = ConfluentClient(ConnectionSettings(bootstrap_servers, properties=properties or {}))
        return cls(client, is_embedded=False)

    def __str__(self) -> str:
        return self.client.describe()

    def create_topic(self, topic: Topic[Any, Any] | str, *, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Creates a topic that keeps its records for ever (``config`` overrides); one that exists is left as it is."""
        admin = self.client.admin()
        try:
            admin.create_topics([NewTopic(_name(topic), partitions, config={**FOREVER, **(config or {})})], _TIMEOUT_S)
        finally:
            admin.close()

    def send(
        self,
        topic: Topic[K, V],
        *values: V | None,
        key: K | None = None,
        timestamp: datetime | None = None,
        partition: int = -1,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Appends records in one transaction. Without a partition the key chooses, by Kafka's own rule."""
        with self.sender() as send:
            send(topic, *values, key=key, timestamp=timestamp, partition=partition, headers=headers)

    @contextmanager
    def sender(self) -> Iterator[Sender]:
        """`send` as a function that keeps its producer: for many calls after one another.

        >>> import streamkit as sk
        >>> NUMBERS = sk.Topic("numbers", key=str, value=int)
        >>> broker = sk.Broker.embedded()
        >>> broker.create_topic(NUMBERS)
        >>> with broker.sender() as send:
        ...     for number in range(3):
        ...         send(NUMBERS, number, key="a")
        >>> [record.value for record in broker.read(NUMBERS)]
        [0, 1, 2]
        """
        producer = self.client.producer(f"streamkit-send-{uuid.uuid4().hex}")
        try:
            producer.init_transactions(_TIMEOUT_S)
            yield Sender(producer)
        finally:
            producer.close()

    def read(self, topic: Topic[K, V]) -> list[Record[K, V]]:
        """All committed records that the topic holds now, by partition and offset."""
        ends = self._ends(topic.name)
        found = list(self._read_to(topic, {tp: end for tp, end in ends.items() if end > 0}))
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def _ends(self, topic: str) -> dict[TopicPartition, int]:
        """Asked again for a while: a topic that was made a moment ago has no leaders yet."""
        admin = self.client.admin()
        give_up = time.monotonic() + _TIMEOUT_S
        try:
            while True:
                try:
                    info = admin.describe_topics([topic], _TIMEOUT_S)[topic]
                    partitions = [TopicPartition(topic, number) for number in range(info.partitions if info else 0)]
                    return admin.end_offsets(partitions, _TIMEOUT_S)
                except RetriableError:
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(_PAUSE_S)
        finally:
            admin.close()

    def _read_to(self, topic: Topic[K, V], ends: dict[TopicPartition, int]) -> Iterator[Record[K, V]]:
        decode = topic.value_serde.decoder(None)
        reader = self.client.reader()
        left = dict(ends)
        reader.assign(dict.fromkeys(left, 0))
        try:
            while left:
                polled = reader.poll(2_000, 0.2)
                for batch in polled.batches:
                    parts = zip(batch.keys(), batch.values(), batch.timestamps(), batch.headers(), batch.offsets(), strict=True)
                    for key, value, timestamp, headers, offset in parts:
                        decoded: Any = None if value is None else decode(value)
                        yield Record(
                            topic.key_serde.decode_one(key), decoded, instant(int(timestamp)), dict(headers or ()),
                            topic.name, batch.tp.partition, int(offset),
                        )  # fmt: skip
                    if batch.next_offset >= left.get(batch.tp, 1 << 62):
                        left.pop(batch.tp)
                for tp, end in polled.ends.items():
                    if end >= left.get(tp, 1 << 62):
                        left.pop(tp)
        finally:
            reader.close()


class Sender:
    """Sends records to any topic, each call in one transaction; `Broker.sender` makes it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def __call__(
        self,
        topic: Topic[K, V],
        *values: V | None,
        key: K | None = None,
        timestamp: datetime | None = None,
        partition: int = -1,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """As `Broker.send`."""
        encode = topic.value_serde.encoder()
        wire_key = topic.key_serde.encode_one(key)
        when = 0 if timestamp is None else scalar_ms(timestamp)
        self._producer.begin()
        for value in values:
            data = None if value is None else encode(value)
            self._producer.produce(topic.name, data, wire_key, partition, when, list((headers or {}).items()) or None)
        self._producer.flush(_TIMEOUT_S)
        self._producer.commit(_TIMEOUT_S)


def _name(topic: Topic[Any, Any] | str) -> str:
    return topic if isinstance(topic, str) else topic.name
