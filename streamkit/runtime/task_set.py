"""The tasks of one worker, found by id and by the partition that they read.

Of hundreds of tasks a step looks only at those that something happened to: they are *stirred*, by a batch, by a partition that
came to its end or fell silent, by a start. All others have nothing new to fire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from streamkit.kafka.client import TopicPartition
from streamkit.runtime.task import Task, TaskId, TaskState

_AT_WORK: Final = (TaskState.RUNNING, TaskState.ENDED)


class TaskSet:
    """What this worker runs or restores. A partition belongs to at most one task."""

    def __init__(self) -> None:
        self._by_id: dict[TaskId, Task] = {}
        self._by_input: dict[TopicPartition, Task] = {}
        self._stirred: dict[TaskId, Task] = {}

    def __iter__(self) -> Iterator[Task]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def of(self, tp: TopicPartition) -> Task | None:
        """The task that reads a partition."""
        return self._by_input.get(tp)

    def add(self, task: Task) -> None:
        self._by_id[task.id] = task
        self._by_input |= dict.fromkeys(task.inputs, task)
        self.stir(task)

    def remove(self, task: Task) -> None:
        del self._by_id[task.id]
        self._stirred.pop(task.id, None)
        for tp in task.inputs:
            del self._by_input[tp]

    def clear(self) -> None:
        self._by_id.clear()
        self._by_input.clear()
        self._stirred.clear()

    def stir(self, task: Task) -> None:
        """Time may have moved in it."""
        self._stirred[task.id] = task

    def stir_all(self) -> None:
        self._stirred = dict(self._by_id)

    def take_stirred(self) -> list[Task]:
        """Those that run and were stirred since the last call; who does not run yet stays stirred."""
        if not self._stirred:
            return []
        taken = [task for task in self._stirred.values() if task.state is TaskState.RUNNING]
        for task in taken:
            del self._stirred[task.id]
        return taken

    def running(self) -> Iterator[Task]:
        return (task for task in self._by_id.values() if task.state is TaskState.RUNNING)

    def at_work(self) -> Iterator[Task]:
        """Those that are restored: running, or at the end of their input."""
        return (task for task in self._by_id.values() if task.state in _AT_WORK)

    @property
    def any_at_work(self) -> bool:
        return any(True for _ in self.at_work())

    def among(self, partitions: Iterable[TopicPartition]) -> list[Task]:
        """Those that read any of these partitions."""
        return list({task.id: task for task in map(self._by_input.get, partitions) if task is not None}.values())

    @property
    def touched(self) -> bool:
        """Whether any has changes that are not committed."""
        return any(task.touched and task.state in _AT_WORK for task in self._by_id.values())

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of every partition that is read."""
        return {tp: position.next_offset for task in self for tp, position in task.inputs.items()}
