"""AddOffsetsToTxn: opens the transaction, or extends it to the offsets of a group."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.log import ProducerId


def add_offsets_to_txn(broker: Broker, transactional_id: str, producer: ProducerId, group_id: str) -> None:
    transaction = broker.transactions.owned(transactional_id, producer)
    broker.transactions.add(transaction, group=group_id, now=broker.clock.monotonic())
