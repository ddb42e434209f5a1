"""Streams that have fallen silent: where it was asked for, time moves on by the wall clock (`advance_when_idle`).

    ACTIVE ──all inputs idle──> WAITING ──silent for advance_when_idle──> MOVING ──a record──> ACTIVE

While it moves, a task's time stands at its furthest input's plus the time since all were idle. That all its partitions are read
to their ends is proven anew each time (R26). It is persisted as any other time, as the frontier; and it moves no further than
needed to close every window that can be open.
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
from streamkit.runtime.task import InputPosition, Task, TaskId

_STEP_MS = 1_000
"""Time moves once a second: each move is a commit."""


@dataclass(slots=True)
class _Silence:
    since: float  # monotonic seconds
    base: int  # the furthest watermark then
    moved_ms: int = 0


class Quiet:
    """Moves the time of tasks whose inputs are all idle. ``limit_ms``: further than that no window can be open."""

    def __init__(self, admin: Admin, clock: Clock, instrument: Instrument, limit_ms: int) -> None:
        self._admin = admin
        self._clock = clock
        self._instrument = instrument
        self._limit_ms = limit_ms
        self._silent: dict[TaskId, _Silence] = {}

    def advance(self, tasks: Iterable[Task]) -> None:
        """Of these tasks, which are all that run."""
        now = self._clock.monotonic()
        silent: dict[TaskId, _Silence] = {}
        due: list[tuple[Task, _Silence, int]] = []
        for task in tasks:
            furthest = task.time.furthest
            if task.advance_when_idle_ms is None or task.time.state is not InputState.IDLE or furthest == NO_TIME:
                continue
            silence = silent[task.id] = self._silent.get(task.id) or _Silence(now, furthest)
            if silence.base != furthest:  # a word from upstream
                silence = silent[task.id] = _Silence(now, furthest)
            passed_ms = int((now - silence.since) * 1000) // _STEP_MS * _STEP_MS
            move_ms = min(passed_ms, task.advance_when_idle_ms + self._limit_ms)
            if passed_ms >= task.advance_when_idle_ms and move_ms > silence.moved_ms:
                due.append((task, silence, move_ms))
        self._silent = silent
        if due:
            self._move(due)

    def _move(self, due: Sequence[tuple[Task, _Silence, int]]) -> None:
        positions = [position for task, _, _ in due for position in task.inputs.values()]
        try:
            ends = self._admin.end_offsets([position.tp for position in positions], 1.0)
        except RetriableError:  # not proven; asked again with the next step
            return
        for task, silence, move_ms in due:
            if waiting := [p for p in task.inputs.values() if _position(p) < ends[p.tp]]:
                for position in waiting:
                    if position.watermark is not None:
                        task.time.set_state(position.tp, InputState.ACTIVE)
                del self._silent[task.id]
                continue
            if not silence.moved_ms:
                self._instrument.event("time-moves-on", tasks=[str(task.id)])
            silence.moved_ms = move_ms
            task.time.restore(silence.base + move_ms)


def _position(position: InputPosition) -> int:
    return max(position.next_offset, position.caught_up_at)
