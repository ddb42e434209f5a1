"""Metadata and DescribeConfigs: which topics there are, and how they are set."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import TopicInfo
from streamkit.kafka.memory.server.broker import Broker


def list_topics(broker: Broker) -> list[str]:
    return sorted(broker.topics)


def describe_topics(broker: Broker, names: Sequence[str]) -> dict[str, TopicInfo | None]:
    return {name: broker.topics[name].info() if name in broker.topics else None for name in names}


def partition_count(broker: Broker, topic: str) -> int:
    """0 for a topic that does not exist."""
    return broker.partition_count(topic)
