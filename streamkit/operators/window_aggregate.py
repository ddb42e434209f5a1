"""Windowed aggregation over panes: adds records to them, closes windows as the watermark passes.

Late is decided per record by its own source partition: a record is late for a window iff the watermark of its own partition
*before it* had passed the window's end + grace. A record that is late for its first windows but not for all counts in the others:
cumulating, it goes into the pane of the first window for which it is not late; hopping, into a pane of its own
(`PaneId.since`). The task's own time is never ahead of any active input, so a record that is not late finds its window open;
after an idle input comes back this may fail, and then the record is late as well (`closed_through`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from streamkit.errors import AggregateError
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from streamkit.eventtime.windows import CumulatingWindow, HoppingWindow, Window
from streamkit.operators.evaluate import Evaluator
from streamkit.operators.operator import Failures, Operator, PassOn, place
from streamkit.operators.updates import RESULT_HEADER, Updates
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch, DerivedOrigin
from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import Accumulator, CannotAddError, CannotMergeError
from streamkit.state.functions import accumulator
from streamkit.state.key_index import Keys
from streamkit.state.ordered import ByTime, Collect, TimedColumn
from streamkit.state.overlapping import OverlappingTotals
from streamkit.state.window_store import Entries, PaneId, WindowStore

Int64s = npt.NDArray[np.int64]

LATE_HEADER = "streamkit-late"
"""Header of a late record: JSON with the end of its last window and the watermark that had passed it, in milliseconds."""

EMIT_ROWS = 20_000
"""Rows of a closed window handed on at once: values and the client's copies stay in the processor's cache."""


@dataclass(slots=True)
class Progress:
    """How far an aggregation's time has come: what the time record of its changelog holds."""

    frontier: int = NO_TIME
    closed_through: int = NO_TIME
    max_timestamp: int = NO_TIME
    late_records: int = 0


