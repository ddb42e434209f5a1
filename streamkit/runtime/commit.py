"""When this worker commits, and what it takes: the sequence of R4, one transaction for all tasks.

    changelogs -> control records -> ownership check -> flush -> offsets -> commit -> publish

What the transaction itself does (flush, offsets, commit) and how its calls are repeated is in transaction.py. Errors leave with
the transaction still open: who calls knows what has to be brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import AbortableError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Committed, GroupMetadata, TopicPartition
from streamkit.plan.nodes import OnUpdate
from streamkit.runtime.assignment import Assignment
from streamkit.runtime.layout import Layout
from streamkit.runtime.pace import Pace
from streamkit.runtime.task import Task
from streamkit.runtime.task_set import TaskSet
from streamkit.runtime.transaction import Transaction
from streamkit.runtime.words import Word, Words
from streamkit.stages import CHANGELOG, UPDATES

SLOW_S = 1.0
"""A commit that takes longer is told: results come late."""


class Committer:
    """Commits the tasks of a worker. ``published`` is called with the tasks of each commit that was acknowledged."""

    def __init__(
        self,
        tasks: TaskSet,
        transaction: Transaction,
        assignment: Assignment,
        layout: Layout,
        clock: Clock,
        settings: EngineSettings,
        instrument: Instrument,
        *,
        group_metadata: Callable[[], GroupMetadata],
        published: Callable[[Sequence[Task]], None],
    ) -> None:
        self._tasks = tasks
        self._transaction = transaction
        self._assignment = assignment
        self._clock = clock
        self._settings = settings
        self._instrument = instrument
        self._group_metadata = group_metadata
        self._published = published
        self._words = Words(layout, settings)
        self._has_updates = any(isinstance(node, OnUpdate) for part in layout.topology.parts for node in part.nodes)
        self._epochs: dict[TopicPartition, int] = {}
        self._next = 0.0
        self._pace = Pace(settings)

    # ---- when

    def hurry(self) -> None:
        """What there is to commit is due now, whatever the interval says."""
        self._next = 0.0

    def within(self, wait: float) -> float:
        """How much of a wait for records is left until a commit is due."""
        if self._transaction.open or self._tasks.touched:  # in this order: of hundreds of tasks the touched one may be the last
            return max(0.0, min(wait, self._next - self._clock.monotonic()))
        return wait

    def commit_if_due(self) -> bool:
        """Whether there was something to commit, and it was its time."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        words = self._words.due(self._tasks.at_work(), now)
        if not words and not self._tasks.touched:
            return False
        self.commit(words)
        return True

    # ---- what

    def commit(self, words: Sequence[Word] = (), *, within_s: float | None = None) -> None:
        """Every task that wrote anything sends its offsets, also when none advanced (R1)."""
        told = {word.task for word in words}
        tasks = [task for task in self._tasks.at_work() if task.touched or task.id in told]
        self.remember_epochs(tasks)
        offsets: dict[TopicPartition, Committed] = {}
        stages = self._transaction.stages
        before = stages.enter(CHANGELOG)
        for task in tasks:
            if self._has_updates:
                stages.enter(UPDATES)
                task.tell_updates()
                stages.enter(CHANGELOG)
            for topic, (key, value) in task.changelog_records() if task.touched else ():
                self._transaction.produce(topic, value, key, task.id.partition)
            offsets |= task.offsets()
        self._words.produce(words, self._transaction)
        stages.enter(before)
        self._check_ownership()
        self._transaction.commit(offsets, self._group_metadata(), within_s)
        self._publish(tasks, offsets, words)

    def remember_epochs(self, tasks: Iterable[Task]) -> None:
        """R9: under which ownership the open transaction first touched the partitions of these tasks."""
        for task in tasks:
            for tp, epoch in self._assignment.epochs(task.inputs).items():
                self._epochs.setdefault(tp, epoch)

    def _check_ownership(self) -> None:
        """R9: brokers do not check that a member owns what it commits."""
        now = self._assignment.epochs(self._epochs)
        if now != self._epochs:
            moved = sorted(str(tp) for tp in self._epochs if now.get(tp) != self._epochs[tp])
            raise AbortableError(
                f"partitions changed hands during the transaction: {', '.join(moved)}", code="OWNERSHIP", call="commit"
            )

    def _publish(self, tasks: Sequence[Task], offsets: Mapping[TopicPartition, Committed], words: Sequence[Word]) -> None:
        now = self._clock.monotonic()
        for task in tasks:
            task.committed(offsets)
        self._words.committed(words, now)
        self._epochs.clear()
        # the first change after a pause is committed at once; under load commits keep their distance
        self._next = now + self._pace.pause_s(self._transaction.last_commit_s)
        seconds, records = self._transaction.last_commit_s, self._transaction.records
        self._instrument.event("commit", tasks=len(tasks), records=records, seconds=seconds)
        if seconds >= SLOW_S:
            self._instrument.event("commit-slow", tasks=len(tasks), records=records, seconds=round(seconds, 3))
        self._published(tasks)

    # ---- what is gone

    def forget(self, partitions: Iterable[TopicPartition], tasks: Iterable[Task]) -> None:
        """These went to another member, and nothing uncommitted has part in them any more."""
        for tp in partitions:
            self._epochs.pop(tp, None)
        for task in tasks:
            self._words.forget(task)

    def forget_all(self) -> None:
        self._epochs.clear()
        self._words.forget_all()
