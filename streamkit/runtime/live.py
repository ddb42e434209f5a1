"""Tasks of a worker that runs, to be looked at."""

from __future__ import annotations

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import StateError
from streamkit.kafka.client import KafkaClient, TopicPartition
from streamkit.runtime.inspect import PartitionView
from streamkit.runtime.stored import look_into
from streamkit.runtime.task import Task, TaskId, TaskState
from streamkit.runtime.worker import Worker


class LiveTasks:
    """The tasks of one worker that has all of them."""

    is_live = True

    def __init__(self, worker: Worker, client: KafkaClient, clock: Clock, settings: EngineSettings) -> None:
        self._tasks = {task.id: task for task in worker.tasks}
        self._client = client
        self._clock = clock
        self._timeout_s = settings.start_timeout_ms / 1000

    def task(self, task_id: TaskId) -> Task:
        found = self._tasks.get(task_id)
        if found is None:
            raise StateError(f"task {task_id} is not with this worker at the moment: restart it, or settle a rebalance first")
        return found

    def has_ended(self, task: Task) -> bool:
        return task.state is TaskState.ENDED

    def committed_ms(self, task_id: TaskId) -> int | None:  # noqa: ARG002 - what it holds is of now
        return None

    def partition(self, task: Task, tp: TopicPartition) -> PartitionView:
        admin = self._client.admin()
        try:
            return look_into(self._client, admin, self._clock, {tp: task.inputs[tp].next_offset}, self._timeout_s)[tp]
        finally:
            admin.close()
