"""DeleteTopics: takes the committed offsets of the topic along."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError


def delete_topic(broker: Broker, name: str) -> None:
    if broker.topics.pop(name, None) is None:
        raise BrokerError("UNKNOWN_TOPIC_OR_PART", f"topic '{name}' does not exist")
    for group in broker.groups.values():
        group.positions.forget_topic(name)
    broker.announce(name)
