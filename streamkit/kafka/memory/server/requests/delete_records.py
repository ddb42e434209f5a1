"""DeleteRecords: moves the start of partitions up."""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError


def delete_records(broker: Broker, before: Mapping[TopicPartition, int]) -> None:
    """Refused where the cleanup policy has no `delete`; -1 is the high watermark."""
    for tp, offset in before.items():
        log = broker.log(tp)
        if "delete" not in broker.topics[tp.topic].config.policies:
            raise BrokerError("POLICY_VIOLATION", f"{tp}: records can be deleted only with cleanup.policy delete")
        if not -1 <= offset <= log.high_watermark:
            raise BrokerError("OFFSET_OUT_OF_RANGE", f"{tp}: offset {offset} is beyond the end {log.high_watermark}")
        log.delete_before(log.high_watermark if offset == -1 else offset)
    broker.touch()
