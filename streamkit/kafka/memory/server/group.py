"""The group coordinator: members and generations of one consumer group, and its committed offsets.

The classic protocol, reduced to what an in-process cluster needs: the assignment is made here instead of by the leading
member, and `sync` asks again instead of holding the request open.

    EMPTY               -> PREPARING_REBALANCE           the first member joins
    PREPARING_REBALANCE -> STABLE, EMPTY                 every member has joined; or the last one has left
    STABLE              -> PREPARING_REBALANCE, EMPTY    one joins, leaves, expires, or partitions change; or the last has left

A rebalance waits for every member: one that does not poll holds it up until it leaves or is expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.assignor import assign_range
from streamkit.kafka.memory.server.errors import BrokerError

MAX_METADATA_BYTES = 4095  # of a broker with default settings (measured)


class GroupState(Enum):
    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    STABLE = "Stable"


TRANSITIONS: Mapping[GroupState, frozenset[GroupState]] = {
    GroupState.EMPTY: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.PREPARING_REBALANCE: frozenset({GroupState.STABLE, GroupState.EMPTY}),
    GroupState.STABLE: frozenset({GroupState.PREPARING_REBALANCE, GroupState.EMPTY}),
}


@dataclass(slots=True)
class Member:
    """A consumer in the group; ``joined`` is whether it has joined the rebalance that is being prepared."""

    topics: tuple[str, ...]
    joined: bool = False
    assignment: list[TopicPartition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Synced:
    generation: int
    assignment: list[TopicPartition]


class Group:
    """One consumer group. The caller holds the cluster's lock."""

    def __init__(self, group_id: str, partition_count: Callable[[str], int]) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.offsets: dict[TopicPartition, Committed] = {}
        self._pending: dict[int, dict[TopicPartition, Committed]] = {}  # by producer id
        self._partition_count = partition_count

    # -- membership ---------------------------------------------------------------------------------------------------

    def join(self, member_id: str, topics: Sequence[str]) -> None:
        """Adds the member, or has it join the rebalance that is being prepared."""
        member = self.members.setdefault(member_id, Member(tuple(topics)))
        member.topics = tuple(topics)
        if self.state is not GroupState.PREPARING_REBALANCE:
            self._prepare_rebalance()
        member.joined = True
        member.assignment = []
        self._try_complete()

    def sync(self, member_id: str) -> Synced | None:
        """The member's share of the new generation, or None while other members have not joined yet."""
        member = self._member(member_id)
        if self.state is not GroupState.STABLE:
            if member.joined:
                return None
            raise BrokerError("REBALANCE_IN_PROGRESS", f"group {self.group_id} is rebalancing")
        return Synced(self.generation, list(member.assignment))

    def heartbeat(self, member_id: str, generation: int) -> None:
        self._member(member_id)
        self._check_generation(generation)
        if self.state is GroupState.PREPARING_REBALANCE:
            raise BrokerError("REBALANCE_IN_PROGRESS", f"group {self.group_id} is rebalancing")

    def remove(self, member_id: str) -> None:
        """The member has left, or its session has expired."""
        self._member(member_id)
        del self.members[member_id]
        if not self.members:
            self._to(GroupState.EMPTY)
            self.generation += 1
        elif self.state is GroupState.STABLE:
            self._prepare_rebalance()
        else:
            self._try_complete()

    def on_metadata_change(self, topic: str) -> None:
        """Partitions of `topic` came or went: the members that subscribe to it share them anew."""
        if self.state is GroupState.STABLE and any(topic in member.topics for member in self.members.values()):
            self._prepare_rebalance()

    def _prepare_rebalance(self) -> None:
        self._to(GroupState.PREPARING_REBALANCE)
        for member in self.members.values():
            member.joined = False

    def _try_complete(self) -> None:
        if not all(member.joined for member in self.members.values()):
            return
        subscriptions = {member_id: member.topics for member_id, member in self.members.items()}
        for member_id, assignment in assign_range(subscriptions, self._partition_count).items():
            self.members[member_id].assignment = assignment
        self.generation += 1
        self._to(GroupState.STABLE)

    def _to(self, state: GroupState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} -> {state}")
        self.state = state

    def _member(self, member_id: str) -> Member:
        member = self.members.get(member_id)
        if member is None:
            raise BrokerError("UNKNOWN_MEMBER_ID", f"group {self.group_id} has no member '{member_id}'")
        return member

    def _check_generation(self, generation: int) -> None:
        if generation != self.generation:
            raise BrokerError("ILLEGAL_GENERATION", f"group {self.group_id}: generation {generation}, now {self.generation}")

    # -- offsets ------------------------------------------------------------------------------------------------------

    def check_txn_offset_commit(self, member_id: str, generation: int) -> None:
        """Fences members of the past. Without any identity nothing is checked: brokers accept that (hence rule R10)."""
        if generation < 0 and not member_id:
            return
        self._member(member_id)
        self._check_generation(generation)

    def add_pending(self, producer_id: int, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Keeps the offsets of an open transaction until it ends."""
        for tp, committed in offsets.items():
            if len(committed.metadata.encode()) > MAX_METADATA_BYTES:
                raise BrokerError("OFFSET_METADATA_TOO_LARGE", f"{tp}: more than {MAX_METADATA_BYTES} bytes of metadata")
        self._pending.setdefault(producer_id, {}).update(offsets)

    def end_pending(self, producer_id: int, *, commit: bool) -> None:
        offsets = self._pending.pop(producer_id, {})
        if commit:
            self.offsets.update(offsets)

    def is_pending(self, tp: TopicPartition) -> bool:
        return any(tp in offsets for offsets in self._pending.values())

    def fetch_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        """Stable offsets only (require_stable): an open transaction's offset commit blocks its partitions."""
        wanted = list(partitions)
        unstable = [str(tp) for tp in wanted if self.is_pending(tp)]
        if unstable:
            raise BrokerError("UNSTABLE_OFFSET_COMMIT", f"offsets of open transactions: {', '.join(unstable)}")
        return {tp: self.offsets.get(tp) for tp in wanted}

    def known_partitions(self) -> list[TopicPartition]:
        """Partitions with a committed or a pending offset."""
        return sorted({tp for offsets in (self.offsets, *self._pending.values()) for tp in offsets})

    def forget_topic(self, topic: str) -> None:
        """A deleted topic takes its committed offsets with it."""
        for offsets in (self.offsets, *self._pending.values()):
            for tp in [tp for tp in offsets if tp.topic == topic]:
                del offsets[tp]
