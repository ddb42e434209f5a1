"""InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn and the markers that it has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.broker import Broker, Ended
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Marker, ProducerId
from streamkit.kafka.memory.server.transaction import PREPARED, Transaction, TransactionState

MAX_TRANSACTION_TIMEOUT_MS = 900_000  # transaction.max.timeout.ms of a broker with default settings


class GroupMember(NamedTuple):
    """Who commits offsets: the identity that the request is fenced by."""

    group_id: str
    member_id: str
    generation: int
    instance_id: str | None = None


def init_producer_id(broker: Broker, transactional_id: str, timeout_ms: int, current: ProducerId | None = None) -> ProducerId:
    """Makes the caller the owner of the transactional id: aborts what its predecessor left open and bumps the epoch.

    ``current`` is the producer of a caller that only wants a new epoch (KIP-360); it is refused if it was replaced.
    CONCURRENT_TRANSACTIONS while markers of the last transaction are not written yet.
    """
    if not 0 < timeout_ms <= MAX_TRANSACTION_TIMEOUT_MS:
        raise BrokerError("INVALID_TRANSACTION_TIMEOUT", f"{timeout_ms} is not within 1 and {MAX_TRANSACTION_TIMEOUT_MS}")
    transaction = broker.transactions.find(transactional_id)
    if transaction is not None and current is not None:
        broker.transactions.owned(transactional_id, current)
    if transaction is not None and transaction.state is TransactionState.ONGOING:
        fence_and_abort(broker, transaction)
    if transaction is not None and transaction.state in PREPARED:
        raise BrokerError("CONCURRENT_TRANSACTIONS", f"the markers of '{transactional_id}' are not all written yet")
    return broker.transactions.claim(transactional_id, timeout_ms).producer


def add_partitions_to_txn(
    broker: Broker, transactional_id: str, producer: ProducerId, partitions: Sequence[TopicPartition]
) -> None:
    transaction = broker.transactions.owned(transactional_id, producer)
    for tp in partitions:
        broker.log(tp)  # raises for one that does not exist
    broker.transactions.add(transaction, partitions=partitions, now=broker.clock.monotonic())


def add_offsets_to_txn(broker: Broker, transactional_id: str, producer: ProducerId, group_id: str) -> None:
    transaction = broker.transactions.owned(transactional_id, producer)
    broker.transactions.add(transaction, group=group_id, now=broker.clock.monotonic())


def txn_offset_commit(
    broker: Broker,
    transactional_id: str,
    producer: ProducerId,
    member: GroupMember,
    offsets: Mapping[TopicPartition, Committed],
) -> None:
    """Leaves the offsets pending in the group until the transaction ends. The one request that fences a stale member."""
    transaction = broker.transactions.owned(transactional_id, producer)
    if transaction.state is not TransactionState.ONGOING or member.group_id not in transaction.groups:
        raise BrokerError("INVALID_TXN_STATE", f"'{transactional_id}' has no open transaction with group {member.group_id}")
    if member.group_id not in broker.groups and member.generation >= 0:
        raise BrokerError("ILLEGAL_GENERATION", f"there is no group {member.group_id}")
    group = broker.group(member.group_id)
    group.check_txn_offset_commit(member.member_id, member.generation, member.instance_id, offsets)
    for tp in offsets:
        broker.log(tp)
    group.positions.add_pending(producer.id, offsets)


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
        broker.defer(f"marker {tp}", lambda tp=tp: end_partition(tp))  # type: ignore[misc]
    for group_id in list(transaction.groups):
        broker.defer(f"marker {group_id}", lambda group_id=group_id: end_offsets(group_id))  # type: ignore[misc]
    if transaction.state in PREPARED:
        broker.transactions.complete_if_written(transaction)  # there may be nothing to write
