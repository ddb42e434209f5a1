"""EndTxn, and the markers that it has written."""

from __future__ import annotations

from functools import partial

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.broker import Broker, Ended
from streamkit.kafka.memory.server.log import Marker, ProducerId
from streamkit.kafka.memory.server.transaction import PREPARED, Transaction


def end_txn(broker: Broker, transactional_id: str, producer: ProducerId, *, commit: bool) -> None:
    """Decides the end of the transaction. A repetition of the request that ended it is answered with success."""
    transaction = broker.transactions.owned(transactional_id, producer)
    if broker.transactions.prepare(transaction, commit=commit):
        _write_markers(broker, transaction, commit=commit)


def fence_and_abort(broker: Broker, transaction: Transaction) -> None:
    """Aborts an open transaction over its owner's head: for a new owner, or when its time is over."""
    transaction.bump_epoch()
    broker.transactions.prepare(transaction, commit=False)
    _write_markers(broker, transaction, commit=False)


def _write_markers(broker: Broker, transaction: Transaction, *, commit: bool) -> None:
    """The marker of each partition and of each group's offsets, in any order and at any time that `Broker.defer` likes."""
    producer, marker = transaction.producer, Marker.COMMIT if commit else Marker.ABORT

    def end_partition(tp: TopicPartition) -> None:
        with broker.changed:
            if tp not in transaction.partitions:
                return
            if tp.partition < broker.partition_count(tp.topic):  # the topic may have been deleted meanwhile
                broker.log(tp).end_transaction(producer, marker, broker.clock.now_ms())
            transaction.partitions.pop(tp)
            broker.transactions.complete_if_written(transaction)
            broker.touch()

    def end_offsets(group_id: str) -> None:
        with broker.changed:
            if group_id not in transaction.groups:
                return
            offsets = (
                broker.groups[group_id].positions.end_pending(producer.id, commit=commit) if group_id in broker.groups else {}
            )
            transaction.groups.pop(group_id)
            broker.transactions.complete_if_written(transaction)
            broker.touch()
            broker.tell(Ended(transaction.transactional_id, producer, commit, group_id, offsets))

    for tp in list(transaction.partitions):
        broker.defer(f"marker {tp}", partial(end_partition, tp))
    for group_id in list(transaction.groups):
        broker.defer(f"marker {group_id}", partial(end_offsets, group_id))
    if transaction.state in PREPARED:
        broker.transactions.complete_if_written(transaction)  # there may be nothing to write
