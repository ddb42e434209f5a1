"""Tasks whose partitions were revoked, kept in memory in case they come straight back.

An eager rebalance takes every partition away and gives most of them back a moment later. A task that had nothing uncommitted
when it went, after the commit inside the callback (R8), still holds exactly the state of its last commit. It may go on with it if
that is still the last commit of all: `decide/resume.py` compares what the group has committed now, offsets and commit counters,
with what this task has committed or restored itself. Otherwise it is dropped, and the task is made anew and restored.

Why that is enough: whoever had the task meanwhile and changed any of its state, outputs or time, sent its offsets in the same
transaction (R1), with a counter that is one higher. The comparison is made with stable offsets under the new generation, so
nobody can commit behind it.

Bounded: parked tasks hold no more than they did while they ran. They are dropped by the next complete assignment that does not
contain them, when anything is rolled back or lost, when their memory is needed (memory.py), and after the longest time that a
rebalance can take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamkit.clock import Clock
from streamkit.instrument import Instrument
from streamkit.runtime.task import Task, TaskId, TaskState


class Parking:
    """``keep_s``: how long a task may stay."""

    def __init__(self, clock: Clock, keep_s: float, instrument: Instrument) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._instrument = instrument
        self._tasks: dict[TaskId, Task] = {}
        self._since: dict[TaskId, float] = {}

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __contains__(self, task: object) -> bool:
        return isinstance(task, Task) and self._tasks.get(task.id) is task

    def __len__(self) -> int:
        return len(self._tasks)

    def park(self, tasks: Iterable[Task]) -> None:
        """Takes those that run and have nothing uncommitted; who is restored is not worth it, who has ended is cheap."""
        parked = [task for task in tasks if task.state is TaskState.RUNNING and not task.touched]
        for task in parked:
            task.become(TaskState.PARKED)
            self._tasks[task.id] = task
            self._since[task.id] = self._clock.monotonic()
        if parked:
            self._instrument.event("parked", tasks=[str(task.id) for task in parked])

    def find(self, task_id: TaskId) -> Task | None:
        return self._tasks.get(task_id)

    def release(self, task: Task) -> None:
        """It runs again."""
        del self._tasks[task.id]
        del self._since[task.id]

    def drop(self, tasks: Iterable[Task], reason: str) -> None:
        dropped = list(tasks)
        for task in dropped:
            self.release(task)
        if dropped:
            self._instrument.event("parked-dropped", tasks=[str(task.id) for task in dropped], reason=reason)

    def expire(self) -> None:
        if not self._since:
            return
        now = self._clock.monotonic()
        self.drop([task for task in self if now - self._since[task.id] > self._keep_s], "the rebalance took too long")
