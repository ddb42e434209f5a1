"""Tasks as Kafka holds them: from committed positions and changelogs, without a worker and without touching the group.

This is what a worker would restore, as of the last commits: time, and of the windows those of one key. Commits that are made
while it reads may be in one part and not yet in another; each part is one that was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import LostOffsetError, RecordError, RestoreError, RetriableError, StateError
from streamkit.kafka.client import Admin, Committed, KafkaClient, RecordBatch, TopicPartition
from streamkit.operators.refusals import Refusals
from streamkit.runtime.inspect import PartitionView
from streamkit.runtime.layout import Layout
from streamkit.runtime.metadata import OffsetMetadata
from streamkit.runtime.task import Task, TaskId
from streamkit.state import time_record
from streamkit.state.blocks import decode_block
from streamkit.state.changelog import BLOCK_KEY
from streamkit.state.key_index import exact_keys
from streamkit.state.window_store import Entries

_RECORDS = 100
_TRIES = 3
_LOOK_BACK = 32
"""So many offsets before a position are looked through for the last record: transaction markers lie between."""


class _Nowhere:
    """The output and the failures of tasks that process nothing."""

    refusals = Refusals()

    def produce_many(self, *args: Any, **options: Any) -> None:
        raise AssertionError("a task that is only looked at writes nothing")

    def flush(self) -> None:
        """Nothing was written."""

    def abort(self) -> None:
        """As above."""

    def reject(self, error: RecordError) -> None:
        raise error


class StoredTasks:
    """Reads tasks one by one; each is read once. ``keys`` are those whose windows are wanted; time is read in any case."""

    is_live = False

    def __init__(
        self, layout: Layout, client: KafkaClient, admin: Admin, clock: Clock, settings: EngineSettings, keys: Sequence[Any]
    ) -> None:
        self.layout = layout
        self._client = client
        self._admin = admin
        self._clock = clock
        self._timeout_s = settings.start_timeout_ms / 1000
        self._keys = keys
        self._committed = admin.group_offsets(layout.topology.plan.app, self._timeout_s)
        self._tasks: dict[TaskId, Task] = {}
        self._written: dict[TaskId, int] = {}
        self._partitions: dict[TopicPartition, PartitionView] = {}

    @property
    def has_run(self) -> bool:
        """Whether the app has ever committed anything on this cluster."""
        return bool(self._committed)

    def has_ended(self, task: Task) -> bool:
        return all(_metadata(self._committed.get(tp)).ended for tp in task.inputs)

    def committed_ms(self, task_id: TaskId) -> int | None:
        return self._written.get(task_id)

    def task(self, task_id: TaskId) -> Task:
        """As it was committed last. `RestoreError`: its changelogs are not what this app wrote."""
        found = self._tasks.get(task_id)
        if found is None:
            nowhere = _Nowhere()
            found = self._tasks[task_id] = self.layout.task(task_id, nowhere, nowhere, "looked-at")
            self._read_changelogs(found)
            self._take_up(found)
        return found

    def _take_up(self, task: Task) -> None:
        for tp, position in task.inputs.items():
            committed = self._committed.get(tp)
            position.next_offset = -1 if committed is None else committed.offset
            if position.watermark is not None:
                kept = _metadata(committed)
                position.watermark.restore(kept.max_timestamp, kept.watermark)
                task.time.advance(tp, position.watermark.watermark)
        task.fired = max((op.progress.frontier for op in task.chain.aggregates.values()), default=task.time.watermark())

    # ---- changelogs

    def _read_changelogs(self, task: Task) -> None:
        where = [TopicPartition(topic, task.id.partition) for topic in task.changelog_topics()]
        if where:
            known = self._admin.describe_topics([tp.topic for tp in where], self._timeout_s)
            starts = self._admin.start_offsets([tp for tp in where if known[tp.topic] is not None], self._timeout_s)
            for batch in self._read(starts):
                self._fold(task, batch)
        for operator in task.chain.aggregates.values():
            operator.restored()
            task.time.restore(operator.progress.frontier)

    def _fold(self, task: Task, batch: RecordBatch) -> None:
        for index, (key, value) in enumerate(zip(batch.keys(), batch.values(), strict=True)):
            try:
                if key == time_record.KEY:
                    task.restore(batch.tp.topic, key, value)
                    self._written[task.id] = max(self._written.get(task.id, 0), int(batch.timestamps()[index]))
                elif value is not None and key is not None and key.startswith(BLOCK_KEY):
                    self._load(task, batch.tp.topic, value)
            except StateError as error:
                raise RestoreError(f"{batch.tp}@{batch.offsets()[index]}: {error}") from error

    def _load(self, task: Task, topic: str, value: bytes) -> None:
        """The rows of the wanted keys: so a look takes no more memory than the answer, however large the state is."""
        store = task.changelog_topics()[topic]
        if store is None or not self._keys:
            return
        changelog, operator = task.changelogs[store], task.chain.aggregates[store]
        for entries in decode_block(value, changelog.fingerprint, changelog.accumulators, store):
            at = _positions(entries, self._keys)
            if len(at):
                keys = [entries.keys[i] for i in at.tolist()] if isinstance(entries.keys, list) else entries.keys[at]
                operator.store.load(Entries(entries.pane, keys, [[cell[at] for cell in cells] for cells in entries.cells]))

    # ---- partitions

    def partition(self, task: Task, tp: TopicPartition) -> PartitionView:
        if tp not in self._partitions:
            self._partitions |= look_into(
                self._client, self._admin, self._clock, {tp: p.next_offset for tp, p in task.inputs.items()}, self._timeout_s
            )
        return self._partitions[tp]

    def _read(self, positions: Mapping[TopicPartition, int]) -> Iterable[RecordBatch]:
        """All committed records up to the present ends."""
        yield from _read(self._client, self._clock, positions, self._timeout_s, lambda _: False)


def look_into(
    client: KafkaClient, admin: Admin, clock: Clock, positions: Mapping[TopicPartition, int], timeout_s: float
) -> dict[TopicPartition, PartitionView]:
    """What lies behind and in front of these positions (-1: nothing was read yet). That records wait is proven by reading one:
    ends and lags count control records, too."""
    for _ in range(_TRIES):
        with suppress(LostOffsetError):  # a worker has purged its repartition topic meanwhile
            return _look_once(client, admin, clock, positions, timeout_s)
    return _look_once(client, admin, clock, positions, timeout_s)


def _look_once(
    client: KafkaClient, admin: Admin, clock: Clock, positions: Mapping[TopicPartition, int], timeout_s: float
) -> dict[TopicPartition, PartitionView]:
    starts = admin.start_offsets(list(positions), timeout_s)
    ends = admin.end_offsets(list(positions), timeout_s)
    at = {tp: max(position, starts[tp]) for tp, position in positions.items()}
    waits: set[TopicPartition] = set()
    written: dict[TopicPartition, int] = {}

    def seen(batch: RecordBatch) -> bool:
        before = batch.offsets() < at[batch.tp]
        if before.any():
            written[batch.tp] = int(batch.timestamps()[before][-1])
        if not before.all():
            waits.add(batch.tp)
        return batch.tp in waits

    first = {tp: max(starts[tp], offset - _LOOK_BACK) for tp, offset in at.items()}
    for _ in _read(client, clock, first, timeout_s, seen):
        pass
    return {
        tp: PartitionView(offset, max(1, ends[tp] - offset) if tp in waits else 0, written.get(tp)) for tp, offset in at.items()
    }


def _read(
    client: KafkaClient,
    clock: Clock,
    positions: Mapping[TopicPartition, int],
    timeout_s: float,
    enough: Callable[[RecordBatch], bool],
) -> Iterable[RecordBatch]:
    """Committed records of each partition, up to its present end or until there are ``enough(batch)``."""
    left = dict(positions)
    reader = client.reader()
    try:
        deadline = clock.monotonic() + timeout_s
        reader.assign(left)
        while left:
            polled = reader.poll(_RECORDS, 0.2)
            for batch in polled.batches:
                if batch.tp in left:
                    deadline = clock.monotonic() + timeout_s
                    yield batch
                    if enough(batch):
                        del left[batch.tp]
            for tp in polled.ends:
                left.pop(tp, None)
            if left and clock.monotonic() > deadline:
                waiting = ", ".join(map(str, left))
                raise RetriableError(
                    f"no answer within {timeout_s:.0f} s while reading {waiting}", code="_TIMED_OUT", call="poll"
                )
    finally:
        reader.close()


def _positions(entries: Entries, keys: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where these keys are among the rows."""
    if not isinstance(entries.keys, list):
        numbers = [key for key in keys if type(key) is int]
        return np.flatnonzero(np.isin(entries.keys, numbers))
    wanted = {exact_keys([key])[0] for key in keys}
    return np.array([i for i, key in enumerate(exact_keys(entries.keys)) if key in wanted], np.int64)


def _metadata(committed: Committed | None) -> OffsetMetadata:
    return (OffsetMetadata.decode(committed.metadata) if committed is not None else None) or OffsetMetadata()
