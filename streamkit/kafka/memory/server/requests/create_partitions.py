"""CreatePartitions: lets a topic grow."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError


def create_partitions(broker: Broker, name: str, total: int) -> None:
    topic = broker.topics.get(name)
    if topic is None:
        raise BrokerError("UNKNOWN_TOPIC_OR_PART", f"topic '{name}' does not exist")
    topic.add_partitions(total)
    broker.announce(name)
