"""What both group protocols have in common on the side of a member: heartbeats beside the polls, and polls that stay away.

librdkafka sends heartbeats from a thread of its own, so a member lives while its process does, however long it works on a batch;
but when the application has not polled for max.poll.interval.ms it leaves the group. Here `background` does what that thread
does: whoever runs the process calls it at the time that it returns. Its answers wait for the next poll, where callbacks belong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress

from streamkit.errors import GenerationError, RetriableError
from streamkit.kafka.client import RebalanceListener, TopicPartition
from streamkit.kafka.memory.client.classify import classified
from streamkit.kafka.memory.client.group_settings import GroupSettings
from streamkit.kafka.memory.client.link import PASSING, Call, Link
from streamkit.kafka.memory.network import NoAnswer
from streamkit.kafka.memory.server.errors import BrokerError

GONE = frozenset({"UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_MEMBER_EPOCH"})
"""Answers to a member of the past: it has lost its partitions and joins anew."""

_LEAVE_TIMEOUT_S = 5.0


class Membership(ABC):
    """Keeps one consumer in its group. `added` and `removed` are told the partitions before and after the listener is."""

    def __init__(
        self,
        link: Link,
        group_id: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        settings: GroupSettings,
        added: Callable[[Sequence[TopicPartition]], None],
        removed: Callable[[Sequence[TopicPartition]], None],
    ) -> None:
        self.member_id = ""
        self.generation = -1
        self._link = link
        self._group_id = group_id
        self._topics = tuple(topics)
        self._listener = listener
        self._settings = settings
        self._added = added
        self._removed = removed
        self._assigned: list[TopicPartition] = []
        self._polled_at = link.clock.monotonic()
        self._next_heartbeat = 0.0
        self._answer: BrokerError | None = None  # to a heartbeat that was sent beside the polls
        self._exceeded = False
        self._beating = False

    # -- the thread that polls ----------------------------------------------------------------------------------------

    def keep_up(self) -> None:
        """Follows the group as far as it has got: notices a rebalance, joins it, takes the new assignment."""
        try:
            with suppress(NoAnswer):  # the next poll asks again
                self._check_polled()
                self._polled_at = self._link.clock.monotonic()
                self._keep_up()
        except BrokerError as error:
            if error.code not in PASSING:
                raise classified(error, "poll") from error

    def next_heartbeat(self) -> float | None:
        """Until when a poll may wait for records (monotonic)."""
        return self._next_heartbeat if self._settings.heartbeat_interval_ms else None

    def leave(self) -> None:
        """Gives the partitions back and leaves; a member that the group no longer knows just goes."""
        try:
            self._give_up(list(self._assigned), self._listener.on_revoked)
        finally:
            if self.is_member():
                self._leave_group()
            self._reset()

    def _check_polled(self) -> None:
        """A member that did not poll for too long has left; it is told so once, and its partitions are lost."""
        if self._too_late() and not self._exceeded:
            self._exceeded = True
            with suppress(RetriableError, BrokerError):
                self._leave_when_late(self._link.call("poll", 0.0))
        if not self._exceeded:
            return
        self._exceeded = False
        self._polled_at = self._link.clock.monotonic()
        self._lose()
        raise GenerationError(
            f"group '{self._group_id}': no poll within {self._settings.max_poll_interval_ms} ms",
            code="_MAX_POLL_EXCEEDED",
            call="poll",
        )

    def _too_late(self) -> bool:
        limit_ms = self._settings.max_poll_interval_ms
        return limit_ms is not None and self.is_member() and self._link.clock.monotonic() - self._polled_at > limit_ms / 1000

    def _leave_group(self) -> None:
        try:
            self._send_leave(self._link.call("close", _LEAVE_TIMEOUT_S))
        except BrokerError as error:
            if error.code not in GONE:
                raise classified(error, "close") from error

    def _give_up(self, partitions: list[TopicPartition], callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        """The partitions stay ours until the callback has returned, so that it can commit their offsets."""
        try:
            if partitions:
                callback(list(partitions))
        finally:
            self._assigned = [tp for tp in self._assigned if tp not in set(partitions)]
            self._removed(partitions)

    def _take(self, partitions: list[TopicPartition]) -> None:
        self._assigned = sorted([*self._assigned, *partitions])
        self._added(partitions)
        self._listener.on_assigned(list(partitions))

    def _lose(self) -> None:
        self._reset()
        self._give_up(list(self._assigned), self._listener.on_lost)

    # -- beside the polls ---------------------------------------------------------------------------------------------

    def background(self) -> float | None:
        """Sends a heartbeat if it is time, leaves if the polls stay away; returns when it wants to be called again."""
        if not self.is_member() or self._exceeded or self._answer is not None:
            return None  # the next poll has to do something first
        now = self._link.clock.monotonic()
        if self._too_late():
            self._exceeded = True
            with suppress(RetriableError, BrokerError):  # the session time-out does the same; the poll tells
                self._leave_when_late(self._link.call("close", 0.0))
            return None
        if now >= self._next_heartbeat and not self._beating:
            self._next_heartbeat = now + self._background_interval_s()
            self._beat()
        return self._next_heartbeat

    def lives(self) -> bool:
        """Whether its heartbeats go on: a member, and not one whose polls stay away."""
        return self.is_member() and not self._exceeded and not self._too_late()

    def _background_interval_s(self) -> float:
        return (self._settings.heartbeat_interval_ms or self._settings.session_timeout_ms / 3) / 1000

    def _beat(self) -> None:
        member = self.member_id, self.generation
        try:
            self._heartbeat_once()
        except NoAnswer:
            return  # the next one may get through
        except BrokerError as error:
            if error.code not in PASSING and (self.member_id, self.generation) == member:
                self._answer = error

    def _heartbeat_once(self) -> None:
        """One at a time is under way: with an answer to another one between, it would be of the past."""
        if self._beating:
            return
        self._beating = True
        try:
            self._send_heartbeat()
        finally:
            self._beating = False

    # -- what the protocols differ in ---------------------------------------------------------------------------------

    @abstractmethod
    def is_member(self) -> bool:
        """Whether the coordinator may know it."""

    @abstractmethod
    def _keep_up(self) -> None: ...
    @abstractmethod
    def _send_heartbeat(self) -> None: ...
    @abstractmethod
    def _send_leave(self, call: Call) -> None: ...
    @abstractmethod
    def _leave_when_late(self, call: Call) -> None:
        """What librdkafka does when the polls stay away for too long, before the application is told."""

    @abstractmethod
    def _reset(self) -> None: ...