class WindowAggregateOperator(Operator):
    """One aggregation in one task. Results leave by `on_close`, late records by `late`."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__()
        self.node = node
        self.window = node.window
        self.on_close = PassOn()
        self.late = PassOn()
        self.updates: list[Updates] = []
        self.progress = Progress()
        self._failures = failures
        self._label = node.name
        self._schema = node.schema  # derived anew whenever it is asked for
        schema = node.keyed.schema
        inputs = {name: agg.input for name, agg in node.outputs.items() if agg.input is not None}
        self._inputs = Evaluator(inputs, schema, node.name, failures)
        fields = {name: agg.input_field(schema) for name, agg in node.outputs.items()}
        self.accumulators = [
            accumulator(agg.function.value, fields[name].kind, nullable=fields[name].nullable, options=agg.options)
            for name, agg in node.outputs.items()
        ]
        self._timed = [isinstance(acc, ByTime | Collect) for acc in self.accumulators]
        self.store, self._totals = _store(self.accumulators, node.window)
        self._last_place: tuple[tuple[str, int], int] = (("", -1), -1)

    def on_update(self, *, every_ms: int | None, per_record: bool) -> Updates:
        """A further output: results of windows that are still open."""
        updates = Updates(self.store, self.window, self._emit_update, every_ms=every_ms, per_record=per_record)
        self.updates.append(updates)
        return updates

    # ---- records

    def process(self, batch: Batch) -> None:
        # The end of what was fetched: to look up the offset of a record takes those of all of them, at 30 ns each.
        self._last_place = (batch.origin.tp, batch.origin.next_offset - 1)
        self.progress.max_timestamp = max(self.progress.max_timestamp, int(batch.timestamps.max()))
        pane_ends = self.window.pane_ends(batch.timestamps)
        batch, pane_ends, since = self._without_late(batch, pane_ends)
        if len(batch):
            self._add(batch, pane_ends, since)

    def _without_late(self, batch: Batch, pane_ends: Int64s) -> tuple[Batch, Int64s, Int64s | None]:
        """The records that count somewhere, with their panes; and the first windows of those panes in which they do, where that
        is not the first for all."""
        first_open: Int64s = np.broadcast_to(np.int64(self._first_open_end()), len(batch))
        if batch.watermarks is not None:
            first_open = np.maximum(self.window.first_open_end(batch.watermarks), first_open)
        first_ends = self.window.first_window_end(pane_ends)
        if bool((first_ends >= first_open).all()):
            return batch, pane_ends, None
        last_ends = self.window.last_window_end(pane_ends)
        since = np.maximum(first_ends, first_open)
        late = since > last_ends
        if bool(late.any()):
            self._emit_late(batch.take(np.flatnonzero(late)), last_ends[late], first_open[late])
            kept = np.flatnonzero(~late)
            batch, pane_ends, since = batch.take(kept), pane_ends[kept], since[kept]
        return (batch, pane_ends, since) if self.window.overlaps else (batch, since, None)

    def _first_open_end(self) -> int:
        through = self.progress.closed_through
        return NO_TIME if through == NO_TIME else self.window.next_end(through)

    def _emit_late(self, late: Batch, last_ends: Int64s, first_open: Int64s) -> None:
        self.progress.late_records += len(late)
        if not self.late.behind:
            return
        headers = [
            [(LATE_HEADER, msgspec.json.encode({"window_end": end, "first_open_window_end": first}))]
            for end, first in zip(last_ends.tolist(), first_open.tolist(), strict=True)
        ]
        self.late.process(late.with_added_headers(headers))  # type: ignore[arg-type]

    def _add(self, batch: Batch, pane_ends: Int64s, since: Int64s | None) -> None:
        columns, kept = self._inputs.columns(batch)
        if kept is not None:
            batch, pane_ends, since = batch.take(kept), pane_ends[kept], None if since is None else since[kept]
        step = 1 if any(updates.per_record for updates in self.updates) else max(len(batch), 1)
        for start in range(0, len(batch), step):
            at = np.arange(start, min(start + step, len(batch)))
            if step == len(batch):
                self._add_at_once(batch, pane_ends, since, columns)
                return
            part = {name: column.take(at) for name, column in columns.items()}
            self._add_at_once(batch.take(at), pane_ends[at], None if since is None else since[at], part)

    def _add_at_once(self, batch: Batch, pane_ends: Int64s, since: Int64s | None, columns: dict[str, Column]) -> None:
        while len(batch):
            try:
                changed = self.store.update(pane_ends, since, batch.keys, self._columns(columns, batch))
            except CannotAddError as error:
                self._reject(batch, error)
                left = np.delete(np.arange(len(batch)), error.index)
                batch, pane_ends, since = batch.take(left), pane_ends[left], None if since is None else since[left]
                columns = {name: column.take(left) for name, column in columns.items()}
            else:
                self._changed(changed)
                return

    def _changed(self, panes: list[tuple[PaneId, Keys]]) -> None:
        for updates in self.updates:
            for pane, keys in panes:
                updates.changed(pane, keys)
            if updates.per_record:
                updates.tell(self.progress.frontier, 0.0)

    def _columns(self, columns: dict[str, Column], batch: Batch) -> list[Column | None]:
        """The input of each accumulator, with the times for those that look at them."""
        inputs = [columns.get(name) for name in self.node.outputs]
        return [
            TimedColumn(column.values, column.valid, column.kind, batch.timestamps) if timed and column is not None else column
            for column, timed in zip(inputs, self._timed, strict=True)
        ]

    def _reject(self, batch: Batch, error: CannotAddError) -> None:
        key = batch.keys[error.index]
        reason = f"cannot add to the aggregate of key {key!r}: {error.reason}"
        self._failures.reject(AggregateError(reason, **place(batch, error.index, self._label)))

    # ---- time

    def advance(self, watermark: int) -> int:
        """Closes every window that the watermark has passed, oldest first; passes on W - grace."""
        progress = self.progress
        if watermark <= progress.frontier:
            return self._passed_on(progress.frontier)
        before = progress.frontier
        if watermark != END_OF_TIME:
            progress.frontier = watermark
        for updates in self.updates:
            updates.passing(before, watermark)
        while (end := self._next_end()) is not None and self.window.closes_at(end) <= watermark:
            try:
                self._close(end)
            except CannotMergeError as error:  # no single record is at fault: panes are, so this cannot be skipped
                (topic, partition), offset = self._last_place
                reason = f"the total of key {error.key!r} over several panes cannot be had: {error.reason}"
                raise AggregateError(reason, topic=topic, partition=partition, offset=offset, operator=self._label) from error
            progress.closed_through = max(progress.closed_through, end)
        if watermark != END_OF_TIME:
            passed = self.window.previous_end(int(self.window.first_open_end(np.array([watermark]))[0]))
            progress.closed_through = max(progress.closed_through, passed)
        return self._passed_on(watermark)

    def _passed_on(self, watermark: int) -> int:
        """A watermark below every result that may still come."""
        return watermark if watermark in (NO_TIME, END_OF_TIME) else watermark - self.window.grace_ms

    def _next_end(self) -> int | None:
        """The end of the next window to close, of those in which anything counts."""
        first = self.store.first_window_end
        if first is None or self.progress.closed_through == NO_TIME:
            return first
        return max(first, self.window.next_end(self.progress.closed_through)) if self.window.overlaps else first

    def _close(self, end: int) -> None:
        for updates in self.updates:
            updates.closing(end)
        if self._totals is not None:
            entries = self._totals.window(end)
            if entries is not None:
                self._emit_results(entries)
            self.store.drop_through(end)
            return
        entries = self.store.close(end)
        if entries is None:
            return
        self._emit_results(entries)
        if isinstance(self.window, CumulatingWindow) and not self.window.ends_span(end):
            self.store.roll(entries, self.window.next_end(end))

    def _emit_results(self, entries: Entries) -> None:
        if not self.on_close.behind:
            return
        for batch in self._result_batches(entries, self._event_time(entries)):
            self.on_close.process(batch)

    def _emit_update(self, updates: Updates, entries: Entries, kind: str) -> None:
        header = [(RESULT_HEADER, kind.encode())]
        for batch in self._result_batches(entries, self._event_time(entries)):
            updates.process(batch.with_added_headers([header] * len(batch)))  # type: ignore[list-item]

    def _event_time(self, entries: Entries) -> int:
        """Behind the frontier, always: what is downstream has closed all that the frontier had passed."""
        return min(entries.pane.end - 1, max(self.progress.max_timestamp, self.progress.frontier + 1))

    def restored(self) -> None:
        """The state was read back: rows of windows that were closed are dropped by what was persisted (R25)."""
        self.store.drop_through(self.progress.closed_through)
        for updates in self.updates:
            updates.restored(self._first_open_end())

    def open_results(self) -> Iterator[Batch]:
        """What the open windows would give if they closed now, oldest first; for looking at."""
        for entries in self._open_windows():
            yield from self._result_batches(entries, entries.pane.end - 1)

    def _open_windows(self) -> Iterator[Entries]:
        if self._totals is None:
            yield from self.store.entries()
            return
        end, last = self._next_end(), max(map(self.store.needed_through, self.store.panes), default=NO_TIME)
        while end is not None and end <= last:
            entries = self._totals.peek(end)
            if entries is not None:
                yield entries
            end = self.window.next_end(end)

    def _result_batches(self, entries: Entries, timestamp: int) -> Iterator[Batch]:
        columns = self._result_columns(entries)
        tp, offset = self._last_place
        for start in range(0, len(entries), EMIT_ROWS):
            part = slice(start, start + EMIT_ROWS)
            keys = entries.keys[part]
            yield Batch(
                DerivedOrigin(tp, offset, len(keys)),
                self._schema,
                np.full(len(keys), timestamp, np.int64),
                columns={name: _slice(column, part) for name, column in columns.items()},
                keys=keys,
            )

    def _result_columns(self, entries: Entries) -> dict[str, Column]:
        columns = _key_columns(self.node, entries)
        for name, instant_ms in (("window_start", self.window.start_of(entries.pane.end)), ("window_end", entries.pane.end)):
            columns[name] = Column(np.broadcast_to(np.int64(instant_ms * 1000), len(entries)), None, Kind.DATETIME)
        columns |= dict(zip(self.node.outputs, self.store.results(entries), strict=True))
        return columns


def _store(accumulators: Sequence[Accumulator], window: Window) -> tuple[WindowStore, OverlappingTotals | None]:
    if not isinstance(window, HoppingWindow):
        return WindowStore(accumulators), None
    store = WindowStore(accumulators, window.counts_in)
    return store, OverlappingTotals(store, window.size_ms, window.offset_ms)


def _key_columns(node: WindowAggregate, entries: Entries) -> dict[str, Column]:
    names, keys = node.key.key_columns, entries.keys
    if not names:
        return {}
    if not isinstance(keys, list):
        return {names[0]: Column(keys, None, Kind.INT)}
    if len(names) == 1:
        return {names[0]: Column(keys, None, Kind.ANY)}
    return {name: Column([key[part] for key in keys], None, Kind.ANY) for part, name in enumerate(names)}


def _slice(column: Column, part: slice) -> Column:
    return Column(column.values[part], None if column.valid is None else column.valid[part], column.kind)
