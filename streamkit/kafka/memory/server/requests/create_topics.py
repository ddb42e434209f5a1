"""CreateTopics: what may be a topic."""

from __future__ import annotations

from streamkit.kafka.client import NewTopic
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.topic import Topic


def create_topic(broker: Broker, new: NewTopic) -> None:
    if new.name in broker.topics:
        raise BrokerError("TOPIC_ALREADY_EXISTS", f"topic '{new.name}' exists already")
    alike = [name for name in broker.topics if name.replace(".", "_") == new.name.replace(".", "_")]
    if alike:
        raise BrokerError("TOPIC_EXCEPTION", f"topic '{new.name}' differs from '{alike[0]}' only in dots and underscores")
    partitions = 1 if new.partitions == -1 else new.partitions
    broker.topics[new.name] = Topic(new.name, partitions, new.config, broker.next_number())
    broker.announce(new.name)
