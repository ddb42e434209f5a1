"""InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn and the markers that it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Marker, ProducerId
from streamkit.kafka.memory.server.transaction import Transaction, TransactionState


class GroupMember(NamedTuple):
    """Who commits offsets: the identity that the request is fenced by."""

    group_id: str
    member_id: str
    generation: int


def init_producer_id(broker: Broker, transactional_id: str, timeout_ms: int) -> ProducerId:
    """Makes the caller the owner of the transactional id: aborts what its predecessor left open and bumps the epoch."""
    transaction = broker.transactions.find(transactional_id)
    if transaction is not None and transaction.state is TransactionState.ONGOING:
        fence_and_abort(broker, transaction)
    return broker.transactions.claim(transactional_id, timeout_ms).producer


def add_partitions_to_txn(
    broker: Broker, transactional_id: str, producer: ProducerId, partitions: Sequence[TopicPartition]
) -> None:
    transaction = broker.transactions.owned(transactional_id, producer)
    for tp in partitions:
        broker.log(tp)  # raises for one that does not exist
    broker.transactions.add(transaction, partitions=partitions, now_ms=broker.clock.now_ms())


def add_offsets_to_txn(broker: Broker, transactional_id: str, producer: ProducerId, group_id: str) -> None:
    transaction = broker.transactions.owned(transactional_id, producer)
    broker.transactions.add(transaction, group=group_id, now_ms=broker.clock.now_ms())


def txn_offset_commit(
    broker: Broker,
    transactional_id: str,
    producer: ProducerId,
    member: GroupMember,
    offsets: Mapping[TopicPartition, Committed],
) -> None:
    """Leaves the offsets pending in the group until the transaction ends. The one request that fences a stale member."""
    broker.transactions.owned(transactional_id, producer)
    if member.group_id not in broker.groups and member.generation >= 0:
        raise BrokerError("ILLEGAL_GENERATION", f"there is no group {member.group_id}")
    group = broker.group(member.group_id)
    group.check_txn_offset_commit(member.member_id, member.generation)
    for tp in offsets:
        broker.log(tp)
    group.add_pending(producer.id, offsets)


def end_txn(broker: Broker, transactional_id: str, producer: ProducerId, *, commit: bool) -> None:
    """Ends the transaction. A repetition of the request that ended it is answered with success."""
    transaction = broker.transactions.owned(transactional_id, producer)
    repeated = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
    if transaction.state is repeated:
        return
    if transaction.state is not TransactionState.ONGOING:
        raise BrokerError("INVALID_TXN_STATE", f"'{transactional_id}' has no open transaction: {transaction.state.value}")
    _write_markers(broker, transaction, commit=commit)


def fence_and_abort(broker: Broker, transaction: Transaction) -> None:
    """Aborts an open transaction over its owner's head: for a new owner, or when its time is over."""
    transaction.bump_epoch()
    _write_markers(broker, transaction, commit=False)


def _write_markers(broker: Broker, transaction: Transaction, *, commit: bool) -> None:
    marker = Marker.COMMIT if commit else Marker.ABORT
    now_ms = broker.clock.now_ms()
    for tp in transaction.partitions:
        if tp.partition < broker.partition_count(tp.topic):  # the topic may have been deleted meanwhile
            broker.log(tp).end_transaction(transaction.producer, marker, now_ms)
    for group_id in transaction.groups:
        if group_id in broker.groups:
            broker.groups[group_id].end_pending(transaction.producer.id, commit=commit)
    broker.transactions.complete(transaction, commit=commit)
    broker.touch()
