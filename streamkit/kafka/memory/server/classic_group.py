"""Members and generations of a group with the classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup).

Reduced to what an in-process cluster needs: the assignment is made here (range) instead of by the leading member, and `sync` asks
again instead of holding the request open.

    EMPTY               -> PREPARING_REBALANCE           the first member joins
    PREPARING_REBALANCE -> STABLE, EMPTY                 all have joined, or the time for it is over; the last one has left
    STABLE              -> PREPARING_REBALANCE, EMPTY    one joins, leaves, expires, or partitions change; or the last has left

A member is removed when its session has expired, and when it has not joined within the rebalance time-out. Who waits for a
rebalance to complete is not expired meanwhile. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.assignor import assign_range
from streamkit.kafka.memory.server.errors import BrokerError


class GroupState(Enum):
    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    STABLE = "Stable"


TRANSITIONS: Mapping[GroupState, frozenset[GroupState]] = {
    GroupState.EMPTY: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.PREPARING_REBALANCE: frozenset({GroupState.STABLE, GroupState.EMPTY}),
    GroupState.STABLE: frozenset({GroupState.PREPARING_REBALANCE, GroupState.EMPTY}),
}


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a member says of itself. Without a member id it is new, or a static member (``instance_id``) that comes back."""

    group_id: str
    member_id: str
    topics: tuple[str, ...]
    client_id: str
    instance_id: str | None = None
    session_timeout_ms: int = 45_000
    rebalance_timeout_ms: int = 300_000


