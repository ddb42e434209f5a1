"""Whether an abort only repeats itself: the same cause, twice, with the same records in hand (R5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamkit.kafka.client import TopicPartition

_LIMIT = 2


@dataclass(frozen=True, slots=True)
class _Cause:
    code: str | None
    positions: Mapping[TopicPartition, int]
    had_records: bool


class Repetition:
    """Counts aborts of one cause. A commit ends the count only if it got past what was aborted.

    The sequence that must not end it: records are aborted, the tasks are restored, their restored time is committed or told
    downstream before a record is read again, then the same records are aborted again, and so on for ever.
    """

    def __init__(self) -> None:
        self._cause: _Cause | None = None
        self._times = 0
        self._records = 0  # taken since the last commit or abort

    def took(self, records: int) -> None:
        self._records += records

    def dropped(self) -> None:
        """What was taken is not in hand any more."""
        self._records = 0

    def is_repeated(self, code: str | None, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether this abort would come once more after another replay."""
        cause = _Cause(code, dict(positions), self._records > 0)
        self._times = self._times + 1 if cause == self._cause else 1
        self._cause = cause
        return self._times >= _LIMIT and bool(positions)

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        cause = self._cause
        if cause is not None and (
            not cause.had_records
            or (self._records > 0 and all(at >= cause.positions.get(tp, at) for tp, at in positions.items()))
        ):
            self._cause = None
        self._records = 0
