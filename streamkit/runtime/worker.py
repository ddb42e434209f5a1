"""The worker: one consumer, one transaction, one loop over its tasks. `step()` does one bounded round and returns.

    step:   poll -> take over what was assigned -> restore a slice, or: process batches -> advance time -> commit if due
    commit: changelogs -> control records -> flush -> offsets -> commit -> publish

It sees the world only through the Kafka client and the clock it was given, so a simulator can step many of them. All that can
go wrong with a transaction ends in one of three ways: the call is repeated (transaction.py), the committed state is restored
(`_roll_back`), or the worker stops with the error and nothing more is committed.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import AbortableError, FencedError, GenerationError, KafkaError, RejectedRecordError, RetriableError
from streamkit.eventtime.inputs import InputState
from streamkit.instrument import Instrument
from streamkit.kafka.client import Committed, KafkaClient, Polled, RecordBatch, TopicPartition
from streamkit.plan.topology import Topology
from streamkit.runtime import control
from streamkit.runtime.assignment import Assignment
from streamkit.runtime.control import TaskWord
from streamkit.runtime.decide.control import LastWord, due
from streamkit.runtime.decide.start import FromEarliest, Refuse, Resume, StartFacts, start
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.idleness import Idleness
from streamkit.runtime.lateness import LateReport
from streamkit.runtime.layout import Layout
from streamkit.runtime.repetition import Repetition
from streamkit.runtime.restore import Restore
from streamkit.runtime.task import Task, TaskId, TaskState
from streamkit.runtime.transaction import Transaction, UnknownOutcomeError

_FENCED_LIMIT = 5
_FENCED_WITHIN_S = 60.0
_ROLLS_BACK = (AbortableError, FencedError, UnknownOutcomeError, RetriableError)
"""Errors after which the committed state is restored; a retriable one comes here when its deadline has passed."""

_PASSING = ("OWNERSHIP", "_BATCH_REFUSED")
"""Aborts that say nothing of the records in hand: partitions changed hands; a refused batch is sent again one by one."""

_QUICK_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did: records taken, whether it committed, whether the input has ended and all is committed."""

    records: int = 0
    committed: bool = False
    finished: bool = False
    busy: bool = False


