"""What the cases of test_zoo.py and test_strays.py have in common."""

from __future__ import annotations

import time
import uuid

import confluent_kafka as ck

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.confluent import ConfluentClient
from tests.chaos import topics
from tests.support.cluster3 import ProxiedKafka

TRANSACTION_MS = 12_000


def values(kafka: ProxiedKafka, topic: str) -> list[bytes]:
    """What a read_committed reader sees."""
    return [entry.value or b"" for entry in topics.read(kafka.direct, topic)]


def until(condition, what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def plain_producer(kafka: ProxiedKafka, name: str) -> ck.Producer:
    producer = ck.Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "client.id": name,
            "transactional.id": f"{name}-{uuid.uuid4().hex[:8]}",
            "transaction.timeout.ms": TRANSACTION_MS,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    return producer


class Listener:
    """Notes what it is given, and commits nothing."""

    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()

    def on_assigned(self, partitions) -> None:
        self.owned = set(partitions)

    def on_revoked(self, partitions) -> None:
        self.owned -= set(partitions)

    on_lost = on_revoked


def member(client: ConfluentClient, topic: str, group: str | None = None, listener=None):
    """A consumer that has an assignment."""
    consumer, listener = client.consumer(group or f"g-{uuid.uuid4().hex[:8]}"), listener or Listener()
    consumer.subscribe([topic], listener)

    def assigned() -> bool:
        consumer.poll(1, 0.1)
        return bool(listener.owned)

    until(assigned, "no partitions were assigned", 40)
    return consumer
