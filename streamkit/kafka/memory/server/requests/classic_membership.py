"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup: the classic group protocol."""

from __future__ import annotations

from typing import NamedTuple

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.classic_group import ClassicGroup, JoinRequest, Synced
from streamkit.kafka.memory.server.errors import BrokerError


class Joined(NamedTuple):
    """``accepted`` is False for MEMBER_ID_REQUIRED: the member is to join again with the id that it was given."""

    member_id: str
    accepted: bool


def join_group(broker: Broker, request: JoinRequest) -> Joined:
    """The assignment comes by `sync_group` once all have joined."""
    group = broker.group(request.group_id).classic()
    member_id, accepted = group.join(request, broker.clock.monotonic(), lambda: f"{request.client_id}-{broker.next_number():06}")
    broker.touch()
    return Joined(member_id, accepted)


def sync_group(broker: Broker, group_id: str, member_id: str, instance_id: str | None = None) -> Synced | None:
    """None while the rebalance still waits for other members."""
    return _group(broker, group_id).sync(member_id, broker.clock.monotonic(), instance_id)


def heartbeat(broker: Broker, group_id: str, member_id: str, generation: int, instance_id: str | None = None) -> None:
    _group(broker, group_id).heartbeat(member_id, generation, broker.clock.monotonic(), instance_id)


def leave_group(broker: Broker, group_id: str, member_id: str, instance_id: str | None = None) -> None:
    _group(broker, group_id).leave(member_id, broker.clock.monotonic(), instance_id)
    broker.touch()


def _group(broker: Broker, group_id: str) -> ClassicGroup:
    group = broker.groups.get(group_id)
    if group is None or not isinstance(group.membership, ClassicGroup):
        raise BrokerError("UNKNOWN_MEMBER_ID", f"there is no group {group_id}")
    return group.membership
