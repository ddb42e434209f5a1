"""A consumer's side of the consumer group protocol (KIP-848): the coordinator says what the member should have, step by step.

    heartbeat (epoch 0) -> member -> told to give partitions up: on_revoked, then a heartbeat that says so
                                  -> told of partitions more:    on_assigned, then a heartbeat that says so
                                  -> fenced: on_lost, and a heartbeat with epoch 0

Only what changes is told, so the listener hears of single partitions where the classic protocol takes all and gives anew.
"""

from __future__ import annotations

from typing import Any

from streamkit.errors import DuplicateInstanceError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.client.link import Call
from streamkit.kafka.memory.client.membership import GONE, Membership
from streamkit.kafka.memory.network import NoAnswer
from streamkit.kafka.memory.server.consumer_group import LEAVE, LEAVE_FOR_A_WHILE, ConsumerHeartbeat, HeartbeatAnswer
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.requests.consumer_group_heartbeat import consumer_group_heartbeat

_UNRELEASED_PAUSE_S = 0.5
_STEPS = 10  # more steps than a reconciliation has; the rest comes with the next poll


class ConsumerMembership(Membership):
    """ConsumerGroupHeartbeat."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.member_id = self._link.new_member_id()  # its own, from the start
        self._target: tuple[TopicPartition, ...] | None = None  # what we should have, where we do not have it yet
        self._interval_ms = 0  # as the coordinator wants it
        self._to_say = False  # that what we have has changed
        # until when the one that holds our instance id may be a predecessor that was killed; None once we were a member
        self._release_by: float | None = self._link.clock.monotonic() + self._settings.session_timeout_ms / 1000
        self._ask_again_at = 0.0

    def _keep_up(self) -> None:
        for _ in range(_STEPS):
            try:
                self._beat_if_due()
            except BrokerError as error:
                if error.code in GONE:
                    self._lose()
                    continue
                now = self._link.clock.monotonic()
                if error.code == "UNRELEASED_INSTANCE_ID" and self._release_by is not None and now <= self._release_by:
                    self._ask_again_at = now + _UNRELEASED_PAUSE_S
                    return
                if error.code in {"FENCED_INSTANCE_ID", "UNRELEASED_INSTANCE_ID"}:
                    raise DuplicateInstanceError(error.message, code=error.code, call="poll") from error
                raise
            if not self._reconcile():
                return

    def _beat_if_due(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            raise answer
        now = self._link.clock.monotonic()
        if now < (self._next_heartbeat if self.generation > 0 and not self._to_say else self._ask_again_at):
            return
        interval_ms = min(self._settings.heartbeat_interval_ms, self._interval_ms or self._settings.heartbeat_interval_ms)
        self._heartbeat_once()
        self._next_heartbeat = now + interval_ms / 1000

    def _send_heartbeat(self) -> None:
        joins, says_what_it_has = self.generation <= 0, self._to_say
        request = ConsumerHeartbeat(
            self._group_id,
            self.member_id,
            0 if joins else self.generation,
            self._topics if joins else None,
            () if joins else (tuple(self._assigned) if says_what_it_has else None),
            self._settings.instance_id,
            self._settings.rebalance_timeout_ms,
        )
        try:
            answer = self._link.send("ConsumerGroupHeartbeat", consumer_group_heartbeat, request)
        except NoAnswer:
            self._to_say = True  # only a full request may repeat one that the coordinator has answered with another epoch
            raise
        if request.member_id != self.member_id or (self.generation > 0) is joins:
            return  # of a membership that has ended meanwhile
        if says_what_it_has and tuple(self._assigned) == request.owned:
            self._to_say = False
        self._take_answer(answer)

    def _take_answer(self, answer: HeartbeatAnswer) -> None:
        self.generation = answer.member_epoch
        self._release_by = None
        self._interval_ms = answer.heartbeat_interval_ms
        if answer.assignment is not None:
            self._target = answer.assignment

    def _reconcile(self) -> bool:
        """One step towards the target; whether it has something to tell the coordinator."""
        if self._target is None:
            return False
        target, self._target = self._target, None
        too_many = [tp for tp in self._assigned if tp not in target]
        if too_many:
            self._give_up(too_many, self._listener.on_revoked)
        more = [tp for tp in target if tp not in self._assigned]
        if more:
            self._take(more)
        if too_many or more:
            self._to_say = True
        return self._to_say

    def is_member(self) -> bool:
        return self.generation > 0

    def _leave_when_late(self, call: Call) -> None:
        """It says that it leaves, and only stops its heartbeats: the partitions are free when the broker's session time-out is
        over (seen with librdkafka 2.16)."""

    def _send_leave(self, call: Call) -> None:
        epoch = LEAVE if self._settings.instance_id is None else LEAVE_FOR_A_WHILE
        request = ConsumerHeartbeat(self._group_id, self.member_id, epoch, instance_id=self._settings.instance_id)
        if self.is_member():
            call.send("ConsumerGroupHeartbeat", consumer_group_heartbeat, request)

    def _reset(self) -> None:
        """The member id stays: it is the consumer's own."""
        self.generation = -1
        self._answer = self._target = None
        self._to_say = False
