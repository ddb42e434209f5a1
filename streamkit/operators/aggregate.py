"""What all windowed aggregations have in common: inputs, late records, the order of closing, result rows.

Late is decided per record by its own source partition: a record is late for a window iff the watermark of its own partition
*before it* had passed the window's end + grace. The task's own time is never ahead of any active input, so a record that is not
late finds its window open; after an idle input comes back this may fail, and then the record is late as well
(`closed_through`). How windows are kept is what `window_aggregate.py` (panes) and `session_aggregate.py` add.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamkit.errors import AggregateError
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from streamkit.operators.aggregate_inputs import AggregateInputs
from streamkit.operators.late import closed_by, reasons
from streamkit.operators.operator import Failures, Operator, PassOn, place
from streamkit.operators.updates import Telling
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch, DerivedOrigin
from streamkit.record.columns import Column, column_from, repeated
from streamkit.record.schema import Field, Kind
from streamkit.state.accumulators import CannotGiveError, HasCells
from streamkit.state.changelog import BlockStore
from streamkit.state.key_index import Keys
from streamkit.state.window_store import Entries

Int64s = npt.NDArray[np.int64]

EMIT_ROWS = 20_000
"""Rows of a closed window handed on at once: values and the client's copies stay in the processor's cache."""


@dataclass(slots=True)
class Progress:
    """How far an aggregation's time has come: what the time record of its changelog holds."""

    frontier: int = NO_TIME
    closed_through: int = NO_TIME
    max_timestamp: int = NO_TIME
    late_records: int = 0
    most_lateness_ms: int = 0  # of those since it was last told; not stored


class Store(BlockStore, Protocol):
    """The state of an aggregation, as far as this module goes."""

    @property
    def accumulators(self) -> Sequence[HasCells]: ...
    def drop_through(self, window_end: int) -> None:
        """Forgets what no window after this one needs."""
        ...

    def results(self, entries: Entries) -> list[Column]: ...


