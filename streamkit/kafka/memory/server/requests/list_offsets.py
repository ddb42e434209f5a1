"""ListOffsets: where the log of a partition starts and ends."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.log import Isolation


def list_end_offsets(broker: Broker, partitions: Sequence[TopicPartition], isolation: Isolation) -> dict[TopicPartition, int]:
    return {tp: broker.log(tp).end(isolation) for tp in partitions}


def list_start_offsets(broker: Broker, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    return {tp: broker.log(tp).start_offset for tp in partitions}
