"""AddPartitionsToTxn: opens the transaction, or extends it to partitions."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.log import ProducerId


def add_partitions_to_txn(
    broker: Broker, transactional_id: str, producer: ProducerId, partitions: Sequence[TopicPartition]
) -> None:
    transaction = broker.transactions.owned(transactional_id, producer)
    for tp in partitions:
        broker.log(tp)  # raises for one that does not exist
    broker.transactions.add(transaction, partitions=partitions, now=broker.clock.monotonic())
