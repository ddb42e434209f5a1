"""TxnOffsetCommit: offsets that are pending until their transaction ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId
from streamkit.kafka.memory.server.transaction import TransactionState


class GroupMember(NamedTuple):
    """Who commits offsets: the identity that the request is fenced by."""

    group_id: str
    member_id: str
    generation: int
    instance_id: str | None = None


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
