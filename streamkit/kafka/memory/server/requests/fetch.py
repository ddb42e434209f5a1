"""Fetch: records of one partition from an offset on."""

from __future__ import annotations

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.log import Fetched, Isolation


def fetch(broker: Broker, tp: TopicPartition, offset: int, max_records: int, isolation: Isolation) -> Fetched:
    return broker.log(tp).fetch(offset, max_records, isolation)
