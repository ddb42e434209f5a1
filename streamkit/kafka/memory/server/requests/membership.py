"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.group import Group, Synced


def join_group(broker: Broker, group_id: str, member_id: str, topics: Sequence[str], client_id: str) -> str:
    """Returns the member id, a new one for an empty one. The assignment comes by `sync_group` once all have joined."""
    group = broker.group(group_id)
    if member_id and member_id not in group.members:
        raise BrokerError("UNKNOWN_MEMBER_ID", f"group {group_id} has no member '{member_id}'")
    if not member_id:
        member_id = f"{client_id}-{broker.next_number():06}"
    group.join(member_id, topics)
    broker.touch()
    return member_id


def sync_group(broker: Broker, group_id: str, member_id: str) -> Synced | None:
    """None while the rebalance still waits for other members."""
    return _group(broker, group_id).sync(member_id)


def heartbeat(broker: Broker, group_id: str, member_id: str, generation: int) -> None:
    _group(broker, group_id).heartbeat(member_id, generation)


def leave_group(broker: Broker, group_id: str, member_id: str) -> None:
    """Also what the coordinator does by itself when a member's session expires."""
    _group(broker, group_id).remove(member_id)
    broker.touch()


def _group(broker: Broker, group_id: str) -> Group:
    group = broker.groups.get(group_id)
    if group is None:
        raise BrokerError("UNKNOWN_MEMBER_ID", f"there is no group {group_id}")
    return group
