"""DeleteGroups: groups without members, with their offsets."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError


def delete_group(broker: Broker, group_id: str) -> None:
    group = broker.groups.get(group_id)
    if group is None:
        raise BrokerError("GROUP_ID_NOT_FOUND", f"there is no group '{group_id}'")
    members = len(group.membership.members)
    if members:
        raise BrokerError("NON_EMPTY_GROUP", f"group '{group_id}' has {members} members")
    del broker.groups[group_id]
