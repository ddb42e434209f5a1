"""R21, at run time: all inputs of a task go to one worker, or the worker stops instead of waiting for ever.

A group shares partitions as its members' assignors say. With range, partitions of one number stay together. A member of the group
that says otherwise (another program, or another version) may have partition 3 of one topic here and of the other one there; then
neither has task 3, and its records would wait without a word.
"""

from __future__ import annotations

from collections.abc import Collection

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import AssignmentError
from streamkit.kafka.client import TopicPartition
from streamkit.runtime.layout import Layout
from streamkit.runtime.task import TaskId


class SplitTasks:
    """Told of every change of the assignment; `check` raises when a task has been split for too long.

    With the classic protocol an assignment comes as a whole, and what it splits stays split until the next one. With KIP-848
    it comes bit by bit, as fast as other members let go, for which they have the longest time between two polls.
    """

    def __init__(self, layout: Layout, clock: Clock, settings: EngineSettings) -> None:
        self._layout = layout
        self._clock = clock
        is_gradual = settings.group_protocol == "consumer"
        self._bound_s = (settings.max_poll_interval_ms if is_gradual else settings.start_timeout_ms) / 1000
        self._since: dict[TaskId, float] = {}
        self._owned: frozenset[TopicPartition] = frozenset()

    def changed(self, owned: Collection[TopicPartition]) -> None:
        now = self._clock.monotonic()
        self._owned = frozenset(owned)
        self._since = {
            task_id: self._since.get(task_id, now)
            for task_id, inputs in self._layout.task_inputs().items()
            if 0 < len(self._owned.intersection(inputs)) < len(inputs)
        }

    def check(self) -> None:
        for task_id, since in self._since.items():
            if self._clock.monotonic() - since > self._bound_s:
                raise self._error(task_id)

    def _error(self, task_id: TaskId) -> AssignmentError:
        inputs = self._layout.task_inputs()[task_id]
        ours = ", ".join(str(tp) for tp in inputs if tp in self._owned)
        missing = ", ".join(str(tp) for tp in inputs if tp not in self._owned)
        group = self._layout.topology.plan.app
        return AssignmentError(
            f"task {task_id} has to read {ours} and {missing} in one worker, but for {self._bound_s:.0f} s group '{group}' has "
            f"given us only {ours}. All members of the group must be workers of this app, of one version, with the assignor "
            f"range: look at them with `kafka-consumer-groups.sh --describe --members --verbose --group {group}`"
        )