class Worker:
    """Runs the tasks of the partitions that the group gives it. One thread owns it."""

    def __init__(
        self,
        layout: Layout,
        client: KafkaClient,
        clock: Clock,
        settings: EngineSettings,
        failures: FailurePolicy,
        instrument: Instrument,
        *,
        transactional_id: str,
        until_end: bool = False,
        new_incarnation: Callable[[], str] = lambda: uuid.uuid4().hex[:16],
    ) -> None:
        self._layout = layout
        self._client = client
        self._transactional_id = transactional_id
        self._clock = clock
        self._settings = settings
        self._failures = failures
        self._instrument = instrument
        self._until_end = until_end
        self._was_running = False
        self._new_incarnation = new_incarnation
        self._admin = client.admin()
        self._consumer = client.consumer(layout.topology.plan.app)
        self._transaction = Transaction(lambda: client.producer(transactional_id), clock, settings, instrument)
        self._assignment = Assignment(self._commit_before_revoke, self._drop_partitions)
        self._tasks: dict[TaskId, Task] = {}
        self._positions: dict[TopicPartition, Committed | None] = {}
        self._by_input: dict[TopicPartition, Task] = {}
        self._restore: Restore | None = None
        self._epochs: dict[TopicPartition, int] = {}
        self._last_words: dict[tuple[str, str, int], LastWord] = {}
        self._late = LateReport(instrument)
        self._next_commit = 0.0
        self._next_purge = clock.monotonic() + settings.purge_interval_ms / 1000
        self._idleness = Idleness(self._admin, clock, settings.idle_check_ms / 1000)
        self._repetition = Repetition()
        self._fenced_at: deque[float] = deque(maxlen=_FENCED_LIMIT)

    @property
    def topology(self) -> Topology:
        return self._layout.topology

    @property
    def tasks(self) -> Sequence[Task]:
        return tuple(self._tasks.values())

    # ---- life

    def start(self) -> None:
        """Joins the group; partitions arrive with later steps."""
        self._transaction.producer()
        self._consumer.subscribe(self._layout.topics(), self._assignment)

    def step(self, timeout: float | None = None) -> Step:
        """One bounded round. Raises what stops the worker; nothing uncommitted has any effect then."""
        wait = self._settings.poll_timeout_ms / 1000 if timeout is None else timeout
        try:
            polled = self._poll(wait)
            if self._assignment.changed:
                self._take_over()
            if self._restore is not None:
                self._restore_slice(self._restore)
            records = self._process(polled)
            committed = self._advance_and_commit()
        except _ROLLS_BACK as error:
            self._roll_back(error)
            return Step(busy=True)
        return Step(records, committed, self.finished, busy=bool(records or committed or self._restore))

    @property
    def finished(self) -> bool:
        """Whether every task has come to the end of its input and committed that."""
        return bool(self._tasks) and all(t.state is TaskState.ENDED and not t.touched for t in self._tasks.values())

    def end_of_input(self) -> None:
        """Bounds every source partition at its present end; when all is read, time goes to the end and the last windows close."""
        self._until_end = True
        sources = [p for task in self._tasks.values() for p in task.inputs.values() if p.watermark is not None and p.end is None]
        ends = self._admin.end_offsets([p.tp for p in sources], self._settings.start_timeout_ms / 1000) if sources else {}
        for position in sources:
            position.end = ends[position.tp]

    def commit_now(self) -> bool:
        """Commits what there is to commit, whatever the interval says."""
        self._next_commit = 0.0
        return self._advance_and_commit()

    def drain(self) -> None:
        """Before leaving: commits what was processed. Errors end as in `step`: then there is nothing to commit."""
        try:
            self.commit_now()
        except _ROLLS_BACK as error:
            self._instrument.event("drain-aborted", error=str(error))
            self._transaction.abort()

    def close(self) -> None:
        """Leaves the group and drops everything; what is uncommitted is aborted."""
        for task in self._tasks.values():
            task.touched = False
        with ExitStack() as closing:  # whatever one of these raises, the others are closed
            closing.callback(self._admin.close)
            closing.callback(self._transaction.close)
            closing.callback(self._consumer.close)
            closing.callback(self._close_restore)
            closing.callback(self._transaction.abort)

    # ---- input

    def _poll(self, wait: float) -> Polled:
        now = self._clock.monotonic()
        dirty = any(task.touched for task in self._tasks.values())
        if dirty or self._transaction.open:
            wait = max(0.0, min(wait, self._next_commit - now))
        if self._restore is not None:
            wait = 0.0
        return self._consumer.poll(self._settings.max_records, wait)

    def _process(self, polled: Polled) -> int:
        now = self._clock.monotonic()
        records = 0
        for batch in sorted(polled.batches, key=_earliest) if len(polled.batches) > 1 else polled.batches:
            task = self._by_input.get(batch.tp)
            if task is not None and task.state is TaskState.RUNNING:
                self._remember_epochs(task)
                self._repetition.took(len(batch))
                records += task.process(batch, now)
        for tp, end in polled.ends.items():
            task = self._by_input.get(tp)
            if task is not None:
                task.inputs[tp].caught_up_at = max(task.inputs[tp].caught_up_at, end)
        return records

    def _remember_epochs(self, task: Task) -> None:
        for tp, epoch in self._assignment.epochs(task.inputs).items():
            self._epochs.setdefault(tp, epoch)

    # ---- time and commit

    def _advance_and_commit(self) -> bool:
        now = self._clock.monotonic()
        running = [task for task in self._tasks.values() if task.state is TaskState.RUNNING]
        for tp in sorted(self._idleness.newly_idle(running, now)):
            self._by_input[tp].time.set_state(tp, InputState.IDLE)
            self._instrument.event("partition-idle", topic=tp.topic, partition=tp.partition)
        for task in running:
            self._remember_epochs(task)
            task.advance()
        if now < self._next_commit:
            return False
        words = self._due_words(now)
        if not words and not any(task.touched for task in self._tasks.values()):
            return False
        self._commit(words)
        return True

    def _due_words(self, now: float) -> list[tuple[str, int, TaskWord]]:
        """(repartition topic, its partitions, word) for every running task with news, or whose last word is old."""
        settings = self._settings
        out = []
        for task in self._tasks.values():
            if task.state not in (TaskState.RUNNING, TaskState.ENDED):
                continue
            for writer, word in task.words():
                key = (writer.topic, word.sub_topology, word.partition)
                windows = self._layout.windows_behind(writer.node)
                if due(
                    word,
                    self._last_words.get(key),
                    now=now,
                    windows=windows,
                    interval_s=settings.control_interval_ms / 1000,
                    heartbeat_s=settings.heartbeat_ms / 1000,
                ):
                    out.append((writer.topic, self._layout.partitions_of(writer.topic), word))
        return out

    def _commit(self, words: list[tuple[str, int, TaskWord]]) -> None:
        """The commit sequence. Every task that wrote anything sends its offsets, also when none advanced (R1)."""
        told = {(word.sub_topology, word.partition) for _, _, word in words}
        tasks = [t for t in self._tasks.values() if t.touched or (t.id.sub_topology, t.id.partition) in told]
        offsets: dict[TopicPartition, Committed] = {}
        for task in tasks:
            self._remember_epochs(task)
            for topic, (key, value) in task.changelog_records() if task.touched else ():
                self._transaction.produce(topic, value, key, task.id.partition)
            offsets |= task.offsets()
        self._produce_words(words)
        self._check_ownership()
        self._transaction.commit(offsets, self._consumer.group_metadata())
        self._committed(tasks, words)

    def _produce_words(self, words: list[tuple[str, int, TaskWord]]) -> None:
        by_topic: dict[str, tuple[int, list[TaskWord]]] = {}
        for topic, partitions, word in words:
            by_topic.setdefault(topic, (partitions, []))[1].append(word)
        for topic, (partitions, said) in by_topic.items():
            value = control.encode(said)
            for partition in range(partitions):
                self._transaction.produce(topic, value, None, partition, control.HEADERS)

    def _check_ownership(self) -> None:
        """R9: brokers do not check that a member owns what it commits."""
        now = self._assignment.epochs(self._epochs)
        if now != self._epochs:
            moved = sorted(str(tp) for tp in self._epochs if now.get(tp) != self._epochs[tp])
            raise AbortableError(
                f"partitions changed hands during the transaction: {', '.join(moved)}", code="OWNERSHIP", call="commit"
            )

    def _committed(self, tasks: Sequence[Task], words: list[tuple[str, int, TaskWord]]) -> None:
        now = self._clock.monotonic()
        for task in tasks:
            task.committed()
        for topic, _, word in words:
            self._last_words[topic, word.sub_topology, word.partition] = LastWord(word, now)
        self._epochs.clear()
        self._repetition.committed(self._next_offsets())
        # The first change after a pause is committed at once; under load commits keep their interval, and R30: four times what
        # the last one took lies between them. But never so long that the broker would time the next transaction out (R20).
        pause_s = min(4 * self._transaction.last_commit_s, self._settings.transaction_timeout_ms / 4000)
        self._next_commit = now + max(self._settings.commit_interval_ms / 1000, pause_s)
        self._instrument.event(
            "commit", tasks=len(tasks), records=self._transaction.records, seconds=self._transaction.last_commit_s
        )
        self._late.committed(self._tasks.values(), now)
        if now >= self._next_purge:
            self._purge()

    def _purge(self) -> None:
        """R23: repartition records below the committed offsets are of no use to anyone."""
        self._next_purge = self._clock.monotonic() + self._settings.purge_interval_ms / 1000
        internal = self._layout.repartition_topics()
        done = {
            tp: p.next_offset
            for t in self._tasks.values()
            for tp, p in t.inputs.items()
            if tp.topic in internal and p.next_offset > 0
        }
        if done:
            try:
                self._admin.delete_records(done, _QUICK_TIMEOUT_S)
            except KafkaError as error:  # nothing depends on it, and the next purge covers this one
                self._instrument.event("purge-failed", error=str(error))

    # ---- rebalance

    def _commit_before_revoke(self) -> None:
        """R8, inside the callback: commit with the metadata of this moment, or abort."""
        if self._restore is not None:
            return
        try:
            self._next_commit = 0.0
            if any(task.touched for task in self._tasks.values()):
                self._commit([])
        except _ROLLS_BACK as error:
            self._instrument.event("revoke-aborted", error=str(error))
            self._transaction.abort()
            self._forget_tasks()

    def _drop_partitions(self, partitions: Sequence[TopicPartition]) -> None:
        """The tasks of these partitions are gone. An open transaction that they had a part in cannot be committed any more."""
        if any(self._by_input[tp].touched for tp in partitions if tp in self._by_input):
            self._transaction.abort()
            self._forget_tasks()
        for tp in partitions:
            self._epochs.pop(tp, None)  # nothing uncommitted has part in it any more
            task = self._by_input.pop(tp, None)
            if task is not None:
                self._tasks.pop(task.id, None)
                self._forget_words(task)
        self._close_restore()
        self._instrument.event("revoked", partitions=[str(tp) for tp in partitions])

    def _forget_words(self, task: Task) -> None:
        """If the task comes back, another worker may have spoken for it meanwhile: then it says everything anew."""
        for key in [key for key in self._last_words if key[1:] == task.id]:
            del self._last_words[key]

    def _forget_tasks(self) -> None:
        """All tasks go back to their committed state: memory is dropped, `_take_over` makes and restores them anew."""
        self._tasks.clear()
        self._by_input.clear()
        self._epochs.clear()
        self._last_words.clear()
        self._repetition.dropped()
        self._close_restore()
        self._assignment.changed = True

    def _roll_back(self, error: KafkaError) -> None:
        """R7: abort, then bring every task back to what is committed. Raises where that would only repeat itself."""
        self._instrument.event("rolled-back", error=str(error))
        if isinstance(error, FencedError):
            self._transaction.replace()
            self._count_fencing(error)
        else:
            self._transaction.abort()
            self._count_abort(error)
        self._consumer.pause(self._assignment.owned)
        self._forget_tasks()

    def _count_fencing(self, error: FencedError) -> None:
        """R17: two workers with one transactional id fence each other for ever; one of them has to go."""
        now = self._clock.monotonic()
        self._fenced_at.append(now)
        if len(self._fenced_at) == _FENCED_LIMIT and now - self._fenced_at[0] < _FENCED_WITHIN_S:
            raise FencedError(
                f"fenced {_FENCED_LIMIT} times within {now - self._fenced_at[0]:.0f} s: another worker with the transactional id "
                f"'{self._transactional_id}' is alive. Give each instance its own instance id (by default the host name)",
                code=error.code,
                call=error.call,
            ) from error

    def _count_abort(self, error: KafkaError) -> None:
        """The same cause twice at the same positions would come a third time."""
        if isinstance(error, RejectedRecordError):  # replaying would be refused again
            raise error
        if isinstance(error, (GenerationError, UnknownOutcomeError, RetriableError)) or error.code in _PASSING:
            return
        if self._repetition.is_repeated(error.code, self._next_offsets()):
            raise error

    def _next_offsets(self) -> dict[TopicPartition, int]:
        return {tp: position.next_offset for task in self._tasks.values() for tp, position in task.inputs.items()}

    def _take_over(self) -> None:
        """Makes tasks for what is assigned, and begins their restore. Repeated by the next step if Kafka is not ready for it.

        R13: the stable committed positions are read first, the ends of the changelogs after them. A predecessor that commits in
        between is fenced: by its transactional id if it is ours, by the group's generation if not.
        """
        try:
            pending = self._new_tasks()
            self._close_restore()
            if pending:
                self._transaction.producer()  # fences the predecessor: its open transaction would hold the restore up
                self._positions = self._consumer.committed([tp for task in pending for tp in task.inputs], _QUICK_TIMEOUT_S)
                self._restore = Restore(
                    pending, self._client, self._admin, self._clock, self._settings.restore_stall_ms / 1000, self._instrument
                )
        except RetriableError as error:
            self._instrument.event("take-over-retried", error=str(error))
            return
        for task in pending:
            task.become(TaskState.RESTORING)
            self._tasks[task.id] = task
            self._by_input |= dict.fromkeys(task.inputs, task)
        self._assignment.changed = False

    def _new_tasks(self) -> list[Task]:
        """Fresh tasks for all that are ours and not running: a task runs only when all its input partitions are ours, and a
        restore that a new assignment interrupts begins anew."""
        running = {task.id for task in self._tasks.values() if task.state in (TaskState.RUNNING, TaskState.ENDED)}
        return [
            self._layout.task(task_id, self._transaction, self._failures, self._new_incarnation())
            for task_id, inputs in self._layout.task_inputs().items()
            if task_id not in running and self._assignment.owned.issuperset(inputs)
        ]

    def _restore_slice(self, restore: Restore) -> None:
        if not restore.step(self._settings.poll_timeout_ms / 1000):
            return
        try:
            self._start_tasks(restore.tasks)
        except RetriableError as error:
            if self._restore is None:  # it was the first commit that failed: roll back as for any other
                raise
            self._instrument.event("take-over-retried", error=str(error))

    def _start_tasks(self, tasks: Sequence[Task]) -> None:
        """Asks first, then decides, then acts: if Kafka does not answer, nothing was done and the next step asks again."""
        inputs = [tp for task in tasks for tp in task.inputs]
        starts = self._admin.start_offsets(inputs, _QUICK_TIMEOUT_S)
        ends = self._admin.end_offsets(inputs, _QUICK_TIMEOUT_S)
        for task in tasks:
            for tp, position in task.inputs.items():
                is_source = position.watermark is not None
                facts = StartFacts(
                    tp=tp,
                    committed=self._positions[tp],
                    log_start=starts[tp],
                    has_state=task.has_state,
                    until_end=self._until_end,
                    is_source=is_source,
                    end_offset=ends[tp],
                    group=self.topology.plan.app,
                    was_running=self._was_running,
                )
                decision = start(facts)
                if isinstance(decision, Refuse):
                    raise decision.error
                self._place(task, tp, decision)
                if self._until_end and is_source:
                    # an end that was committed stays, whatever has arrived since: its windows are closed
                    has_ended = isinstance(decision, Resume) and decision.metadata.ended
                    position.end = decision.offset if has_ended else ends[tp]
        for task in tasks:
            for tp, position in task.inputs.items():
                self._consumer.seek(tp, position.next_offset)
        for task in tasks:
            task.become(TaskState.RUNNING)
        self._restore = None
        self._was_running = True
        if any(task.touched for task in tasks):
            self._commit([])
        self._consumer.resume(inputs)
        self._late.started(tasks)
        self._instrument.event("running", tasks=[str(task.id) for task in tasks])

    def _place(self, task: Task, tp: TopicPartition, decision: FromEarliest | Resume) -> None:
        position = task.inputs[tp]
        position.next_offset = decision.offset
        position.last_data = self._clock.monotonic()
        if isinstance(decision, FromEarliest):
            task.touched = True  # the start position is committed before anything else (R29)
            return
        task.commits = max(task.commits, decision.metadata.commits)
        if position.watermark is not None:
            position.watermark.max_timestamp = decision.metadata.max_timestamp
            task.time.advance(tp, position.watermark.watermark)

    def _close_restore(self) -> None:
        if self._restore is not None:
            self._restore.close()
            self._restore = None


def _earliest(batch: RecordBatch) -> int:
    return int(batch.timestamps()[0]) if len(batch) else 0
