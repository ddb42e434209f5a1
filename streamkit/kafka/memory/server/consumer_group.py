"""Members and epochs of a group with the consumer protocol of KIP-848 (ConsumerGroupHeartbeat), with the range assignor.

The group has an epoch that every change of members, topics or partitions counts up, and a target assignment of that epoch. Each
member is led to its target on its own: first it gives up what it has too much, then it gets what others have given up.

    STABLE     -> STABLE, UNREVOKED, UNRELEASED   the target is what it has; it must give partitions up; or wait for others'
    UNREVOKED  -> STABLE, UNREVOKED, UNRELEASED   the same, once it has said that it gave them up
    UNRELEASED -> STABLE, UNREVOKED, UNRELEASED   the same, at each heartbeat

A member is removed when its session has expired, and when it does not give up partitions within its rebalance time-out.
Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.assignor import assign_range
from streamkit.kafka.memory.server.errors import BrokerError

LEAVE = -1
LEAVE_FOR_A_WHILE = -2  # a static member that will come back


class MemberState(Enum):
    STABLE = "stable"
    UNREVOKED = "unrevoked partitions"
    UNRELEASED = "unreleased partitions"


TRANSITIONS: Mapping[MemberState, frozenset[MemberState]] = {state: frozenset(MemberState) for state in MemberState}


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeat:
    """ConsumerGroupHeartbeat. ``topics`` and ``owned`` are None where they have not changed since the last one; member epoch 0
    joins, -1 leaves, -2 leaves the place of a static member free for its successor."""

    group_id: str
    member_id: str
    member_epoch: int
    topics: tuple[str, ...] | None = None
    owned: tuple[TopicPartition, ...] | None = None
    instance_id: str | None = None
    rebalance_timeout_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """The member's epoch, and what it should have where that has changed (or it asked with all it has)."""

    member_epoch: int
    heartbeat_interval_ms: int
    assignment: tuple[TopicPartition, ...] | None


@dataclass(slots=True)
class ConsumerMember:
    """``assigned`` is what the member may have, ``revoking`` what it still has to give up."""

    topics: tuple[str, ...]
    instance_id: str | None
    rebalance_timeout_ms: int
    deadline: float
    epoch: int = 0
    previous_epoch: int = 0
    state: MemberState = MemberState.STABLE
    assigned: list[TopicPartition] = field(default_factory=list)
    revoking: list[TopicPartition] = field(default_factory=list)
    since: dict[TopicPartition, int] = field(default_factory=dict)  # the epoch in which it got each of the assigned ones
    revoke_deadline: float | None = None

    def to(self, state: MemberState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} -> {state}")
        self.state = state


