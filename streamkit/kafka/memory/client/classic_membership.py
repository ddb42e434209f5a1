"""A consumer's side of the classic group protocol: eager rebalances, driven by its polls.

    UNJOINED -> JOINING                     the first poll, and the one after an expiry
    JOINING  -> JOINING, MEMBER, UNJOINED   a further rebalance; the assignment is there; expired
    MEMBER   -> JOINING, UNJOINED           a rebalance, partitions revoked; expired, partitions lost

Callbacks run on the polling thread, between requests, so they may use every client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from streamkit.errors import DuplicateInstanceError
from streamkit.kafka.memory.client.link import Call
from streamkit.kafka.memory.client.membership import GONE, Membership
from streamkit.kafka.memory.server.classic_group import JoinRequest, Synced
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.requests.heartbeat import heartbeat
from streamkit.kafka.memory.server.requests.join_group import join_group
from streamkit.kafka.memory.server.requests.leave_group import leave_group
from streamkit.kafka.memory.server.requests.sync_group import sync_group


class MembershipState(Enum):
    UNJOINED = "unjoined"
    JOINING = "joining"
    MEMBER = "member"


TRANSITIONS: Mapping[MembershipState, frozenset[MembershipState]] = {
    MembershipState.UNJOINED: frozenset({MembershipState.JOINING}),
    MembershipState.JOINING: frozenset({MembershipState.JOINING, MembershipState.MEMBER, MembershipState.UNJOINED}),
    MembershipState.MEMBER: frozenset({MembershipState.JOINING, MembershipState.UNJOINED}),
}


class ClassicMembership(Membership):
    """JoinGroup, SyncGroup, Heartbeat, LeaveGroup."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state = MembershipState.UNJOINED
        self._synced: Synced | None = None  # an assignment that came beside the polls

    def _keep_up(self) -> None:
        if self.state is MembershipState.MEMBER and not self._follow(self._heartbeat_if_due):
            return
        if self.state is MembershipState.UNJOINED:
            self._join()
        if self.state is MembershipState.JOINING:
            self._follow(self._sync)

    def _follow(self, request: Callable[[], None]) -> bool:
        """Sends a request of a member; True if its answer was that the group has moved on."""
        try:
            request()
        except BrokerError as error:
            if error.code == "REBALANCE_IN_PROGRESS":
                self._give_up(list(self._assigned), self._listener.on_revoked)
                self._join()
            elif error.code in GONE:
                self._lose()
                self._join()
            elif error.code == "FENCED_INSTANCE_ID":
                raise self._replaced(error) from error
            else:
                raise
            return True
        return False

    def _replaced(self, error: BrokerError) -> DuplicateInstanceError:
        """Another process has our instance id: only a person can tell which of the two is wanted."""
        self._lose()
        return DuplicateInstanceError(error.message, code=error.code, call="poll")

    def _heartbeat_if_due(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            raise answer
        now = self._link.clock.monotonic()
        if now < self._next_heartbeat:
            return
        self._heartbeat_once()
        self._next_heartbeat = now + self._settings.heartbeat_interval_ms / 1000

    def _send_heartbeat(self) -> None:
        """While the group is being rebalanced the member asks for its assignment instead."""
        member, instance = self.member_id, self._settings.instance_id
        if self.state is MembershipState.MEMBER:
            self._link.send("Heartbeat", heartbeat, self._group_id, member, self.generation, instance)
            return
        synced = self._link.send("SyncGroup", sync_group, self._group_id, member, instance)
        if self.state is MembershipState.JOINING and member == self.member_id:
            self._synced = synced

    def _join(self) -> None:
        """Twice where the first answer is only a member id (MEMBER_ID_REQUIRED)."""
        settings = self._settings
        for _ in range(2):
            request = JoinRequest(
                self._group_id,
                self.member_id,
                self._topics,
                self._link.client_id,
                settings.instance_id,
                settings.session_timeout_ms,
                settings.rebalance_timeout_ms,
            )
            try:
                joined = self._link.send("JoinGroup", join_group, request)
            except BrokerError as error:
                if error.code == "FENCED_INSTANCE_ID":
                    raise self._replaced(error) from error
                if error.code == "UNKNOWN_MEMBER_ID":  # the id that was given has expired; the next poll asks for another
                    self._reset()
                raise
            self.member_id = joined.member_id
            if joined.accepted:
                break
        self._answer = self._synced = None
        self._to(MembershipState.JOINING)

    def _sync(self) -> None:
        synced, self._synced = self._synced, None
        if synced is None:
            instance = self._settings.instance_id
            synced = self._link.send("SyncGroup", sync_group, self._group_id, self.member_id, instance)
        if synced is None:
            return
        self.generation = synced.generation
        self._answer = None
        self._next_heartbeat = self._link.clock.monotonic() + self._settings.heartbeat_interval_ms / 1000
        self._to(MembershipState.MEMBER)
        self._take(synced.assignment)

    def is_member(self) -> bool:
        return bool(self.member_id)

    def _leave_when_late(self, call: Call) -> None:
        self._send_leave(call)

    def _send_leave(self, call: Call) -> None:
        """A static member does not leave: its successor is to find its place (KIP-345)."""
        if self._settings.instance_id is None:
            call.send("LeaveGroup", leave_group, self._group_id, self.member_id)

    def _reset(self) -> None:
        self.member_id = ""
        self.generation = -1
        self._answer = self._synced = None
        if self.state is not MembershipState.UNJOINED:
            self._to(MembershipState.UNJOINED)

    def _to(self, state: MembershipState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} -> {state}")
        self.state = state
