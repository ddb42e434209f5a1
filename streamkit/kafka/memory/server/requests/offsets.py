"""OffsetFetch, DeleteGroups, DescribeConfigs of a group."""

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
    return group.positions.fetch(group.positions.known_partitions() if partitions is None else partitions)


def delete_group(broker: Broker, group_id: str) -> None:
    group = broker.groups.get(group_id)
    if group is None:
        raise BrokerError("GROUP_ID_NOT_FOUND", f"there is no group '{group_id}'")
    members = len(group.membership.members)
    if members:
        raise BrokerError("NON_EMPTY_GROUP", f"group '{group_id}' has {members} members")
    del broker.groups[group_id]


def session_timeout_ms(broker: Broker, group_id: str) -> int:  # noqa: ARG001 - no group has a setting of its own
    """consumer.session.timeout.ms of a group, as KIP-848 has it."""
    return broker.consumer_session_timeout_ms