class ConsumerGroup:
    """The members of one group. The caller holds the cluster's lock."""

    def __init__(
        self,
        group_id: str,
        partition_count: Callable[[str], int],
        epoch: int = 0,
        *,
        session_timeout_ms: int = 45_000,
        heartbeat_interval_ms: int = 5_000,
    ) -> None:
        self.group_id = group_id
        self.epoch = max(epoch, 1)  # so that the first member has epoch 2, as on Kafka 4.3
        self.members: dict[str, ConsumerMember] = {}
        self._session_timeout_s = session_timeout_ms / 1000
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._target: dict[str, list[TopicPartition]] = {}
        self._target_epoch = 0
        self._partition_count = partition_count

    # -- requests -----------------------------------------------------------------------------------------------------

    def heartbeat(self, request: ConsumerHeartbeat, now: float) -> HeartbeatAnswer:
        if request.member_epoch in (LEAVE, LEAVE_FOR_A_WHILE):
            return self._leave(request)
        joins = request.member_epoch == 0
        member = self._joining(request, now) if joins else self._known(request)
        member.deadline = now + self._session_timeout_s
        if request.topics is not None and request.topics != member.topics:
            member.topics = request.topics
            self.epoch += 1
        before = list(member.assigned)
        self._set_target()
        self._reconcile(request.member_id, member, request.owned, now)
        changed = joins or request.owned is not None or member.assigned != before
        return HeartbeatAnswer(member.epoch, self._heartbeat_interval_ms, tuple(member.assigned) if changed else None)

    def _joining(self, request: ConsumerHeartbeat, now: float) -> ConsumerMember:
        member = self.members.get(request.member_id)
        if member is not None:
            return member
        topics = request.topics or ()
        place = None if request.instance_id is None else self._member_of_instance(request.instance_id)
        if place is not None:
            old = self.members[place]
            if old.epoch != LEAVE_FOR_A_WHILE:
                message = f"group {self.group_id}: instance '{request.instance_id}' is still a member"
                raise BrokerError("UNRELEASED_INSTANCE_ID", message)
            return self._replace_static(place, old, request)
        member = ConsumerMember(topics, request.instance_id, request.rebalance_timeout_ms, now)
        self.members[request.member_id] = member
        self.epoch += 1
        return member

    def _replace_static(self, place: str, old: ConsumerMember, request: ConsumerHeartbeat) -> ConsumerMember:
        """The successor of a static member takes over what it had; the others keep theirs."""
        self.members = {(request.member_id if known == place else known): one for known, one in self.members.items()}
        if place in self._target:
            self._target[request.member_id] = self._target.pop(place)
        old.epoch = old.previous_epoch = 0
        return old

    def _known(self, request: ConsumerHeartbeat) -> ConsumerMember:
        member = self.member(request.member_id, request.instance_id)
        if request.member_epoch == member.epoch:
            return member
        # The answer with the new epoch was lost, so it asks once more with the old one.
        owned = request.owned
        if request.member_epoch == member.previous_epoch and owned is not None and set(owned) <= set(member.assigned):
            return member
        message = f"group {self.group_id}: '{request.member_id}' has epoch {member.epoch}, not {request.member_epoch}"
        raise BrokerError("FENCED_MEMBER_EPOCH", message)

    def _leave(self, request: ConsumerHeartbeat) -> HeartbeatAnswer:
        member = self.member(request.member_id, request.instance_id)
        if request.member_epoch == LEAVE_FOR_A_WHILE:
            member.epoch = LEAVE_FOR_A_WHILE  # its deadline stays: the successor has the rest of its session
            member.assigned += member.revoking
            member.since.update(dict.fromkeys(member.revoking, self.epoch))
            member.revoking = []
            member.revoke_deadline = None
        else:
            self.remove(request.member_id)
        return HeartbeatAnswer(request.member_epoch, self._heartbeat_interval_ms, None)

    def remove(self, member_id: str) -> None:
        """The member has left, or its time is over."""
        del self.members[member_id]
        self._target.pop(member_id, None)
        self.epoch += 1

    def check_commit(self, member_id: str, epoch: int, instance_id: str | None, partitions: Iterable[TopicPartition]) -> None:
        """Fences members of the past. An older epoch is taken for partitions that the member has had since then (KIP-1251); what
        it commits with its present epoch is not compared with what it has. A broker knows the refusal as STALE_MEMBER_EPOCH
        and says ILLEGAL_GENERATION, in the words of the request (seen on 4.3.1)."""
        member = self.member(member_id, instance_id)
        if epoch == member.epoch:
            return
        for tp in partitions:
            since = member.since.get(tp)
            if since is None or not since <= epoch < member.epoch:
                message = f"group {self.group_id}: member epoch {epoch}, now {member.epoch}, and {tp} is not its own since then"
                raise BrokerError("ILLEGAL_GENERATION", message)

    def member(self, member_id: str, instance_id: str | None = None) -> ConsumerMember:
        if instance_id is not None and self._member_of_instance(instance_id) not in (None, member_id):
            message = f"group {self.group_id}: another member has taken the place of instance '{instance_id}'"
            raise BrokerError("FENCED_INSTANCE_ID", message)
        member = self.members.get(member_id)
        if member is None:
            raise BrokerError("UNKNOWN_MEMBER_ID", f"group {self.group_id} has no member '{member_id}'")
        return member

    def on_metadata_change(self, topic: str) -> None:
        if any(topic in member.topics for member in self.members.values()):
            self.epoch += 1

    def assignments(self) -> dict[str, list[TopicPartition]]:
        return {member_id: list(member.assigned) for member_id, member in self.members.items()}

    # -- time ---------------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        return min(self._deadlines(), default=None)

    def _deadlines(self) -> Iterator[float]:
        for member in self.members.values():
            yield member.deadline
            if member.revoke_deadline is not None:
                yield member.revoke_deadline

    def run_due(self, now: float) -> bool:
        """Removes who is late; whether anything was done."""
        late = [
            known
            for known, member in self.members.items()
            if member.deadline <= now or (member.revoke_deadline is not None and member.revoke_deadline <= now)
        ]
        for member_id in late:
            self.remove(member_id)
        return bool(late)

    def renew(self, member_id: str, now: float) -> None:
        """Starts the session of a member anew, if it is one."""
        member = self.members.get(member_id)
        if member is not None and member.epoch != LEAVE_FOR_A_WHILE:
            member.deadline = now + self._session_timeout_s

    def postpone(self, until: float) -> None:
        """Nobody expires before a session time-out after `until`: a coordinator that has just loaded starts all timers anew."""
        for member in self.members.values():
            member.deadline = max(member.deadline, until + self._session_timeout_s)
            if member.revoke_deadline is not None:
                member.revoke_deadline = max(member.revoke_deadline, until + member.rebalance_timeout_ms / 1000)

    # -- assignment ---------------------------------------------------------------------------------------------------

    def _set_target(self) -> None:
        if self._target_epoch == self.epoch:
            return
        subscriptions = {self._sort_key(known): member.topics for known, member in self.members.items()}
        shares = assign_range(subscriptions, self._partition_count)
        self._target = {known: shares[self._sort_key(known)] for known in self.members}
        self._target_epoch = self.epoch

    def _sort_key(self, member_id: str) -> str:
        return self.members[member_id].instance_id or member_id

    def _reconcile(self, member_id: str, member: ConsumerMember, owned: Sequence[TopicPartition] | None, now: float) -> None:
        """Leads the member one step towards its target."""
        if member.state is MemberState.UNREVOKED:
            if owned is None or set(owned) & set(member.revoking):
                return
            member.revoking = []
        elif member.state is MemberState.STABLE and member.epoch == self._target_epoch:
            return
        target = self._target.get(member_id, [])
        kept = [tp for tp in member.assigned if tp in set(target)]
        too_many = [tp for tp in member.assigned if tp not in set(target)]
        if too_many and (owned is None or set(owned) & set(too_many)):
            member.to(MemberState.UNREVOKED)
            member.assigned, member.revoking = kept, too_many
            member.since = {tp: member.since[tp] for tp in kept}
            member.revoke_deadline = now + member.rebalance_timeout_ms / 1000
            return
        taken = {
            tp for other_id, other in self.members.items() if other_id != member_id for tp in (*other.assigned, *other.revoking)
        }
        wanted = [tp for tp in target if tp not in member.assigned]
        member.assigned = sorted(kept + [tp for tp in wanted if tp not in taken])
        member.since = {tp: member.since.get(tp, self._target_epoch) for tp in member.assigned}
        member.revoking, member.revoke_deadline = [], None
        if member.epoch != self._target_epoch:
            member.previous_epoch, member.epoch = member.epoch, self._target_epoch
        member.to(MemberState.UNRELEASED if any(tp in taken for tp in wanted) else MemberState.STABLE)

    def _member_of_instance(self, instance_id: str) -> str | None:
        for member_id, member in self.members.items():
            if member.instance_id == instance_id:
                return member_id
        return None
