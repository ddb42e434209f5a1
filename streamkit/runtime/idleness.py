"""Idle is proven, not guessed (R26)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from streamkit.clock import Clock
from streamkit.errors import RetriableError
from streamkit.eventtime.inputs import InputState, TaskTime
from streamkit.kafka.client import Admin, TopicPartition

if TYPE_CHECKING:
    from streamkit.runtime.task import InputName, InputPosition, Task


LOOK_EVERY_S: Final = 0.1


class Idleness:
    """Finds source partitions that have become idle: silent for ``idle_after``, and at the end of their log at this very moment.

    The end is asked of the broker (read_uncommitted) when it is needed: a cached or read_committed end hides waiting records.
    """

    def __init__(self, admin: Admin, clock: Clock, check_every_s: float) -> None:
        self._admin = admin
        self._clock = clock
        self._every_s = check_every_s
        self._asked: dict[TopicPartition, float] = {}
        self._looked = float("-inf")

    def newly_idle(self, tasks: Iterable[Task], now: float) -> frozenset[TopicPartition]:
        """The partitions of these tasks that were active and are proven idle now. All of them are looked through, so not in every
        step: a tenth of a second later is early enough.

        One request for all of them: while a broker is away, one for each task would hold up the loop until the group gave it up.
        """
        if self._looked < now < self._looked + min(self._every_s, LOOK_EVERY_S):
            return frozenset()
        self._looked = now
        candidates = [p for task in tasks for p in task.inputs.values() if self._silent(p, task.time, now)]
        if not candidates:
            return frozenset()
        self._asked |= {p.tp: now for p in candidates}
        try:
            ends = self._admin.end_offsets([p.tp for p in candidates], 1.0)
        except RetriableError:  # not proven; asked again later
            return frozenset()
        return frozenset(p.tp for p in candidates if max(p.next_offset, p.caught_up_at) >= ends[p.tp])

    def _silent(self, position: InputPosition, time: TaskTime[InputName], now: float) -> bool:
        if position.idle_after_ms is None or time.inputs[position.tp].state is not InputState.ACTIVE:
            return False
        if now - position.last_data < position.idle_after_ms / 1000:
            return False
        return now - self._asked.get(position.tp, float("-inf")) >= self._every_s
