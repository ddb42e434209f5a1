"""Fetch: records of partitions, each from an offset on."""

from __future__ import annotations

from collections.abc import Iterable

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Fetched, Isolation


def fetch(
    broker: Broker, offsets: Iterable[tuple[TopicPartition, int]], max_records: int, isolation: Isolation
) -> dict[TopicPartition, Fetched | BrokerError]:
    """At most `max_records` in all; partitions are served in the order in which they are asked for, each with its own answer."""
    answers: dict[TopicPartition, Fetched | BrokerError] = {}
    room = max_records
    for tp, offset in offsets:
        if room <= 0:
            break
        try:
            fetched = answers[tp] = broker.log(tp).fetch(offset, room, isolation)
        except BrokerError as error:
            answers[tp] = error
        else:
            room -= len(fetched.columns)
    return answers
