"""Metadata, DescribeConfigs, CreateTopics, CreatePartitions, DeleteTopics."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import NewTopic, TopicInfo
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.topic import Topic


def list_topics(broker: Broker) -> list[str]:
    return sorted(broker.topics)


def describe_topics(broker: Broker, names: Sequence[str]) -> dict[str, TopicInfo | None]:
    return {name: broker.topics[name].info() if name in broker.topics else None for name in names}


def partition_count(broker: Broker, topic: str) -> int:
    """0 for a topic that does not exist."""
    return broker.partition_count(topic)


def create_topic(broker: Broker, new: NewTopic) -> None:
    if new.name in broker.topics:
        raise BrokerError("TOPIC_ALREADY_EXISTS", f"topic '{new.name}' exists already")
    alike = [name for name in broker.topics if name.replace(".", "_") == new.name.replace(".", "_")]
    if alike:
        raise BrokerError("TOPIC_EXCEPTION", f"topic '{new.name}' differs from '{alike[0]}' only in dots and underscores")
    partitions = 1 if new.partitions == -1 else new.partitions
    broker.topics[new.name] = Topic(new.name, partitions, new.config, broker.next_number())
    _announce(broker, new.name)


def create_partitions(broker: Broker, name: str, total: int) -> None:
    topic = broker.topics.get(name)
    if topic is None:
        raise BrokerError("UNKNOWN_TOPIC_OR_PART", f"topic '{name}' does not exist")
    topic.add_partitions(total)
    _announce(broker, name)


def delete_topic(broker: Broker, name: str) -> None:
    if broker.topics.pop(name, None) is None:
        raise BrokerError("UNKNOWN_TOPIC_OR_PART", f"topic '{name}' does not exist")
    for group in broker.groups.values():
        group.positions.forget_topic(name)
    _announce(broker, name)


def _announce(broker: Broker, topic: str) -> None:
    for group in broker.groups.values():
        group.on_metadata_change(topic, broker.clock.monotonic())
    broker.touch()