@dataclass(slots=True)
class Member:
    """A consumer in the group; ``joined`` is whether it has joined the rebalance that is being prepared; ``deadline`` is when
    its session expires."""

    request: JoinRequest
    deadline: float
    joined: bool = False
    assignment: list[TopicPartition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Synced:
    generation: int
    assignment: list[TopicPartition]


class ClassicGroup:
    """The members of one group. The caller holds the cluster's lock."""

    def __init__(self, group_id: str, partition_count: Callable[[str], int], generation: int = 0) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.generation = generation
        self.members: dict[str, Member] = {}
        self._announced: dict[str, float] = {}  # member ids that were given but not used yet, and until when they hold
        self._rebalance_deadline = 0.0
        self._partition_count = partition_count

    # -- requests -----------------------------------------------------------------------------------------------------

    def join(self, request: JoinRequest, now: float, new_id: Callable[[], str]) -> tuple[str, bool]:
        """Adds the member, or has it join the rebalance that is being prepared. Returns its member id and whether it has
        joined: a new dynamic member is only given an id first (MEMBER_ID_REQUIRED), so that a lost answer leaves no ghost."""
        member_id = request.member_id
        present = None if request.instance_id is None else self._member_of_instance(request.instance_id)
        if present is not None and not member_id:
            return self._replace_static(present, request, now, new_id), True
        if present is not None and present != member_id:
            raise self._fenced(request.instance_id)
        if not member_id:
            member_id = new_id()
            if request.instance_id is None:
                self._announced[member_id] = now + request.session_timeout_ms / 1000
                return member_id, False
        elif member_id not in self.members and self._announced.pop(member_id, None) is None:
            raise self._unknown(member_id)
        self._join(member_id, request, now)
        return member_id, True

    def _join(self, member_id: str, request: JoinRequest, now: float) -> None:
        member = self.members.setdefault(member_id, Member(request, 0.0))
        member.request = request
        member.deadline = now + request.session_timeout_ms / 1000
        if self.state is not GroupState.PREPARING_REBALANCE:
            self._prepare_rebalance(now)
        member.joined = True
        member.assignment = []
        self._complete_if_all_joined(now)

    def _replace_static(self, old_id: str, request: JoinRequest, now: float, new_id: Callable[[], str]) -> str:
        """A static member that comes back takes the place and the partitions of its predecessor, which is fenced. In a stable
        group nobody else notices, unless it wants other topics."""
        member_id = new_id()
        member = self.members[old_id]
        self.members = {(member_id if known == old_id else known): one for known, one in self.members.items()}
        if self.state is GroupState.STABLE and member.request.topics == request.topics:
            member.request = request
            member.deadline = now + request.session_timeout_ms / 1000
        else:
            self._join(member_id, request, now)
        return member_id

    def sync(self, member_id: str, now: float, instance_id: str | None = None) -> Synced | None:
        """The member's share of the new generation, or None while other members have not joined yet."""
        member = self.member(member_id, instance_id)
        member.deadline = now + member.request.session_timeout_ms / 1000
        if self.state is not GroupState.STABLE:
            if member.joined:
                return None
            raise BrokerError("REBALANCE_IN_PROGRESS", f"group {self.group_id} is rebalancing")
        return Synced(self.generation, list(member.assignment))

    def heartbeat(self, member_id: str, generation: int, now: float, instance_id: str | None = None) -> None:
        member = self.member(member_id, instance_id)
        self.check_generation(generation)
        member.deadline = now + member.request.session_timeout_ms / 1000
        if self.state is GroupState.PREPARING_REBALANCE:
            raise BrokerError("REBALANCE_IN_PROGRESS", f"group {self.group_id} is rebalancing")

    def leave(self, member_id: str, now: float, instance_id: str | None = None) -> None:
        self.member(member_id, instance_id)
        self.remove(member_id, now)

    def remove(self, member_id: str, now: float) -> None:
        """The member has left, or its session has expired."""
        del self.members[member_id]
        if not self.members:
            self._to(GroupState.EMPTY)
            self.generation += 1
        elif self.state is GroupState.STABLE:
            self._prepare_rebalance(now)
        else:
            self._complete_if_all_joined(now)

    def check_commit(
        self, member_id: str, generation: int, instance_id: str | None, partitions: Iterable[TopicPartition]
    ) -> None:
        """Fences members of the past; which ``partitions`` they commit is not compared with what they have."""
        del partitions
        self.member(member_id, instance_id)
        self.check_generation(generation)

    def check_generation(self, generation: int) -> None:
        if generation != self.generation:
            raise BrokerError("ILLEGAL_GENERATION", f"group {self.group_id}: generation {generation}, now {self.generation}")

    def member(self, member_id: str, instance_id: str | None = None) -> Member:
        if instance_id is not None and self._member_of_instance(instance_id) not in (None, member_id):
            raise self._fenced(instance_id)
        member = self.members.get(member_id)
        if member is None:
            raise self._unknown(member_id)
        return member

    def on_metadata_change(self, topic: str, now: float) -> None:
        """Partitions of `topic` came or went: the members that subscribe to it share them anew."""
        if self.state is GroupState.STABLE and any(topic in member.request.topics for member in self.members.values()):
            self._prepare_rebalance(now)

    def assignments(self) -> dict[str, list[TopicPartition]]:
        return {member_id: list(member.assignment) for member_id, member in self.members.items()}

    # -- time ---------------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        return min(self._deadlines(), default=None)

    def _deadlines(self) -> Iterator[float]:
        yield from (member.deadline for member in self.members.values() if not self._waits(member))
        yield from self._announced.values()
        if self.state is GroupState.PREPARING_REBALANCE:
            yield self._rebalance_deadline

    def run_due(self, now: float) -> bool:
        """Removes who is late; whether anything was done."""
        late = [known for known, until in self._announced.items() if until <= now]
        for member_id in late:
            del self._announced[member_id]
        expired = [known for known, member in self.members.items() if member.deadline <= now and not self._waits(member)]
        for member_id in expired:
            self.remove(member_id, now)
        if self.state is GroupState.PREPARING_REBALANCE and self._rebalance_deadline <= now:
            self._go_on_without_the_late(now)
            return True
        return bool(late or expired)

    def renew(self, member_id: str, now: float) -> None:
        """Starts the session of a member anew, if it is one."""
        member = self.members.get(member_id)
        if member is not None:
            member.deadline = now + member.request.session_timeout_ms / 1000

    def postpone(self, until: float) -> None:
        """Nobody expires before a session time-out after `until`: a coordinator that has just loaded starts all timers anew."""
        for member in self.members.values():
            member.deadline = max(member.deadline, until + member.request.session_timeout_ms / 1000)
        self._rebalance_deadline = max(self._rebalance_deadline, until)

    def _waits(self, member: Member) -> bool:
        return member.joined and self.state is GroupState.PREPARING_REBALANCE

    def _go_on_without_the_late(self, now: float) -> None:
        """Dynamic members that have not joined are removed; static ones keep their place until their session expires."""
        late = [known for known, member in self.members.items() if not member.joined and member.request.instance_id is None]
        for member_id in late:
            del self.members[member_id]
        if self.members:
            self._complete(now)
        else:
            self._to(GroupState.EMPTY)
            self.generation += 1

    # -- rebalance ----------------------------------------------------------------------------------------------------

    def _prepare_rebalance(self, now: float) -> None:
        self._to(GroupState.PREPARING_REBALANCE)
        for member in self.members.values():
            member.joined = False
        longest_ms = max((member.request.rebalance_timeout_ms for member in self.members.values()), default=0)
        self._rebalance_deadline = now + longest_ms / 1000

    def _complete_if_all_joined(self, now: float) -> None:
        if all(member.joined for member in self.members.values()):
            self._complete(now)

    def _complete(self, now: float) -> None:
        subscriptions = {self._sort_key(known): member.request.topics for known, member in self.members.items()}
        shares = assign_range(subscriptions, self._partition_count)
        for member_id, member in self.members.items():
            member.assignment = shares[self._sort_key(member_id)]
            member.deadline = now + member.request.session_timeout_ms / 1000
        self.generation += 1
        self._to(GroupState.STABLE)

    def _sort_key(self, member_id: str) -> str:
        """The range assignor goes by instance id where there is one, so that a static member keeps its range."""
        return self.members[member_id].request.instance_id or member_id

    def _to(self, state: GroupState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} -> {state}")
        self.state = state

    def _member_of_instance(self, instance_id: str) -> str | None:
        for member_id, member in self.members.items():
            if member.request.instance_id == instance_id:
                return member_id
        return None

    def _unknown(self, member_id: str) -> BrokerError:
        return BrokerError("UNKNOWN_MEMBER_ID", f"group {self.group_id} has no member '{member_id}'")

    def _fenced(self, instance_id: str | None) -> BrokerError:
        message = f"group {self.group_id}: another member has taken the place of instance '{instance_id}'"
        return BrokerError("FENCED_INSTANCE_ID", message)
