"""Streams that have fallen silent: where it was asked for, time moves on by the wall clock (`advance_when_idle`).

    ACTIVE ──all inputs idle──> WAITING ──silent for advance_when_idle──> MOVING ──a record──> ACTIVE

While it moves, a task's time stands where it stood as all inputs were idle, plus the time since then. That all its partitions
are read to their ends is proven anew each time (R26). It is persisted as any other time, as the frontier: after a restart or a
rebalance it goes on from there. It moves no further ahead of the furthest input than needed to close every window that can be
open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamkit.clock import Clock
from streamkit.errors import RetriableError
from streamkit.eventtime.inputs import InputState
from streamkit.eventtime.watermark import NO_TIME
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin
from streamkit.runtime.idleness import LOOK_EVERY_S
from streamkit.runtime.task import InputPosition, Task, TaskId

_STEP_MS = 1_000
"""Time moves once a second: each move is a commit."""


@dataclass(slots=True)
class _Silence:
    since: float  # monotonic seconds
    furthest: int  # watermark of an input then
    base: int  # the task's time then
    moved_to: int


class Quiet:
    """Moves the time of tasks whose inputs are all idle. ``limit_ms``: further than that no window can be open."""

    def __init__(self, admin: Admin, clock: Clock, instrument: Instrument, limit_ms: int) -> None:
        self._admin = admin
        self._clock = clock
        self._instrument = instrument
        self._limit_ms = limit_ms
        self._silent: dict[TaskId, _Silence] = {}
        self._looked = float("-inf")

    def advance(self, tasks: Iterable[Task], now: float) -> list[Task]:
        """Of these tasks, which are all that run; gives those whose time has moved. All are looked through: not in every step."""
        if self._looked < now < self._looked + LOOK_EVERY_S:
            return []
        self._looked = now
        silent: dict[TaskId, _Silence] = {}
        due: list[tuple[Task, _Silence, int]] = []
        for task in tasks:
            if task.advance_when_idle_ms is None:
                continue
            furthest = task.time.furthest
            if task.time.state is not InputState.IDLE or furthest == NO_TIME:
                continue
            silence = self._silent.get(task.id)
            if silence is None or silence.furthest != furthest:  # or a word from upstream
                stands = task.time.watermark()
                silence = _Silence(now, furthest, stands, stands)
            silent[task.id] = silence
            passed_ms = int((now - silence.since) * 1000) // _STEP_MS * _STEP_MS
            to = min(silence.base + passed_ms, furthest + _lag_ms(task) + task.advance_when_idle_ms + self._limit_ms)
            if passed_ms >= task.advance_when_idle_ms and to > silence.moved_to:
                due.append((task, silence, to))
        self._silent = silent
        return self._move(due) if due else []

    def _move(self, due: Sequence[tuple[Task, _Silence, int]]) -> list[Task]:
        positions = [position for task, _, _ in due for position in task.inputs.values()]
        try:
            ends = self._admin.end_offsets([position.tp for position in positions], 1.0)
        except RetriableError:  # not proven; asked again with the next look
            return []
        moved = []
        for task, silence, to in due:
            if waiting := [p for p in task.inputs.values() if _position(p) < ends[p.tp]]:
                for position in waiting:
                    if position.watermark is not None:
                        task.time.set_state(position.tp, InputState.ACTIVE)
                del self._silent[task.id]
                continue
            if silence.moved_to == silence.base:
                self._instrument.event("time-moves-on", tasks=[str(task.id)])
            silence.moved_to = to
            task.time.restore(to)
            moved.append(task)
        return moved


def _lag_ms(task: Task) -> int:
    """How far a watermark is behind the latest record of its partition: a window of that is open, too."""
    marks = [p.watermark for p in task.inputs.values() if p.watermark is not None and p.watermark.watermark != NO_TIME]
    return max((max(0, mark.max_timestamp - mark.watermark) for mark in marks), default=0)


def _position(position: InputPosition) -> int:
    return max(position.next_offset, position.caught_up_at)
