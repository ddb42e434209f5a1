"""One consumer group as the coordinator keeps it: its offsets, and its members under the protocol that they speak.

A group without members takes the protocol of the next one who joins. (Brokers can also convert a group with members from one
protocol to the other; here that is refused.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.classic_group import ClassicGroup
from streamkit.kafka.memory.server.consumer_group import ConsumerGroup
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.offsets import GroupOffsets


class Group:
    """Joins offsets and membership. The caller holds the cluster's lock."""

    def __init__(self, group_id: str, partition_count: Callable[[str], int]) -> None:
        self.group_id = group_id
        self.positions = GroupOffsets()
        self.membership: ClassicGroup | ConsumerGroup = ClassicGroup(group_id, partition_count)
        self._partition_count = partition_count

    @property
    def offsets(self) -> dict[TopicPartition, Committed]:
        """What is committed."""
        return self.positions.committed

    @property
    def generation(self) -> int:
        """The generation, or the group epoch."""
        members = self.membership
        return members.generation if isinstance(members, ClassicGroup) else members.epoch

    def classic(self) -> ClassicGroup:
        if isinstance(self.membership, ClassicGroup):
            return self.membership
        self._require_empty()
        self.membership = ClassicGroup(self.group_id, self._partition_count, self.membership.epoch)
        return self.membership

    def consumer(self, *, session_timeout_ms: int, heartbeat_interval_ms: int) -> ConsumerGroup:
        if isinstance(self.membership, ConsumerGroup):
            return self.membership
        self._require_empty()
        self.membership = ConsumerGroup(
            self.group_id,
            self._partition_count,
            self.membership.generation,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=heartbeat_interval_ms,
        )
        return self.membership

    def _require_empty(self) -> None:
        if self.membership.members:
            message = f"group {self.group_id} has members of the other protocol"
            raise BrokerError("INCONSISTENT_GROUP_PROTOCOL", message)

    def check_txn_offset_commit(
        self, member_id: str, generation: int, instance_id: str | None, partitions: Iterable[TopicPartition]
    ) -> None:
        """Fences members of the past. Without any identity nothing is checked: brokers accept that (hence rule R10)."""
        if generation < 0 and not member_id and instance_id is None:
            return
        self.membership.check_commit(member_id, generation, instance_id, partitions)

    def on_metadata_change(self, topic: str, now: float) -> None:
        """Partitions of `topic` came or went."""
        if isinstance(self.membership, ClassicGroup):
            self.membership.on_metadata_change(topic, now)
        else:
            self.membership.on_metadata_change(topic)

    def expire(self, member_id: str, now: float) -> None:
        """Removes a member as if its session had expired."""
        if isinstance(self.membership, ClassicGroup):
            self.membership.remove(member_id, now)
        else:
            self.membership.remove(member_id)

    def assignments(self) -> dict[str, list[TopicPartition]]:
        """Member id -> its partitions."""
        return self.membership.assignments()
