"""Reads changelogs back into tasks, in bounded slices between polls (R12-R14).

Order: the stable committed offsets were read before; then the changelogs' high watermarks are taken as the end; then committed
records are read until the position has passed that end, control records included. A transaction that is still open holds
reading up below the end; past a deadline without progress the restore fails closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamkit.clock import Clock
from streamkit.errors import LostOffsetError, RestoreError, RestoreStalledError, RetriableError, StateError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, KafkaClient, Reader, RecordBatch, TopicPartition
from streamkit.runtime.task import Task

_SLICE_RECORDS = 100  # blocks are up to 800 KB each
_SLICES_PER_STEP = 8
_REPORT_EVERY_S = 1.0
_ASK_FOR_S = 2.0
"""A question to a broker that has just died is answered by its successor only when it is asked again."""


@dataclass(slots=True)
class _Progress:
    task: Task
    position: int
    end: int
    start: int


class Restore:
    """Restores a set of tasks together; `step` does one slice and says whether all is done."""

    def __init__(
        self, tasks: Sequence[Task], client: KafkaClient, admin: Admin, clock: Clock, stall_s: float, instrument: Instrument
    ) -> None:
        self.tasks = tuple(tasks)
        self._clock = clock
        self._stall_s = stall_s
        self._kafka = client.describe()
        self._instrument = instrument
        self._started = self._moved = self._reported = clock.monotonic()
        self.rows = 0
        self.records = 0
        self._progress = self._bounds(tasks, admin)
        self._total = sum(p.end - p.start for p in self._progress.values())
        self._reader: Reader | None = None
        if self._pending():
            self._reader = client.reader()
            self._reader.assign({tp: p.position for tp, p in self._progress.items() if p.position < p.end})

    @staticmethod
    def _bounds(tasks: Sequence[Task], admin: Admin) -> dict[TopicPartition, _Progress]:
        where = {TopicPartition(topic, task.id.partition): task for task in tasks for topic in task.changelog_topics()}
        starts = admin.start_offsets(list(where), _ASK_FOR_S) if where else {}
        ends = admin.end_offsets(list(where), _ASK_FOR_S) if where else {}
        return {tp: _Progress(task, starts[tp], ends[tp], starts[tp]) for tp, task in where.items()}

    def _pending(self) -> list[TopicPartition]:
        return [tp for tp, p in self._progress.items() if p.position < p.end]

    def so_far(self, task: Task) -> dict[str, Any]:
        """How far the changelogs of a task are read, for a log: in percent of all, and each."""
        own = [(tp, p, min(p.position, p.end)) for tp, p in self._progress.items() if p.task is task]
        total, left = sum(p.end - p.start for _, p, _ in own), sum(p.end - at for _, p, at in own)
        return {
            "percent": 100 * (total - left) // total if total else 100,
            "changelogs": [{"changelog": str(tp), "position": at, "end": p.end} for tp, p, at in own],
        }

    def step(self, timeout: float) -> bool:
        """Reads a bounded amount; True when every changelog was read to its end."""
        for _ in range(_SLICES_PER_STEP):
            if not self._pending():
                self._finish()
                return True
            if not self._read(timeout):
                break
        self._report()
        return False

    def _read(self, timeout: float) -> bool:
        assert self._reader is not None  # noqa: S101 - something is pending
        try:
            polled = self._reader.poll(_SLICE_RECORDS, timeout)
        except RetriableError:
            self._check_stall()
            return False
        except LostOffsetError as error:
            read = ", ".join(f"{tp} at {self._progress[tp].position} of {self._progress[tp].end}" for tp in self._pending())
            raise RestoreError(
                f"a changelog was cut off or made anew while it was read ({read}): {error}. What it held is lost: reset the app "
                "(streamkit reset), so that positions and state start anew together"
            ) from error
        for batch in polled.batches:
            progress = self._progress.get(batch.tp)
            if progress is None or progress.position >= progress.end:
                continue
            self._take(progress.task, batch)
            self.records += len(batch)
            progress.position = max(progress.position, batch.next_offset)
        for tp, end in polled.ends.items():  # by position: the last records of a log may be markers that nobody is given (R14)
            if tp in self._progress:
                self._progress[tp].position = max(self._progress[tp].position, end)
        if polled.batches:
            self._moved = self._clock.monotonic()
            return True
        self._check_stall()
        return False

    def _take(self, task: Task, batch: RecordBatch) -> None:
        for index, (key, value) in enumerate(zip(batch.keys(), batch.values(), strict=True)):
            try:
                self.rows += task.restore(batch.tp.topic, key, value)
            except StateError as error:
                raise RestoreError(f"{batch.tp}@{batch.offsets()[index]}: {error}") from error

    def _check_stall(self) -> None:
        waited = self._clock.monotonic() - self._moved
        if waited > self._stall_s:
            pending = self._pending()
            stuck = ", ".join(f"{tp} at {self._progress[tp].position} of {self._progress[tp].end}" for tp in pending)
            first = pending[0]
            where = f"--topic {first.topic} --partition {first.partition}"
            tool = f"kafka-transactions.sh --bootstrap-server {self._kafka}"
            raise RestoreStalledError(
                f"restore made no progress for {waited:.0f} s: {stuck}. A transaction that was left open there holds it up. "
                f"`{tool} describe-producers {where}` shows the producer id (the one with a CurrentTransactionStartOffset of "
                f"{self._progress[first].position} or less); if nothing runs that could end it, `{tool} abort {where} "
                f"--start-offset N` with that offset does"
            )

    def _report(self) -> None:
        now = self._clock.monotonic()
        if now - self._reported < _REPORT_EVERY_S:
            return
        self._reported = now
        done = sum(p.position - p.start for p in self._progress.values())
        rate = done / max(now - self._started, 1e-9)
        self._instrument.event(
            "restoring",
            tasks=[str(task.id) for task in self.tasks],
            percent=round(100 * done / max(self._total, 1)),
            records=self.records,
            rows=self.rows,
            records_per_s=round(rate),
            eta_s=round((self._total - done) / rate, 1) if rate else None,
        )

    def _finish(self) -> None:
        for task in self.tasks:
            task.restored()
        seconds = self._clock.monotonic() - self._started
        if self._total:
            self._instrument.event("restored", records=self.records, rows=self.rows, seconds=round(seconds, 3))
        self.close()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
