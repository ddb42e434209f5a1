"""OffsetFetch: the positions of a group, once no open transaction holds any of them."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.broker import Broker


def fetch_offsets(
    broker: Broker, group_id: str, partitions: Sequence[TopicPartition] | None
) -> dict[TopicPartition, Committed | None]:
    """Stable committed offsets of the partitions, or of all; UNSTABLE_OFFSET_COMMIT while a transaction's are pending."""
    group = broker.groups.get(group_id)
    if group is None:
        return dict.fromkeys(partitions or ())
    return group.positions.fetch(group.positions.known_partitions() if partitions is None else partitions)
