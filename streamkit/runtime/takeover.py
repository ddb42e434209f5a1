"""From assigned partitions to running tasks: make them, restore them in slices, decide where they start, start them (R12-R14).

    begin: new tasks -> committed positions -> ends of the changelogs       step: a slice of the changelogs -> ... -> start

Nothing of this happens inside a rebalance callback. Each part asks Kafka first and acts afterwards: where Kafka does not answer
in time nothing was done, and the next step of the worker asks again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import RetriableError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, Committed, Consumer, KafkaClient, TopicPartition
from streamkit.runtime.assignment import Assignment
from streamkit.runtime.decide.start import FromEarliest, Refuse, Resume, StartFacts, start
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.layout import Layout
from streamkit.runtime.restore import Restore
from streamkit.runtime.task import InputPosition, Task, TaskState
from streamkit.runtime.task_set import TaskSet
from streamkit.runtime.transaction import Transaction

_TIMEOUT_S = 2.0


def new_incarnation() -> str:
    """A name that no task had before: blocks of a predecessor are never overwritten (R27)."""
    return uuid.uuid4().hex[:16]


class TakeOver:
    """Makes and restores the tasks of the partitions that a worker owns. ``started`` is called with those that can run; what they
    begin with is committed in it, before they get a record."""

    def __init__(
        self,
        tasks: TaskSet,
        layout: Layout,
        client: KafkaClient,
        consumer: Consumer,
        admin: Admin,
        transaction: Transaction,
        assignment: Assignment,
        clock: Clock,
        settings: EngineSettings,
        failures: FailurePolicy,
        instrument: Instrument,
        *,
        started: Callable[[Sequence[Task]], None],
        incarnation: Callable[[], str] = new_incarnation,
    ) -> None:
        self._tasks = tasks
        self._layout = layout
        self._client = client
        self._consumer = consumer
        self._admin = admin
        self._transaction = transaction
        self._assignment = assignment
        self._clock = clock
        self._settings = settings
        self._failures = failures
        self._instrument = instrument
        self._started = started
        self._incarnation = incarnation
        self._positions: dict[TopicPartition, Committed | None] = {}
        self._restore: Restore | None = None
        self._was_running = False
        self.until_end = False

    @property
    def restoring(self) -> bool:
        return self._restore is not None

    def step(self) -> None:
        """Follows the assignment as far as Kafka answers, by one bounded slice."""
        if self._assignment.changed:
            self._begin()
        if self._restore is not None:
            self._restore_slice(self._restore)

    def stop(self) -> None:
        """What is being restored is no longer wanted, or not from here."""
        if self._restore is not None:
            self._restore.close()
            self._restore = None

    # ---- assigned -> restoring

    def _begin(self) -> None:
        """Makes tasks for what is assigned, and begins their restore.

        R13: the stable committed positions are read first, the ends of the changelogs after them. A predecessor that commits in
        between is fenced: by its transactional id if it is ours, by the group's generation if not.
        """
        try:
            pending = self._new_tasks()
            self.stop()
            if pending:
                self._transaction.producer()  # fences the predecessor: its open transaction would hold the restore up
                self._positions = self._consumer.committed([tp for task in pending for tp in task.inputs], _TIMEOUT_S)
                self._restore = Restore(
                    pending, self._client, self._admin, self._clock, self._settings.restore_stall_ms / 1000, self._instrument
                )
        except RetriableError as error:
            self._instrument.event("take-over-retried", error=str(error))
            return
        for task in pending:
            task.become(TaskState.RESTORING)
            self._tasks.add(task)
        self._assignment.changed = False

    def _new_tasks(self) -> list[Task]:
        """Fresh tasks for all that are ours and not running: a task runs only when all its input partitions are ours, and a
        restore that a new assignment interrupts begins anew."""
        at_work = {task.id for task in self._tasks.at_work()}
        return [
            self._layout.task(task_id, self._transaction, self._failures, self._incarnation())
            for task_id, inputs in self._layout.task_inputs().items()
            if task_id not in at_work and self._assignment.owned.issuperset(inputs)
        ]

    # ---- restoring -> running

    def _restore_slice(self, restore: Restore) -> None:
        if not restore.step(self._settings.poll_timeout_ms / 1000):
            return
        try:
            self._start(restore.tasks)
        except RetriableError as error:
            if self._restore is None:  # it was the first commit that failed: roll back as for any other
                raise
            self._instrument.event("take-over-retried", error=str(error))

    def _start(self, tasks: Sequence[Task]) -> None:
        """Asks first, then decides, then acts: if Kafka does not answer, nothing was done and the next step asks again."""
        inputs = [tp for task in tasks for tp in task.inputs]
        starts = self._admin.start_offsets(inputs, _TIMEOUT_S)
        ends = self._admin.end_offsets(inputs, _TIMEOUT_S)
        for task in tasks:
            for position in task.inputs.values():
                self._place(task, position, starts[position.tp], ends[position.tp])
        for task in tasks:
            for tp, position in task.inputs.items():
                self._consumer.seek(tp, position.next_offset)
        for task in tasks:
            task.become(TaskState.RUNNING)
        self._restore = None
        self._was_running = True
        self._started(tasks)
        self._consumer.resume(inputs)
        self._instrument.event("running", tasks=[str(task.id) for task in tasks])

    def _place(self, task: Task, position: InputPosition, log_start: int, log_end: int) -> None:
        """Where one partition goes on; raises where it must not (decide/start.py)."""
        is_source = position.watermark is not None
        decision = start(
            StartFacts(
                tp=position.tp,
                committed=self._positions[position.tp],
                log_start=log_start,
                has_state=task.has_state,
                until_end=self.until_end,
                is_source=is_source,
                end_offset=log_end,
                group=self._layout.topology.plan.app,
                was_running=self._was_running,
            )
        )
        if isinstance(decision, Refuse):
            raise decision.error
        position.next_offset = decision.offset
        position.last_data = self._clock.monotonic()
        if isinstance(decision, FromEarliest):
            task.touched = True  # the start position is committed before anything else (R29)
        else:
            task.commits = max(task.commits, decision.metadata.commits)
            if position.watermark is not None:
                position.watermark.max_timestamp = decision.metadata.max_timestamp
                task.time.advance(position.tp, position.watermark.watermark)
        if self.until_end and is_source:
            # an end that was committed stays, whatever has arrived since: its windows are closed
            has_ended = isinstance(decision, Resume) and decision.metadata.ended
            position.end = decision.offset if has_ended else log_end
