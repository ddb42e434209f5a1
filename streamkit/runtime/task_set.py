"""The tasks of one worker, found by id and by the partition that they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamkit.kafka.client import TopicPartition
from streamkit.runtime.task import Task, TaskId, TaskState


class TaskSet:
    """What this worker runs or restores. A partition belongs to at most one task."""

    def __init__(self) -> None:
        self._by_id: dict[TaskId, Task] = {}
        self._by_input: dict[TopicPartition, Task] = {}

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

    def remove(self, task: Task) -> None:
        del self._by_id[task.id]
        for tp in task.inputs:
            del self._by_input[tp]

    def clear(self) -> None:
        self._by_id.clear()
        self._by_input.clear()

    def running(self) -> list[Task]:
        return [task for task in self if task.state is TaskState.RUNNING]

    def at_work(self) -> list[Task]:
        """Those that are restored: running, or at the end of their input."""
        return [task for task in self if task.state in (TaskState.RUNNING, TaskState.ENDED)]

    def among(self, partitions: Iterable[TopicPartition]) -> list[Task]:
        """Those that read any of these partitions."""
        return list({task.id: task for task in map(self._by_input.get, partitions) if task is not None}.values())

    @property
    def touched(self) -> bool:
        """Whether any has changes that are not committed."""
        return any(task.touched for task in self.at_work())

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of every partition that is read."""
        return {tp: position.next_offset for task in self for tp, position in task.inputs.items()}
