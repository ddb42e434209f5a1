"""A consumer's side of the group protocol: eager rebalances, driven by its polls.

    UNJOINED -> JOINING                     the first poll, and the one after an expiry
    JOINING  -> JOINING, MEMBER, UNJOINED   a further rebalance; the assignment is there; expired
    MEMBER   -> JOINING, UNJOINED           a rebalance, partitions revoked; expired, partitions lost

Callbacks run on the polling thread, between requests, so they may use every client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from streamkit.kafka.client import RebalanceListener, TopicPartition
from streamkit.kafka.memory.client.classify import GENERATION, classified
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.requests.membership import heartbeat, join_group, leave_group, sync_group


class MembershipState(Enum):
    UNJOINED = "unjoined"
    JOINING = "joining"
    MEMBER = "member"


TRANSITIONS: Mapping[MembershipState, frozenset[MembershipState]] = {
    MembershipState.UNJOINED: frozenset({MembershipState.JOINING}),
    MembershipState.JOINING: frozenset({MembershipState.JOINING, MembershipState.MEMBER, MembershipState.UNJOINED}),
    MembershipState.MEMBER: frozenset({MembershipState.JOINING, MembershipState.UNJOINED}),
}


class Membership:
    """Keeps one consumer in its group; `on_change` is told the partitions before the listener is."""

    def __init__(
        self,
        link: Link,
        group_id: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        on_change: Callable[[Sequence[TopicPartition]], None],
    ) -> None:
        self.state = MembershipState.UNJOINED
        self.member_id = ""
        self.generation = -1
        self._link = link
        self._group_id = group_id
        self._topics = tuple(topics)
        self._listener = listener
        self._on_change = on_change
        self._assigned: list[TopicPartition] = []

    def keep_up(self) -> None:
        """Follows the group as far as it has got: notices a rebalance, joins it, takes the new assignment."""
        if self.state is MembershipState.MEMBER and not self._follow(self._heartbeat):
            return
        if self.state is MembershipState.UNJOINED:
            self._join()
        if self.state is MembershipState.JOINING:
            self._follow(self._sync)

    def leave(self) -> None:
        """Gives the partitions back and leaves; a member that the group no longer knows just goes."""
        try:
            self._revoke()
        finally:
            self._leave_group()

    def _leave_group(self) -> None:
        if not self.member_id:
            return
        try:
            self._link.send(leave_group, self._group_id, self.member_id)
        except BrokerError as error:
            if error.code not in GENERATION:
                raise classified(error, "close") from error
        self._reset()

    def _follow(self, request: Callable[[], None]) -> bool:
        """Sends a request of a member; True if its answer was that the group has moved on."""
        try:
            request()
        except BrokerError as error:
            if error.code == "REBALANCE_IN_PROGRESS":
                self._revoke()
                self._join()
            elif error.code in GENERATION:
                self._lose()
                self._join()
            else:
                raise classified(error, "poll") from error
            return True
        return False

    def _heartbeat(self) -> None:
        self._link.send(heartbeat, self._group_id, self.member_id, self.generation)

    def _join(self) -> None:
        self.member_id = self._link.send(join_group, self._group_id, self.member_id, self._topics, self._link.client_id)
        self._to(MembershipState.JOINING)

    def _sync(self) -> None:
        synced = self._link.send(sync_group, self._group_id, self.member_id)
        if synced is None:
            return
        self.generation = synced.generation
        self._assigned = synced.assignment
        self._to(MembershipState.MEMBER)
        self._on_change(self._assigned)
        self._listener.on_assigned(list(self._assigned))

    def _revoke(self) -> None:
        """The partitions stay ours until the callback has returned, so that it can commit their offsets."""
        self._give_up(self._listener.on_revoked)

    def _lose(self) -> None:
        self._reset()
        self._give_up(self._listener.on_lost)

    def _give_up(self, callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        try:
            if self._assigned:
                callback(list(self._assigned))
        finally:
            self._assigned = []
            self._on_change([])

    def _reset(self) -> None:
        self.member_id = ""
        self.generation = -1
        self._to(MembershipState.UNJOINED)

    def _to(self, state: MembershipState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} -> {state}")
        self.state = state