class AggregateOperator(Operator):
    """One aggregation in one task. Results leave by `on_close` and `updates`, late records by `late`."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__()
        self.node = node
        self.window = node.window
        self.on_close = PassOn()
        self.late = PassOn()
        self.updates: list[Telling] = []
        self.progress = Progress()
        self._failures = failures
        self._label = node.name
        self._schema = node.schema  # derived anew whenever it is asked for, as all of these
        self._has_bounds = bool(node.bounds)
        self._names = (*node.bounds, *node.outputs)
        self._key_columns = [*zip(node.key.key_columns, (field.kind for field in node.key.key_fields), strict=True)]
        self._inputs = AggregateInputs(node, failures)
        self.accumulators = self._inputs.accumulators
        self._last_place: tuple[tuple[str, int], int] = (("", -1), -1)

    @property
    @abstractmethod
    def store(self) -> Store: ...

    @abstractmethod
    def _add(self, batch: Batch, columns: dict[str, Column], pane_ends: Int64s, since: Int64s | None) -> None:
        """Adds records that are not late."""

    @abstractmethod
    def _close_through(self, watermark: int) -> None:
        """Closes every window that the watermark has passed, oldest first."""

    def on_update(self, *, every_ms: int | None, per_record: bool) -> Telling:
        """A further output: results of windows that are still open."""
        raise NotImplementedError

    @abstractmethod
    def _open_windows(self) -> Iterator[Entries]: ...

    @abstractmethod
    def _bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        """Start and end of the window of each row, milliseconds."""

    # ---- records

    def process(self, batch: Batch) -> None:
        # The end of what was fetched: to look up the offset of a record takes those of all of them, at 30 ns each.
        self._last_place = (batch.origin.tp, batch.origin.next_offset - 1)
        self.progress.max_timestamp = max(self.progress.max_timestamp, int(batch.timestamps.max()))
        pane_ends = self.window.pane_ends(batch.timestamps)
        batch, pane_ends, since = self._without_late(batch, pane_ends)
        if not len(batch):
            return
        columns, kept = self._inputs.columns(batch)
        if kept is not None:
            batch, pane_ends, since = batch.take(kept), pane_ends[kept], None if since is None else since[kept]
        self._add(batch, columns, pane_ends, since)

    def _without_late(self, batch: Batch, pane_ends: Int64s) -> tuple[Batch, Int64s, Int64s | None]:
        """The records that count somewhere, with their panes; and the first windows of those panes in which they do, where that
        is not the first for all."""
        open_end = self._first_open_end()
        first_ends = self.window.first_window_end(pane_ends)
        is_open = int(first_ends.min()) >= open_end
        if batch.watermarks is None and is_open:
            return batch, pane_ends, None
        first_open: Int64s = repeated(open_end, len(batch))
        if batch.watermarks is not None:
            first_open = np.maximum(self.window.first_open_end(batch.watermarks), first_open)
        if is_open and bool((first_ends >= first_open).all()):
            return batch, pane_ends, None
        last_ends = self.window.last_window_end(pane_ends)
        since = np.maximum(first_ends, first_open)
        late = since > last_ends
        if bool(late.any()):
            self._emit_late(batch.take(np.flatnonzero(late)), last_ends[late])
            kept = np.flatnonzero(~late)
            batch, pane_ends, since = batch.take(kept), pane_ends[kept], since[kept]
        return (batch, pane_ends, since) if self.window.overlaps else (batch, since, None)

    def _first_open_end(self) -> int:
        through = self.progress.closed_through
        return NO_TIME if through == NO_TIME else self.window.next_end(through)

    def _emit_late(self, late: Batch, last_ends: Int64s) -> None:
        watermarks, lateness_ms = closed_by(late, last_ends, self.window, self.progress.frontier)
        self.progress.late_records += len(late)
        self.progress.most_lateness_ms = max(self.progress.most_lateness_ms, int(lateness_ms.max()))
        if self.late.behind:
            self.late.process(late.with_added_headers(reasons(last_ends, watermarks, lateness_ms)))

    def _in_order(self, columns: dict[str, Column], batch: Batch) -> list[Column | None]:
        """The input of each accumulator, with the times for those that look at them."""
        return self._inputs.of(columns, batch.timestamps)

    def _reject(self, batch: Batch, index: int, reason: str) -> None:
        text = f"cannot add to the aggregate of key {_shown(batch.keys[index])}: {reason}"
        self._failures.reject(AggregateError(text, **place(batch, index, self._label)))

    # ---- time

    def advance(self, watermark: int) -> int:
        """Closes every window that the watermark has passed; passes on W - grace."""
        progress = self.progress
        if watermark <= progress.frontier:
            return self._passed_on(progress.frontier)
        before = progress.frontier
        if watermark != END_OF_TIME:
            progress.frontier = watermark
        for updates in self.updates:
            updates.passing(before, watermark)
        self._close_through(watermark)
        if watermark != END_OF_TIME:
            passed = self.window.previous_end(int(self.window.first_open_end(np.array([watermark]))[0]))
            progress.closed_through = max(progress.closed_through, passed)
        return self._passed_on(watermark)

    def _passed_on(self, watermark: int) -> int:
        """A watermark below every result that may still come."""
        return watermark if watermark in (NO_TIME, END_OF_TIME) else watermark - self.window.grace_ms

    def restored(self) -> None:
        """The state was read back: rows of windows that were closed are dropped by what was persisted (R25)."""
        self.store.drop_through(self.progress.closed_through)
        for updates in self.updates:
            updates.restored(self._first_open_end())

    # ---- results

    def _emit_results(self, entries: Entries) -> None:
        if not self.on_close.behind:
            return
        for batch in self._result_batches(entries):
            self.on_close.process(batch)

    def open_results(self) -> Iterator[Batch]:
        """What the open windows would give if they closed now, oldest first; for looking at."""
        for entries in self._open_windows():
            yield from self._result_batches(entries, to_look_at=True)

    def _results(self, entries: Entries, *, to_look_at: bool) -> tuple[Entries, list[Column]]:
        """Of the rows that have one. The others are `on_error`'s: left out one by one, or the end of the service."""
        while True:
            try:
                return entries, self.store.results(entries)
            except CannotGiveError as error:
                if not to_look_at:
                    self._reject_result(entries, error)
                entries = entries.take(np.delete(np.arange(len(entries)), error.index))

    def _reject_result(self, entries: Entries, error: CannotGiveError) -> None:
        start_ms, end_ms = (int(bound[error.index]) for bound in self._bounds(entries))
        (topic, partition), offset = self._last_place
        text = (
            f"the result of key {_shown(entries.keys[error.index])} in the window from {start_ms} to {end_ms} (milliseconds) "
            f"cannot be had: {error.reason}"
        )
        self._failures.reject(AggregateError(text, topic=topic, partition=partition, offset=offset, operator=self._label))

    def _event_times(self, entries: Entries, end_ms: Int64s) -> Int64s:  # noqa: ARG002 - of windows that time closes, all the same
        """Of the results. Behind the frontier, always: what is downstream has closed all that the frontier had passed."""
        return np.minimum(end_ms - 1, max(self.progress.max_timestamp, self.progress.frontier + 1))

    def _result_batches(self, entries: Entries, *, to_look_at: bool = False) -> Iterator[Batch]:
        entries, results = self._results(entries, to_look_at=to_look_at)
        start_ms, end_ms = self._bounds(entries)
        columns = self._of_keys(entries.keys)
        bounds = [Column(_micros(instants), None, Kind.DATETIME) for instants in (start_ms, end_ms)] if self._has_bounds else []
        columns |= zip(self._names, [*bounds, *results], strict=True)
        timestamps = self._event_times(entries, end_ms)
        for start in range(0, len(entries), EMIT_ROWS):
            if start or len(entries) > EMIT_ROWS:
                part = slice(start, start + EMIT_ROWS)
                of_part = {name: _slice(column, part) for name, column in columns.items()}
                yield self._result_batch(timestamps[part], of_part, entries.keys[part])
            else:
                yield self._result_batch(timestamps, columns, entries.keys)

    def _result_batch(self, timestamps: Int64s, columns: dict[str, Column], keys: Keys) -> Batch:
        return Batch(DerivedOrigin(*self._last_place, len(keys)), self._schema, timestamps, columns=columns, keys=keys)

    def _of_keys(self, keys: Keys) -> dict[str, Column]:
        if not self._key_columns:
            return {}
        if not isinstance(keys, list):
            return {self._key_columns[0][0]: Column(keys, None, Kind.INT)}
        parts = [keys] if len(self._key_columns) == 1 else [[key[part] for key in keys] for part in range(len(self._key_columns))]
        return {
            name: column_from(part, name, Field(kind, nullable=True))
            for part, (name, kind) in zip(parts, self._key_columns, strict=True)
        }


def _shown(key: Any) -> str:
    """As Python has it, also of an int key, which is one of numpy's."""
    return repr(key.item() if isinstance(key, np.generic) else key)


def _micros(instants: Int64s) -> Int64s:
    """Of milliseconds. One instant for all rows stays one: it is then encoded once, not for every row (60 ns)."""
    if len(instants) and instants.strides == (0,):
        return repeated(int(instants[0]) * 1000, len(instants))
    return instants * 1000


def _slice(column: Column, part: slice) -> Column:
    return Column(column.values[part], None if column.valid is None else column.valid[part], column.kind)
