"""Which errors are answered by going back to the committed state (R5, R7), and when that would only repeat itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from streamkit.clock import Clock
from streamkit.errors import (
    AbortableError,
    FatalError,
    FencedError,
    GenerationError,
    KafkaError,
    LostOffsetError,
    RejectedRecordError,
    RetriableError,
)
from streamkit.kafka.client import TopicPartition
from streamkit.runtime.repetition import Repetition
from streamkit.runtime.transaction import BrokenProducerError, UnknownOutcomeError

ROLLS_BACK = (AbortableError, FencedError, BrokenProducerError, UnknownOutcomeError, RetriableError)
"""Errors after which the committed state is restored; a retriable one comes here when its deadline has passed."""

_PASSING = frozenset({
    "OWNERSHIP",  # partitions changed hands
    "_BATCH_REFUSED",  # its records are sent again one by one
    # Kafka was away, or had too few replicas, for longer than the transaction could wait (seen with a group coordinator that was
    # stopped inside send_offsets: an abortable _TIMED_OUT each time, with the same records, until it is back)
    "_TIMED_OUT", "_MSG_TIMED_OUT", "_TIMED_OUT_QUEUE", "_TRANSPORT", "_ALL_BROKERS_DOWN", "_QUEUE_FULL", "REQUEST_TIMED_OUT",
    "NETWORK_EXCEPTION", "NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS",
})  # fmt: skip
"""Aborts that say nothing of the records in hand. That they do not go on for ever is looked after by progress.py."""

_LOST_LIMIT = 5
_LOST_WITHIN_S = 60.0
"""So often within so long may a worker lose its producer, to another one or to a fatal error, or the place where it reads."""


class RollbackLimit:
    """`count` raises the error with which the worker stops, where another replay would come to the same end."""

    def __init__(self, transactional_id: str, clock: Clock) -> None:
        self._transactional_id = transactional_id
        self._clock = clock
        self._repetition = Repetition()
        self._fenced_at: deque[float] = deque(maxlen=_LOST_LIMIT)
        self._offset_lost_at: deque[float] = deque(maxlen=_LOST_LIMIT)
        self._broken_at: deque[float] = deque(maxlen=_LOST_LIMIT)

    def took(self, records: int) -> None:
        """These records are in hand."""
        self._repetition.took(records)

    def dropped(self) -> None:
        """What was taken is not in hand any more."""
        self._repetition.dropped()

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        self._repetition.committed(positions)

    def count(self, error: KafkaError | LostOffsetError, positions: Mapping[TopicPartition, int]) -> None:
        """``positions``: the next offsets at which the error struck."""
        if isinstance(error, FencedError):
            self._count_fencing(error)
        elif isinstance(error, BrokenProducerError):
            self._count_broken(error)
        elif isinstance(error, LostOffsetError):
            if self._limit_reached(self._offset_lost_at) is not None:  # going on with what is left did not help
                raise error
        else:
            self._count_abort(error, positions)

    def _count_fencing(self, error: FencedError) -> None:
        """R17: two workers with one transactional id fence each other for ever; one of them has to go."""
        within_s = self._limit_reached(self._fenced_at)
        if within_s is not None:
            raise FencedError(
                f"fenced {_LOST_LIMIT} times within {within_s:.0f} s: another worker with the transactional id "
                f"'{self._transactional_id}' is alive. Give each instance its own instance id (by default the host name)",
                code=error.code,
                call=error.call,
            ) from error

    def _count_broken(self, error: BrokenProducerError) -> None:
        """R5: a new producer helps against most fatal errors of one; against some it does not."""
        within_s = self._limit_reached(self._broken_at)
        if within_s is not None:
            raise FatalError(
                f"the producer '{self._transactional_id}' failed {_LOST_LIMIT} times within {within_s:.0f} s, each time with a "
                f"successor made for it; last: {error}",
                code=error.code,
            ) from error

    def _limit_reached(self, times: deque[float]) -> float | None:
        """Counts one now; the seconds within which the limit was reached, if it was."""
        now = self._clock.monotonic()
        times.append(now)
        within_s = now - times[0]
        return within_s if len(times) == _LOST_LIMIT and within_s < _LOST_WITHIN_S else None

    def _count_abort(self, error: KafkaError, positions: Mapping[TopicPartition, int]) -> None:
        """The same cause twice at the same positions would come a third time."""
        if isinstance(error, RejectedRecordError):  # replaying would be refused again
            raise error
        if isinstance(error, (GenerationError, UnknownOutcomeError, RetriableError)) or error.code in _PASSING:
            return
        if self._repetition.is_repeated(error.code, positions):
            raise error
