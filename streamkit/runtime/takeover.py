"""From assigned partitions to running tasks: make them, restore them in slices, decide where they start, start them (R12-R14).

    begin: committed positions ──parked here, and nobody had it meanwhile (parking.py)──────────────────> start
                               ──all others: new tasks, ends of the changelogs──> a slice per step ──> start

Nothing of this happens inside a rebalance callback. Each part asks Kafka first and acts afterwards: where Kafka does not answer
in time nothing was done, and the next step of the worker asks again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import RetriableError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, Committed, Consumer, KafkaClient, TopicPartition
from streamkit.runtime.assignment import Assignment
from streamkit.runtime.decide.resume import may_resume
from streamkit.runtime.decide.start import FromEarliest, Refuse, Resume, StartFacts, start
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.layout import Layout
from streamkit.runtime.metadata import OffsetMetadata
from streamkit.runtime.parking import Parking
from streamkit.runtime.progress import Trouble
from streamkit.runtime.restore import Restore
from streamkit.runtime.split_tasks import SplitTasks
from streamkit.runtime.task import InputPosition, Task, TaskId, TaskState
from streamkit.runtime.task_set import TaskSet
from streamkit.runtime.transaction import Transaction
from streamkit.stages import RESTORE

_TIMEOUT_S = 2.0
_INIT_S = 3.0
"""How long a take-over waits for a producer at first, and twice as long after each time that it got none: where Kafka is
away, that is told in between."""
_SHORTLY_S, _LESS_SHORTLY_S = 0.25, 1.0
_SLICE_WAIT_S = 0.01


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
        parking: Parking,
        *,
        started: Callable[[Sequence[Task]], None],
        unanswered: Callable[[RetriableError], None],
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
        self._parking = parking
        self._split = SplitTasks(layout, clock, settings)
        self._started = started
        self._unanswered = unanswered
        self._incarnation = incarnation
        self._positions: dict[TopicPartition, Committed | None] = {}
        self._restore: Restore | None = None
        self._ready: list[Task] = []
        self._made: dict[TaskId, Task] = {}  # by an attempt that Kafka did not answer
        self._ask_for_s = _SHORTLY_S
        self._ask_at = 0.0
        self._init_s = _INIT_S
        self._from_earliest: dict[TopicPartition, int] = {}
        self._told: frozenset[TopicPartition] = frozenset()
        self._was_running = False
        self.until_end = False
        self.trouble: Trouble | None = None
        """What Kafka did not answer, if the last attempt has failed."""

    @property
    def restoring(self) -> bool:
        """Whether something is on its way from assigned to running."""
        return self._restore is not None or bool(self._ready)

    def restored(self, task: Task) -> dict[str, Any] | None:
        """How far a task that is on its way is restored; None of any other."""
        if self._restore is not None and any(each is task for each in self._restore.tasks):
            return self._restore.so_far(task)
        return {"percent": 100, "changelogs": []} if task.state is TaskState.RESTORING else None

    def step(self) -> None:
        """Follows the assignment as far as Kafka answers, by one bounded slice."""
        if not self._ready:  # those that are on their way back stay
            self._parking.expire()
        self._split.check()
        if not self.restoring and not self._assignment.changed:
            self.trouble = None
            return
        stages = self._transaction.stages
        before = stages.enter(RESTORE)
        if self._assignment.changed and not self.restoring:
            self._begin()
        if self._restore is not None and self._restore.step(self._slice_wait_s()):
            self._ready += self._restore.tasks
            self._restore = None
        if self._ready:
            self._start_ready()
        stages.enter(before)

    def _slice_wait_s(self) -> float:
        """How long a slice waits for records of a changelog: shortly while others have work to do."""
        wait_s = self._settings.poll_timeout_ms / 1000
        return min(wait_s, _SLICE_WAIT_S) if self._tasks.any_at_work else wait_s

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """If something on its way reads one of these, all that is with it begins anew."""
        if not set(partitions).isdisjoint(tp for task in self._on_the_way() for tp in task.inputs):
            self.stop()

    def give_up_parked(self) -> None:
        """Whose memory is needed, unless they are on their way back."""
        self._parking.drop([task for task in self._parking if not any(task is each for each in self._ready)], "memory_limit_mb")

    def stop(self) -> None:
        """What is on its way is no longer wanted, or not from here. The next step begins anew."""
        for task in self._on_the_way():
            if task.state is not TaskState.PARKED:
                self._tasks.remove(task)
        if self._restore is not None:
            self._restore.close()
            self._restore = None
        self._ready = []
        self._assignment.changed = True

    def _on_the_way(self) -> list[Task]:
        return [*self._ready, *(self._restore.tasks if self._restore is not None else ())]

    # ---- assigned -> restoring

    def _begin(self) -> None:
        """Makes tasks for what is assigned, and begins their restore.

        R13: the stable committed positions are read first, the ends of the changelogs after them. A predecessor that commits in
        between is fenced: by its transactional id if it is ours, by the group's generation if not.
        """
        self._split.changed(self._assignment.owned)
        wanted = self._wanted()
        self._tell_assigned(wanted)
        if self._assignment.complete:
            self._parking.drop([task for task in self._parking if task.id not in wanted], "assigned to another worker")
        back = [task for task in self._parking if task.id in wanted]
        if wanted and self._tasks.any_at_work and self._clock.monotonic() < self._ask_at:
            return
        try:
            if wanted:
                self._fence_predecessor()
            if back:  # first and alone: nothing that is pending for others must hold them up
                self._take_back(back)
            else:
                self._take_anew(wanted)
        except RetriableError as error:
            self._failed(error)

    def _fence_predecessor(self) -> None:
        """By a producer of its id: its open transaction would hold the restore up."""
        try:
            self._transaction.producer(self._init_s)
        except RetriableError:
            self._init_s *= 2
            raise
        self._init_s = _INIT_S

    def _take_back(self, back: Sequence[Task]) -> None:
        """Those that nobody had meanwhile are ready; the others are made anew by the next step, with all that were not here."""
        self._positions = self._committed([tp for task in back for tp in task.inputs])
        resumable = [task for task in back if may_resume(task.last_committed, self._positions)]
        self._parking.drop([task for task in back if task not in resumable], "another worker has committed")
        self._ready = resumable

    def _take_anew(self, wanted: Mapping[TaskId, Sequence[TopicPartition]]) -> None:
        if wanted:
            self._positions = self._committed([tp for inputs in wanted.values() for tp in inputs])
        tasks = self._new(wanted)
        if tasks:
            stall_s = self._settings.restore_stall_ms / 1000
            self._restore = Restore(tasks, self._client, self._admin, self._clock, stall_s, self._instrument)
        for task in tasks:
            task.become(TaskState.RESTORING)
            self._tasks.add(task)
        self._made = {}
        self._assignment.changed = False

    def _new(self, wanted: Iterable[TaskId]) -> list[Task]:
        """Without state. Those of an attempt that Kafka did not answer are as good as on their first day: to make some hundreds
        takes longer than to ask again, and brokers refuse questions about a changelog that they have only just created."""
        if self._made.keys() != set(wanted):
            stages = self._transaction.stages
            self._made = {
                each: self._layout.task(each, self._transaction, self._failures, self._incarnation(), stages) for each in wanted
            }
        return list(self._made.values())

    def _committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        """Waits until no transaction holds offsets of these pending: of a worker that was killed, until the broker ends it.

        While other tasks run they must not wait for that: the call is short, longer after each that was not answered, and as much
        time as it may take goes to them before the next.
        """
        timeout = self._ask_for_s if self._tasks.any_at_work else _TIMEOUT_S
        try:
            found = self._consumer.committed(partitions, timeout)
        except RetriableError:
            self._ask_at = self._clock.monotonic() + timeout
            self._ask_for_s = min(2 * self._ask_for_s, _LESS_SHORTLY_S)
            raise
        self._ask_for_s = _SHORTLY_S
        return found

    def _wanted(self) -> dict[TaskId, tuple[TopicPartition, ...]]:
        """The inputs of all tasks that are ours and not here. A task runs only when all its input partitions are ours."""
        here = {task.id for task in self._tasks}
        return {
            task_id: inputs
            for task_id, inputs in self._layout.task_inputs().items()
            if task_id not in here and self._assignment.owned.issuperset(inputs)
        }

    # ---- restored or parked -> running

    def _start_ready(self) -> None:
        try:
            self._start(self._ready)
        except RetriableError as error:
            if not self._ready:  # it was the first commit that failed: roll back as for any other
                raise
            self._failed(error)

    def _failed(self, error: RetriableError) -> None:
        self.trouble = Trouble(error.call, str(error))
        self._instrument.event("take-over-retried", error=str(error))
        self._unanswered(error)

    def _start(self, tasks: Sequence[Task]) -> None:
        """Asks first, then decides, then acts: if Kafka does not answer, nothing was done and the next step asks again."""
        inputs = [tp for task in tasks for tp in task.inputs]
        starts = self._admin.start_offsets(inputs, _TIMEOUT_S)
        ends = self._admin.end_offsets(inputs, _TIMEOUT_S)
        unfinished = self._is_unfinished(ends)
        self._from_earliest = {}
        for task in tasks:
            for position in task.inputs.values():
                self._place(task, position, starts[position.tp], ends[position.tp], unfinished=unfinished)
        if self._from_earliest:  # a new app, or a group whose positions the broker has forgotten
            waiting = sum(self._from_earliest.values())
            self._instrument.event("from-earliest", partitions=[str(tp) for tp in self._from_earliest], records=waiting)
        for task in tasks:
            for tp, position in task.inputs.items():
                self._consumer.seek(tp, position.next_offset)
        resumed = [task for task in tasks if task.state is TaskState.PARKED]
        restored = [task for task in tasks if task.state is not TaskState.PARKED]
        for task in resumed:
            self._parking.release(task)
            task.resume(self._clock.monotonic())
            self._tasks.add(task)
        for task in restored:
            task.become(TaskState.RUNNING)
        self._ready = []
        self._was_running = True
        if restored:
            self._started(restored)
        self._consumer.resume(inputs)
        for name, those in (("resumed", resumed), ("running", restored)):
            if those:
                self._instrument.event(name, tasks=[str(task.id) for task in those])

    def _is_unfinished(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether the bounded run that these positions belong to has not ended everywhere: then it goes on, whatever has arrived
        behind its ends since. The other partitions are asked for only where one has ended and got news."""
        here = {tp: _metadata(self._positions[tp]) for tp in ends}
        news = [tp for tp, each in here.items() if each.ended and _offset(self._positions[tp]) < ends[tp]]
        if not news or not self.until_end:
            return False
        others = [tp for inputs in self._layout.task_inputs().values() for tp in inputs if tp not in here]
        there = self._consumer.committed(others, _TIMEOUT_S) if others else {}
        return not all(each.ended for each in (*here.values(), *map(_metadata, there.values())))

    def _place(self, task: Task, position: InputPosition, log_start: int, log_end: int, *, unfinished: bool) -> None:
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
                go_on_without=self._failures.on_lost_offset == "earliest",
                was_running=self._was_running or unfinished,
                changelogs=task.restored_state(),
            )
        )
        if isinstance(decision, Refuse):
            raise decision.error
        position.next_offset = decision.offset
        if isinstance(decision, FromEarliest):
            self._from_earliest[position.tp] = max(0, log_end - log_start)
        elif decision.skipped:
            self._tell_lost(position.tp, decision)
        if isinstance(decision, FromEarliest) or decision.skipped:
            task.touched = True  # the start position is committed before anything else (R29)
        if task.state is not TaskState.PARKED:
            self._take_up(task, position, decision)
        if self.until_end and is_source and position.end is None:
            _bound(task, position, decision, log_end)

    def _take_up(self, task: Task, position: InputPosition, decision: FromEarliest | Resume) -> None:
        """What is stored with the position (R18), for a task that has only its changelogs."""
        position.last_data = self._clock.monotonic()
        if isinstance(decision, FromEarliest):
            return
        task.commits = max(task.commits, decision.metadata.commits)
        task.state_commit = decision.metadata.state_commit
        committed = self._positions[position.tp]
        if committed is not None:
            task.last_committed[position.tp] = committed
        if position.watermark is not None:
            position.watermark.restore(decision.metadata.max_timestamp, decision.metadata.watermark)
            task.time.advance(position.tp, position.watermark.watermark)

    def _tell_assigned(self, tasks: Iterable[TaskId]) -> None:
        """Not after a roll-back, which leaves the assignment as it was."""
        owned = frozenset(self._assignment.owned)
        if owned == self._told:
            return
        self._told = owned
        if owned:
            self._instrument.event("assigned", partitions=[str(tp) for tp in sorted(owned)], tasks=[str(each) for each in tasks])

    def _tell_lost(self, tp: TopicPartition, decision: Resume) -> None:
        self._instrument.event(
            "records-lost",
            topic=tp.topic,
            partition=tp.partition,
            offset=decision.offset - decision.skipped,
            records=decision.skipped,
            resumed_at=decision.offset,
        )


def _bound(task: Task, position: InputPosition, decision: FromEarliest | Resume, log_end: int) -> None:
    """Where a bounded run ends. It is chosen once and committed with the position, so that whoever goes on after a crash has the
    same end; and one that was reached stays, whatever has arrived since: its windows are closed."""
    chosen = decision.metadata.end if isinstance(decision, Resume) else None
    if isinstance(decision, Resume) and decision.metadata.ended:
        position.end = decision.offset
    elif chosen is not None:
        position.end = min(chosen, log_end)
    else:
        position.end = log_end
        task.touched = True


def _metadata(committed: Committed | None) -> OffsetMetadata:
    return (OffsetMetadata.decode(committed.metadata) if committed is not None else None) or OffsetMetadata()


def _offset(committed: Committed | None) -> int:
    return -1 if committed is None else committed.offset
