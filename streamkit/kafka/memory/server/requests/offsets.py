"""OffsetFetch, DeleteGroups."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError


def fetch_offsets(
    broker: Broker, group_id: str, partitions: Sequence[TopicPartition] | None
) -> dict[TopicPartition, Committed | None]:
    """Stable committed offsets of the partitions, or of all; UNSTABLE_OFFSET_COMMIT while a transaction's are pending."""
    group = broker.groups.get(group_id)
    if group is None:
        return dict.fromkeys(partitions or ())
    return group.fetch_offsets(group.known_partitions() if partitions is None else partitions)


def delete_group(broker: Broker, group_id: str) -> None:
    group = broker.groups.get(group_id)
    if group is None:
        raise BrokerError("GROUP_ID_NOT_FOUND", f"there is no group '{group_id}'")
    if group.members:
        raise BrokerError("NON_EMPTY_GROUP", f"group '{group_id}' has {len(group.members)} members")
    del broker.groups[group_id]
