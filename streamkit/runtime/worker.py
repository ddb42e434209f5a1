"""The worker: one consumer, one transaction, one loop over its tasks. `step()` does one bounded round and returns.

    step:  poll -> process batches -> take over what was assigned -> advance time -> commit if due
                   (task.py)          (takeover.py)                                  (commit.py)

It sees the world only through the Kafka client and the clock it was given, so a simulator can step many of them. All that can
go wrong with a transaction ends in one of three ways: the call is repeated (transaction.py), the committed state is restored
(`_roll_back`), or the worker stops with the error and nothing more is committed (rollback.py says when).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import FencedError, KafkaError, LostOffsetError, RejectedRecordError, RetriableError, StateError
from streamkit.eventtime.inputs import InputState
from streamkit.instrument import Instrument
from streamkit.kafka.client import KafkaClient, Polled, TopicPartition
from streamkit.plan.nodes import OnUpdate
from streamkit.plan.topology import Topology
from streamkit.runtime.alignment import Alignment
from streamkit.runtime.assignment import Assignment
from streamkit.runtime.commit import Committer
from streamkit.runtime.deadlines import Guard, NoGuard, patience
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.idleness import Idleness
from streamkit.runtime.lateness import LateReport
from streamkit.runtime.layout import Layout
from streamkit.runtime.memory import MemoryLimit, state_bytes
from streamkit.runtime.outage import Outage
from streamkit.runtime.parking import Parking
from streamkit.runtime.pauses import Pauses
from streamkit.runtime.progress import Progress
from streamkit.runtime.purge import Purge
from streamkit.runtime.quiet import Quiet
from streamkit.runtime.rollback import ROLLS_BACK, RollbackLimit
from streamkit.runtime.session import check_session
from streamkit.runtime.snapshot import snapshot
from streamkit.runtime.takeover import TakeOver, new_incarnation
from streamkit.runtime.task import Task, TaskState
from streamkit.runtime.task_set import TaskSet
from streamkit.runtime.time_hints import TimeHints
from streamkit.runtime.topic_guard import TopicGuard
from streamkit.runtime.transaction import BrokenProducerError, Transaction
from streamkit.stages import CONSUME, OTHER, Stages

_FEW = 100


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
        guard: Guard | None = None,
        new_incarnation: Callable[[], str] = new_incarnation,
    ) -> None:
        self._layout = layout
        self._clock = clock
        self._settings = settings
        self._instrument = instrument
        self._guard = guard or NoGuard()
        self._polled_at = clock.monotonic()
        self._has_more = False
        self.stages = Stages()
        self._admin = client.admin()
        self._consumer = client.consumer(layout.topology.plan.app)
        self._transaction = Transaction(
            lambda: client.producer(transactional_id), clock, settings, instrument, self._guard, self.stages
        )
        self._assignment = Assignment(self._commit_before_revoke, self._revoked, self._lost)
        self._tasks = TaskSet()
        self._pauses = Pauses(self._consumer)
        self._alignment = Alignment(layout.topology, self._tasks, self._pauses, clock, instrument, settings.max_records)
        self._parking = Parking(clock, settings.max_poll_interval_ms / 1000, instrument)
        self._failures = failures
        self._limit = RollbackLimit(transactional_id, clock)
        # after one that is lost, the start of what is left is looked for as at every start
        self._rolls_back = (*ROLLS_BACK, LostOffsetError) if failures.on_lost_offset == "earliest" else ROLLS_BACK
        self._late = LateReport(instrument)
        self._hints = TimeHints(clock, instrument, layout.topology)
        self._idleness = Idleness(self._admin, clock, settings.idle_check_ms / 1000)
        self._has_timers = any(
            isinstance(node, OnUpdate) and node.every_ms is not None for part in layout.topology.parts for node in part.nodes
        )
        self._quiet = Quiet(self._admin, clock, instrument, layout.longest_open_ms)
        self._outage = Outage(self._admin, client.describe(), clock, instrument)
        self._topics = TopicGuard(layout, self._admin, clock, settings.topic_check_ms / 1000, instrument)
        self._progress = Progress(client, self._admin, clock, settings.stalled_after_ms / 1000, instrument)
        self._purge = Purge(layout, self._admin, clock, settings, instrument)
        self._committer = Committer(
            self._tasks, self._transaction, self._assignment, layout, clock, settings, instrument,
            group_metadata=self._consumer.group_metadata, published=self._published,
        )  # fmt: skip
        self._take_over = TakeOver(
            self._tasks, layout, client, self._consumer, self._admin, self._transaction, self._assignment, clock, settings,
            failures, instrument, self._parking, started=self._started, unanswered=self._outage.suspect,
            incarnation=new_incarnation,
        )  # fmt: skip
        self._take_over.until_end = until_end
        self._memory = None
        if settings.memory_limit_mb is not None:
            self._memory = MemoryLimit(
                layout.topology, self._tasks, self._pauses, clock, settings, instrument,
                self._parking, self._take_over.give_up_parked,
            )  # fmt: skip

    @property
    def topology(self) -> Topology:
        return self._layout.topology

    @property
    def tasks(self) -> Sequence[Task]:
        return tuple(self._tasks)

    def snapshot(self) -> list[dict[str, Any]]:
        """What each of its tasks is at, for a log (snapshot.py)."""
        return list(snapshot(self._tasks, self._clock.monotonic(), self._take_over.restored))

    def without_tasks(self) -> dict[str, Any]:
        """What there is to say of a worker that has none: the partitions that it was given all the same, and what is parked."""
        return {
            "partitions": [str(tp) for tp in sorted(self._assignment.owned)],
            "tasks": [str(task.id) for task in self._parking],
        }

    def state_bytes(self) -> dict[str, int]:
        """Memory of the state of its tasks, parked ones included, by store."""
        return state_bytes((*self._tasks.at_work(), *self._parking))

    def situation(self) -> dict[str, Any]:
        """What it is at, in words for the log. May be called from another thread, while this worker's does not come back."""
        transaction = self._transaction
        return {
            "tasks": {str(task.id): task.state.value for task in tuple(self._tasks)},
            "restoring": self._take_over.restoring,
            "transaction_open": transaction.open,
            "transaction_age_s": round(self._clock.monotonic() - transaction.begun_at, 1) if transaction.open else None,
            "transaction_records": transaction.records if transaction.open else 0,
        }

    def abandon(self) -> None:
        """From another thread, when this worker's own does not come back from a call: leaves the group without a commit."""
        self._assignment.silence()
        self._consumer.close()

    # ---- the loop

    def start(self) -> None:
        """Joins the group; partitions arrive with later steps."""
        check_session(self._admin, self.topology.plan.app, self._settings, self._instrument)
        self._transaction.producer()
        self._consumer.subscribe(self._layout.topics(), self._assignment)

    def step(self, timeout: float | None = None) -> Step:
        """One bounded round. Raises what stops the worker; nothing uncommitted has any effect then."""
        wait = self._settings.poll_timeout_ms / 1000 if timeout is None else timeout
        self._guard.enter("step", self._settings.step_deadline_s)
        try:
            self._topics.look()
            self._late.look(self._clock.monotonic())
            if not self._outage.away:
                held = self._alignment.held | self._pauses.held
                coming = self._take_over
                self._progress.look(self._tasks, self._assignment.owned, held, restoring=coming.restoring, trouble=coming.trouble)
            polled = self._poll(wait)
            if not polled.batches:
                self._transaction.serve()
            if self._broker_is_away(polled):
                self._reached(self._alignment.reached(polled.ends))  # an end is told once
                return Step()
            # First what was polled, then the take-over: a callback inside the poll may have dropped a task whose partition stays
            # ours (KIP-848), and its successor begins at the committed position, far before what was polled.
            records = self._process(polled)
            self._take_over.step()
            self._advance_time()
            committed = not self._outage.away and self._committer.commit_if_due()  # the take-over may have found that out
            if self._memory is not None:
                self._memory.look()
        except (KafkaError, LostOffsetError, StateError) as error:
            if not self._recovers(error):
                raise
            return Step(busy=True)
        finally:
            self._guard.leave()
        busy = bool(records or polled.batches or committed or self._take_over.restoring)
        return Step(records, committed, self.finished, busy=busy)

    def _poll(self, wait: float) -> Polled:
        wait = 0.0 if self._take_over.restoring or self._has_more else self._committer.within(wait)
        self._polled_at = self._clock.monotonic()
        # inside it a rebalance may end a transaction, and abort it if that fails: each within its deadline
        self._guard.enter("poll", patience(wait + 2 * self._settings.deadline_s))
        try:
            # one by one each of them waits for the broker: fewer, so that a step stays short
            most = _FEW if self._failures.refusals else self._settings.max_records
            self.stages.enter(CONSUME)
            return self._consumer.poll(min(most, self._settings.max_records), wait)
        except RetriableError as error:  # nothing came of it: what is in memory is as good as before
            self._topics.suspect(error)
            self._outage.poll_failed(error)
            self._read_again()
            return Polled()
        finally:
            self.stages.enter(OTHER)
            self._guard.leave()

    def _read_again(self) -> None:
        """Records that a failed poll had taken are fetched once more, and those that are in hand with them."""
        self._alignment.drop_all()
        for task in self._tasks.running():
            for tp, position in task.inputs.items():
                self._consumer.seek(tp, position.next_offset)

    def _broker_is_away(self, polled: Polled) -> bool:
        if self._outage.over(heard=bool(polled.batches)):
            return False
        if self._take_over.restoring:  # begun anew afterwards: its patience is for logs that do not move
            self._take_over.stop()
            self._assignment.changed = True
        return True

    def _process(self, polled: Polled) -> int:
        self._alignment.receive(polled.batches)
        self._reached(self._alignment.reached(polled.ends))
        now = self._clock.monotonic()
        records = 0
        while records < self._settings.max_records and (batches := self._alignment.admit()):
            for batch in batches:
                task = self._tasks.of(batch.tp)
                if task is not None and task.state is TaskState.RUNNING:
                    self._committer.remember_epochs([task])
                    self._limit.took(len(batch))
                    self._tasks.stir(task)
                    self.stages.enter(task.chain.readers[batch.tp.topic].stage)
                    records += task.process(batch, now)
            self._reached(self._alignment.reached({}))
        self._alignment.settle()
        self._has_more = records >= self._settings.max_records and bool(self._alignment.held)
        self.stages.enter(OTHER)
        self.stages.records += records
        return records

    def _reached(self, ends: Mapping[TopicPartition, int]) -> None:
        for tp, end in ends.items():
            task = self._tasks.of(tp)
            if task is not None and end > task.inputs[tp].caught_up_at:
                task.inputs[tp].caught_up_at = end
                self._tasks.stir(task)

    def _advance_time(self) -> None:
        now = self._clock.monotonic()
        for tp in sorted(self._idleness.newly_idle(self._tasks.running(), now)):
            task = self._tasks.of(tp)
            assert task is not None  # noqa: S101 - it was asked for its own partitions
            task.time.set_state(tp, InputState.IDLE)
            self._tasks.stir(task)
            self._instrument.event("partition-idle", topic=tp.topic, partition=tp.partition)
        for task in self._quiet.advance(self._tasks.running(), now):
            self._tasks.stir(task)
        stirred = self._tasks.take_stirred()
        self._committer.remember_epochs(stirred)
        for task in stirred:
            task.advance()
        if self._has_timers:
            running = list(self._tasks.running())
            self._committer.remember_epochs(running)
            for task in running:
                task.tell_due_updates(now)

    # ---- ends

    @property
    def finished(self) -> bool:
        """Whether every task has come to the end of its input and committed that."""
        return len(self._tasks) > 0 and all(t.state is TaskState.ENDED and not t.touched for t in self._tasks)

    def end_of_input(self) -> None:
        """Bounds every source partition at its present end; when all is read, time goes to the end and the last windows close."""
        self._take_over.until_end = True
        sources = [p for task in self._tasks for p in task.inputs.values() if p.watermark is not None and p.end is None]
        ends = self._admin.end_offsets([p.tp for p in sources], self._settings.start_timeout_ms / 1000) if sources else {}
        for position in sources:
            position.end = ends[position.tp]
        self._tasks.stir_all()

    def commit_now(self) -> bool:
        """Commits what there is to commit, whatever the interval says."""
        self._committer.hurry()
        self._advance_time()
        return self._committer.commit_if_due()

    def drain(self) -> None:
        """Before leaving: commits what was processed. Errors end as in `step`: then there is nothing to commit."""
        try:
            self.commit_now()
        except ROLLS_BACK as error:
            self._instrument.event("drain-aborted", error=str(error))
            self._transaction.abort()

    def close(self) -> None:
        """Leaves the group and drops everything; what is uncommitted is aborted."""
        self._polled_at = self._clock.monotonic()
        self._guard.enter("close", patience(2 * self._settings.deadline_s))
        with ExitStack() as closing:  # whatever one of these raises, the others are closed
            closing.callback(self._guard.leave)
            closing.callback(self._admin.close)
            closing.callback(self._transaction.close)
            closing.callback(self._consumer.close)
            closing.callback(self._tasks.clear)  # nobody comes back to be parked
            closing.callback(self._late.close)
            closing.callback(self._take_over.stop)
            closing.callback(self._transaction.abort)

    # ---- what the parts tell

    def _started(self, tasks: Sequence[Task]) -> None:
        self._late.started(tasks)
        if any(task.touched for task in tasks):
            self._committer.commit()

    def _published(self, tasks: Sequence[Task]) -> None:
        positions = self._tasks.positions()
        self._limit.committed(positions)
        self._failures.refusals.committed(positions)
        self._late.committed(tasks)
        self._hints.committed(tasks)
        self._purge.committed(self._tasks)

    # ---- rebalance: inside the consumer's callbacks

    def _commit_before_revoke(self) -> None:
        """R8, inside the callback: commit with the metadata of this moment, or abort."""
        try:
            self._committer.hurry()
            if self._tasks.touched:
                self._committer.commit(within_s=self._left_of_poll_s() / 2)
        except ROLLS_BACK as error:
            self._instrument.event("revoke-aborted", error=str(error))
            self._transaction.abort()
            self._forget_tasks()

    def _left_of_poll_s(self) -> float:
        """How long the group still waits for this poll to return before it gives the member up."""
        return self._settings.max_poll_interval_ms / 1000 - (self._clock.monotonic() - self._polled_at)

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Who had nothing uncommitted waits in memory for its partitions to come back."""
        self._parking.park(self._leave(partitions))
        self._instrument.event("revoked", partitions=[str(tp) for tp in partitions])

    def _lost(self, partitions: Sequence[TopicPartition]) -> None:
        """R11: they have been another's for a while; nothing of them can be trusted."""
        self._parking.drop(self._parking, "partitions were lost")
        self._leave(partitions)
        self._instrument.event("lost", partitions=[str(tp) for tp in partitions])

    def _leave(self, partitions: Sequence[TopicPartition]) -> list[Task]:
        """Takes out the tasks of these partitions. An open transaction that they have a part in cannot be committed any more."""
        if any(task.touched for task in self._tasks.among(partitions)):
            self._transaction.abort()
            self._forget_tasks()
        self._late.left({task for task, inputs in self._layout.task_inputs().items() if not set(partitions).isdisjoint(inputs)})
        self._take_over.revoked(partitions)
        gone = self._tasks.among(partitions)
        inputs = {*partitions, *(tp for task in gone for tp in task.inputs)}
        self._pauses.forget(inputs)
        self._alignment.drop(inputs)
        self._committer.forget(partitions, gone)
        for task in gone:
            self._tasks.remove(task)
        stranded = [tp for task in gone for tp in task.inputs if tp in self._assignment.owned]
        if stranded:  # ours still, but nobody can process them without those that went
            self._consumer.pause(stranded)
        return gone

    # ---- going back

    def _recovers(self, error: KafkaError | LostOffsetError | StateError) -> bool:
        """Whether the worker goes on, from its committed state.

        Not in `step`, which is in the error's traceback: a variable there that has the error keeps both, and with them the tasks
        that are dropped and all their state, until a full collection. Those are rare."""
        self._topics.suspect(error)
        answer = self._answer_to(error)
        if isinstance(answer, StateError) or not isinstance(answer, self._rolls_back):
            return False
        self._roll_back(answer)
        if isinstance(error, RetriableError):
            self._outage.suspect(error)
        return True

    def _answer_to(self, error: KafkaError | LostOffsetError | StateError) -> KafkaError | LostOffsetError | StateError:
        """What the error comes to. Positions and changelogs that do not fit prove nothing while the partitions may be another's.

        A worker is stopped for longer than its session. Another takes over, processes, commits, and deletes what it has processed
        of a repartition topic. The first goes on: it reads where nothing is any more, or restores the state of the other beside
        the positions that it had asked for before, and would stop for good, before its heartbeat is answered that it is no
        member any longer. The group's coordinator knows; it is asked without committing anything.
        """
        if isinstance(error, KafkaError):
            return error
        try:
            self._transaction.confirm(self._assignment.owned, self._consumer.group_metadata())
        except ROLLS_BACK as answer:
            self._instrument.event("not-ours", error=str(error), answer=str(answer))
            return answer
        return error

    def _roll_back(self, error: KafkaError | LostOffsetError) -> None:
        """R7: abort, then bring every task back to what is committed. Raises where that would only repeat itself."""
        self._instrument.event("rolled-back", error=str(error))
        if isinstance(error, (FencedError, BrokenProducerError)):
            self._transaction.replace()
        else:
            self._transaction.abort()
        positions = self._tasks.positions()
        if not (isinstance(error, RejectedRecordError) and self._may_be_found(error, positions)):
            self._limit.count(error, positions)
        self._consumer.pause(self._assignment.owned)
        self._forget_tasks()

    def _may_be_found(self, error: RejectedRecordError, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether a replay finds the input that made the refused record: it went to a sink, and it is not known already."""
        sinks = {sink.topic.name for sink in self.topology.plan.sinks}
        return error.topic in sinks and self._failures.refusals.may_be_found(error.topic, positions)

    def _forget_tasks(self) -> None:
        """All tasks go back to their committed state: memory is dropped, they are made and restored anew."""
        self._take_over.stop()
        self._alignment.drop_all()
        self._parking.drop(self._parking, "rolled back")
        self._tasks.clear()
        self._pauses.forget_all()
        self._committer.forget_all()
        self._limit.dropped()
