"""OffsetFetch, DeleteGroups."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError


def fetch_offsets(broker: Broker, group_id: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed | None]:
    """Stable committed offsets; UNSTABLE_OFFSET_COMMIT while a transaction's are pending."""
    group = broker.groups.get(group_id)
    return group.fetch_offsets(partitions) if group is not None else dict.fromkeys(partitions)


def list_offsets_of_group(broker: Broker, group_id: str) -> dict[TopicPartition, Committed]:
    group = broker.groups.get(group_id)
    return dict(sorted(group.offsets.items())) if group is not None else {}


def delete_group(broker: Broker, group_id: str) -> None:
    group = broker.groups.get(group_id)
    if group is None:
        raise BrokerError("GROUP_ID_NOT_FOUND", f"there is no group '{group_id}'")
    if group.members:
        raise BrokerError("NON_EMPTY_GROUP", f"group '{group_id}' has {len(group.members)} members")
    del broker.groups[group_id]
