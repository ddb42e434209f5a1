"""A task: one sub-topology for one partition number; the unit of state and of time.

States, and what moves them (the worker does; see worker.py):

    ASSIGNED ──positions and changelogs known──> RESTORING ──read to the end──> RUNNING ──end of its input──> ENDED
    RUNNING ──revoked with nothing uncommitted──> PARKED ──back, and nobody had it meanwhile──> RUNNING
    any ──revoked, lost, or the transaction was aborted──> gone (a new Task is made)
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamkit.errors import StateError
from streamkit.eventtime.inputs import InputState, TaskTime
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME, PartitionWatermark
from streamkit.kafka.client import Committed, Headers, RecordBatch, TopicPartition
from streamkit.operators.chain import Chain
from streamkit.operators.repartition import RepartitionReader, RepartitionWriter
from streamkit.plan import names
from streamkit.plan.fingerprint import fingerprint
from streamkit.plan.topology import SubTopology
from streamkit.record.batch import Batch
from streamkit.runtime import control
from streamkit.runtime.control import TaskWord
from streamkit.runtime.metadata import OffsetMetadata
from streamkit.state import time_record
from streamkit.state.blocks import shape_changed
from streamkit.state.changelog import BLOCK_KEY, BlockChangelog, ChangelogRecord
from streamkit.state.time_record import TimeRecord

Upstream = tuple[str, str, int]
"""A task in front of a repartition topic: (topic, sub-topology, partition). What it says through one says nothing of another."""

InputName = TopicPartition | Upstream


class TaskId(NamedTuple):
    sub_topology: str
    partition: int

    def __str__(self) -> str:
        return f"{self.sub_topology}/{self.partition}"


class TaskState(enum.Enum):
    ASSIGNED = "assigned"
    RESTORING = "restoring"
    RUNNING = "running"
    ENDED = "ended"
    PARKED = "parked"


TRANSITIONS = frozenset(
    {
        (TaskState.ASSIGNED, TaskState.RESTORING),
        (TaskState.RESTORING, TaskState.RUNNING),
        (TaskState.RUNNING, TaskState.ENDED),
        (TaskState.RUNNING, TaskState.PARKED),
        (TaskState.PARKED, TaskState.RUNNING),
    }
)


@dataclass(slots=True)
class InputPosition:
    """One input partition of a task. ``next_offset`` is the first record not processed; ``caught_up_at`` the offset at which the
    consumer last reported the end; ``end`` where a bounded input ends; ``last_data`` monotonic seconds, for idleness."""

    tp: TopicPartition
    next_offset: int = -1
    leader_epoch: int | None = None
    caught_up_at: int = -1
    end: int | None = None
    last_data: float = 0.0
    watermark: PartitionWatermark | None = None  # None for a repartition partition
    idle_after_ms: int | None = None

    @property
    def at_end(self) -> bool:
        return self.end is not None and max(self.next_offset, self.caught_up_at) >= self.end


@dataclass(slots=True)
class Task:
    """Operators, inputs, time and changelogs of one task. It knows nothing of transactions; the worker asks what to write."""

    id: TaskId
    sub: SubTopology
    app: str
    chain: Chain
    inputs: dict[TopicPartition, InputPosition]
    time: TaskTime[InputName]
    incarnation: str
    state: TaskState = TaskState.ASSIGNED
    touched: bool = False
    commits: int = 0
    last_committed: dict[TopicPartition, Committed] = field(default_factory=dict)  # by this task, or what it was restored from
    fired: int = NO_TIME  # the watermark up to which everything was fired; an end of input does not count
    changelogs: dict[str, BlockChangelog] = field(default_factory=dict)
    state_commit: int | None = None  # the last commit that wrote the changelogs
    found_commits: dict[str, int | None] = field(default_factory=dict)  # store -> the commit that its restored state is of
    found_blocks: dict[str, int | None] = field(default_factory=dict)  # store -> the blocks that there were with that commit
    advance_when_idle_ms: int | None = None  # see quiet.py
    keeps_time: bool = False  # a task without a store whose time is wanted downstream keeps a time record of its own

    def __post_init__(self) -> None:
        for name, operator in self.chain.aggregates.items():
            store = operator.store
            self.changelogs[name] = BlockChangelog(
                name, fingerprint(operator.node), store.accumulators, self.incarnation, shared_slots=store.shared_slots
            )

    def become(self, state: TaskState) -> None:
        if (self.state, state) not in TRANSITIONS:
            raise ValueError(f"task {self.id}: {self.state.value} cannot become {state.value}")
        self.state = state

    # ---- records

    def process(self, fetched: RecordBatch, now: float) -> int:
        """Runs what was fetched from one partition through the operators; gives the number of records taken."""
        position = self.inputs[fetched.tp]
        part = _until(fetched, position.end)
        if not len(part):
            return 0
        position.last_data = now
        self.touched = True  # first: what fails half-way has changed something, too
        reader = self.chain.readers[fetched.tp.topic]
        if isinstance(reader, RepartitionReader):
            batch = self._read_repartition(reader, part)
        else:
            assert position.watermark is not None  # noqa: S101 - every source partition has one
            batch = reader.read(part, position.watermark)
            if self.time.inputs[fetched.tp].state is InputState.IDLE:
                self.time.set_state(fetched.tp, InputState.ACTIVE)
        if batch is not None:
            reader.emit(batch)
        if position.watermark is not None:
            self.time.advance(fetched.tp, position.watermark.watermark)
        position.next_offset = part.next_offset
        position.leader_epoch = part.leader_epoch
        return len(part)

    def _read_repartition(self, reader: RepartitionReader, part: RecordBatch) -> Batch | None:
        """Data first, then what the control records among it say: later closing is always safe, earlier would not be."""
        headers = part.headers()
        marks = [index for index, found in enumerate(headers) if found is not None and control.is_control(found)]
        data: RecordBatch = part
        if marks:
            keep = np.delete(np.arange(len(part)), marks)
            data = _Selected(part, keep)
        batch = reader.read_part(data) if len(data) else None
        if marks:
            values, offsets = part.values(), part.offsets()
            words = [w for index in marks for w in control.decode(values[index], f"{part.tp}@{offsets[index]}")]
            if batch is not None:
                reader.emit(batch)
            self._hear(part.tp.topic, words)
            return None
        return batch

    def _hear(self, topic: str, words: list[TaskWord]) -> None:
        for word in words:
            name = (topic, word.sub_topology, word.partition)
            self.time.advance(name, word.frontier)
            known = self.time.inputs.get(name)
            if known is not None and known.state is not InputState.ENDED:
                self.time.set_state(name, InputState(word.state))

    # ---- time

    def advance(self) -> None:
        """Fires all that the task's time releases."""
        for tp, position in self.inputs.items():
            if position.watermark is not None and position.at_end and self.time.inputs[tp].state is not InputState.ENDED:
                self.time.set_state(tp, InputState.ENDED)
        watermark = self.time.watermark()
        if watermark == END_OF_TIME and self.state is TaskState.RUNNING:
            # How far time had come before the end was noticed depends on how batches were cut. The furthest input does not.
            self.touched = True
            self._fire(self.time.furthest)
            self.chain.advance(watermark)
            self.become(TaskState.ENDED)
        elif watermark != END_OF_TIME:
            self._fire(watermark)

    def _fire(self, watermark: int) -> None:
        if watermark > self.fired:
            self.touched = True
            self.chain.advance(watermark)
            self.fired = watermark

    def words(self) -> Iterator[tuple[RepartitionWriter, TaskWord]]:
        """What this task says of its time through each repartition topic. An end is a state, never a frontier."""
        state = self.time.state
        if self.state is TaskState.ENDED:
            state = InputState.ENDED
        elif state is InputState.ENDED:  # not fired yet
            state = InputState.ACTIVE
        for writer in self.chain.writers:
            yield writer, TaskWord(self.id.sub_topology, self.id.partition, writer.watermark, state.value)

    # ---- results of open windows

    def tell_due_updates(self, now: float) -> None:
        """Tells what `on_update(every=...)` has to tell by now, monotonic seconds."""
        for operator in self.chain.aggregates.values():
            for updates in operator.updates:
                if updates.is_due(now):
                    updates.tell(operator.progress.frontier, now)
                    self.touched = True

    def tell_updates(self) -> None:
        """What `on_update()` tells with each commit."""
        for operator in self.chain.aggregates.values():
            for updates in operator.updates:
                updates.committing(operator.progress.frontier)

    # ---- what a commit writes

    def offsets(self) -> dict[TopicPartition, Committed]:
        """The positions to commit, with the time of each partition (R18).

        Of a bounded input that has ended it is its end: transaction markers may lie between the last record and that.
        """
        ended = self.state is TaskState.ENDED
        number = self.commits + 1
        state_commit = number if self.touched else self.state_commit
        stores = tuple(self.stores())
        return {
            tp: Committed(
                position.next_offset if not ended or position.end is None else max(position.next_offset, position.end),
                OffsetMetadata(
                    NO_TIME if position.watermark is None else position.watermark.max_timestamp,
                    number,
                    ended,
                    state_commit,
                    position.end,
                    stores,
                    () if position.watermark is None else position.watermark.kept,
                ).encode(),
                position.leader_epoch,
            )
            for tp, position in self.inputs.items()
        }

    def changelog_records(self) -> Iterator[tuple[str, ChangelogRecord]]:
        """(changelog topic, record) for all that changed since the last commit."""
        inputs = [(*name, i.watermark) for name, i in self.time.inputs.items() if not isinstance(name, TopicPartition)]
        first = True
        for name, changelog in self.changelogs.items():
            operator = self.chain.aggregates[name]
            progress = operator.progress
            record = TimeRecord(
                changelog.fingerprint,
                progress.frontier,
                progress.closed_through,
                progress.max_timestamp,
                inputs if first else [],
                progress.late_records,
                self.commits + 1,
            )
            first = False
            topic = names.changelog_topic(self.app, name)
            for entry in changelog.collect(operator.store, record):
                yield topic, entry
        if self.keeps_time:
            record = TimeRecord("", self.fired, NO_TIME, NO_TIME, inputs, commit=self.commits + 1)
            yield names.changelog_topic(self.app, self.sub.reads[0].name), (time_record.KEY, time_record.encode(record))

    def committed(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """A transaction with these positions, this task's among them, was acknowledged."""
        self.commits += 1
        if self.touched:
            self.state_commit = self.commits
        self.touched = False
        self.last_committed = {tp: offsets[tp] for tp in self.inputs}

    def resume(self, now: float) -> None:
        """Goes on after it was parked, as after a restore: its time stands, but every input counts as active until it is proven
        idle, or says so again (R26), and its end is still to be reached."""
        self.become(TaskState.RUNNING)
        self.time.wake()
        for position in self.inputs.values():
            position.last_data = now
            position.caught_up_at = -1

    # ---- restore

    def changelog_topics(self) -> dict[str, str | None]:
        """Changelog topic -> name of its store (None: the task's own time record)."""
        topics: dict[str, str | None] = {names.changelog_topic(self.app, name): name for name in self.changelogs}
        if self.keeps_time:
            topics[names.changelog_topic(self.app, self.sub.reads[0].name)] = None
        return topics

    def stores(self) -> list[str]:
        """The owners of its changelogs."""
        return [*self.changelogs, *([self.sub.reads[0].name] if self.keeps_time else [])]

    def restored_state(self) -> dict[str, int | None]:
        """Store -> the commit that its state is of (0: there is none), for a task that has only just been restored."""
        return {store: self.found_commits.get(store, 0) for store in self.stores()} if self.state is TaskState.RESTORING else {}

    def restore(self, topic: str, key: bytes | None, value: bytes | None) -> int:
        """Folds one changelog record in, in offset order; gives the rows it held."""
        store = self.changelog_topics()[topic]
        if key == time_record.KEY:
            self._restore_time(store, time_record.decode(value or b"", topic))
            return 0
        if store is None or key is None or not key.startswith(BLOCK_KEY):
            raise StateError(
                f"a record with the key {key!r} is none of streamkit's: another program writes to this topic, which is the app's "
                "own. Stop it, and reset the app (streamkit reset): what else was written there is not known"
            )
        changelog, operator = self.changelogs[store], self.chain.aggregates[store]
        if value is None:
            changelog.forget(key)
            return 0
        return changelog.apply(operator.store, key, value)

    def _restore_time(self, store: str | None, record: TimeRecord) -> None:
        self.found_commits[store or self.sub.reads[0].name] = record.commit
        for topic, sub, partition, watermark in record.inputs:
            self.time.advance((topic, sub, partition), watermark)
        if store is None:
            self.time.restore(record.frontier)
            return
        if record.fingerprint != self.changelogs[store].fingerprint:
            raise shape_changed(store, record.fingerprint, self.changelogs[store].fingerprint)
        self.found_blocks[store] = record.blocks
        operator = self.chain.aggregates[store]
        operator.progress.frontier = record.frontier
        operator.progress.closed_through = record.closed_through
        operator.progress.max_timestamp = record.max_timestamp
        operator.progress.late_records = record.late

    def restored(self) -> None:
        """All changelogs were read: rows of windows that were closed are dropped by what was persisted (R25)."""
        for store, changelog in self.changelogs.items():
            changelog.refuse_gaps(self.found_blocks.get(store))
        for operator in self.chain.aggregates.values():
            operator.restored()
            self.time.restore(operator.progress.frontier)  # restored time stands, whoever was idle then

    @property
    def has_state(self) -> bool:
        """Whether anything came back from a changelog: an open or closed window, or the time of a task upstream."""
        heard = (i.watermark for name, i in self.time.inputs.items() if not isinstance(name, TopicPartition))
        return any(watermark != NO_TIME for watermark in heard) or any(
            op.progress.frontier != NO_TIME or len(op.store) for op in self.chain.aggregates.values()
        )


class _Selected:
    """Some records of a fetched batch."""

    def __init__(self, batch: RecordBatch, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        self._batch, self._at = batch, at
        self.tp = batch.tp
        self.leader_epoch = batch.leader_epoch

    def __len__(self) -> int:
        return len(self._at)

    def values(self) -> list[bytes | None]:
        values = self._batch.values()
        return [values[i] for i in self._at.tolist()]

    def keys(self) -> list[bytes | None]:
        keys = self._batch.keys()
        return [keys[i] for i in self._at.tolist()]

    def headers(self, at: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None) -> list[Headers | None]:
        return self._batch.headers(self._at if at is None else self._at[at])

    def offsets(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self._batch.offsets()[self._at]

    def timestamps(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self._batch.timestamps()[self._at]

    @property
    def first_offset(self) -> int:
        return int(self.offsets()[0])

    @property
    def next_offset(self) -> int:
        return int(self.offsets()[-1]) + 1


def _until(batch: RecordBatch, end: int | None) -> RecordBatch:
    """The records below a bounded input's end."""
    if end is None or batch.next_offset <= end:
        return batch
    return _Selected(batch, np.flatnonzero(batch.offsets() < end))
