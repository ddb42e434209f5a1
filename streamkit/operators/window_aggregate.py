"""Aggregation over windows on a grid: adds records to panes, closes windows as the watermark passes.

A record that is late for its first windows but not for all counts in the others: cumulating, it goes into the pane of the first
window for which it is not late; hopping, into a pane of its own (`PaneId.since`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streamkit.eventtime.watermark import NO_TIME
from streamkit.eventtime.windows import CumulatingWindow, HoppingWindow, Window
from streamkit.kafka.client import Headers
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.operator import Failures
from streamkit.operators.updates import RESULT_HEADER, Updates
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch
from streamkit.record.columns import Column, repeated
from streamkit.state.accumulators import Accumulator, CannotAddError
from streamkit.state.key_index import Keys
from streamkit.state.overlapping import OverlappingTotals
from streamkit.state.slots import edges
from streamkit.state.window_store import Entries, PaneId, WindowStore

Int64s = npt.NDArray[np.int64]

_TOGETHER_ROWS = 500
"""Up to so many results of several windows go on together: to hand a window on by itself costs 40 us, and to encode its bounds
for each row instead of once 60 ns."""


class WindowAggregateOperator(AggregateOperator):
    """One aggregation over tumbling, hopping, cumulating or calendar windows in one task."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__(node, failures)
        self._store, self._totals = _store(self.accumulators, node.window)
        self._of_panes: list[Updates] = []

    @property
    def store(self) -> WindowStore:
        return self._store

    def on_update(self, *, every_ms: int | None, per_record: bool) -> Updates:
        updates = Updates(self.store, self.window, self._emit_update, every_ms=every_ms, per_record=per_record)
        self.updates.append(updates)
        self._of_panes.append(updates)
        return updates

    # ---- records

    def _add(self, batch: Batch, columns: dict[str, Column], pane_ends: Int64s, since: Int64s | None) -> None:
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
                self.store.update(pane_ends, since, batch.keys, self._in_order(columns, batch))
            except CannotAddError as error:
                self._reject(batch, error.index, error.reason)
                left = np.delete(np.arange(len(batch)), error.index)
                batch, pane_ends, since = batch.take(left), pane_ends[left], None if since is None else since[left]
                columns = {name: column.take(left) for name, column in columns.items()}
            else:
                if self._of_panes:
                    self._changed(list(self.store.of_panes(pane_ends, since, batch.keys)))
                return

    def _changed(self, panes: Sequence[tuple[PaneId, Keys]]) -> None:
        for updates in self._of_panes:
            for pane, keys in panes:
                updates.changed(pane, keys)
            if updates.per_record:
                updates.tell(self.progress.frontier, 0.0)

    def _emit_update(self, updates: Updates, end: int, keys: Keys, kind: str) -> None:
        entries = self.store.total(self.window.start_of(end), end, keys)
        header: Headers = [(RESULT_HEADER, kind.encode())]
        for batch in self._result_batches(entries):
            updates.process(batch.with_added_headers([header] * len(batch)))

    # ---- windows

    def _close_through(self, watermark: int) -> None:
        if self._totals is None and not isinstance(self.window, CumulatingWindow):
            self._close_panes(watermark)
            return
        while (end := self._next_end()) is not None and self.window.closes_at(end) <= watermark:
            self._close(end)
            self.progress.closed_through = max(self.progress.closed_through, end)

    def _close_panes(self, watermark: int) -> None:
        """Of windows that are panes by themselves. With many partitions many small ones close at once, after a backlog: those are
        handed on together."""
        first = self.store.first_window_end
        if first is None or self.window.closes_at(first) > watermark:
            return
        together: list[int] = []
        rows = 0
        for end in self.store.pane_ends_through(watermark - self.window.closes_at(0)):
            for updates in self._of_panes:
                updates.closing(end)
            together.append(end)
            rows += self.store.size_of(end)
            self.progress.closed_through = max(self.progress.closed_through, end)
            if rows >= _TOGETHER_ROWS:
                self._emit_closed(self.store.close(*together))
                together, rows = [], 0
        self._emit_closed(self.store.close(*together))

    def _emit_closed(self, entries: Entries | None) -> None:
        if entries is not None:
            self._emit_results(entries)

    def _next_end(self) -> int | None:
        """The end of the next window to close, of those in which anything counts."""
        first = self.store.first_window_end
        if first is None or self.progress.closed_through == NO_TIME:
            return first
        return max(first, self.window.next_end(self.progress.closed_through)) if self.window.overlaps else first

    def _close(self, end: int) -> None:
        """Hands on the rows of a window that is over, and that count on elsewhere."""
        for updates in self._of_panes:
            updates.closing(end)
        if self._totals is not None:
            self._emit_closed(self._totals.window(end))
            self.store.drop_through(end)
            return
        entries = self.store.close(end)
        self._emit_closed(entries)
        if entries is not None and isinstance(self.window, CumulatingWindow) and not self.window.ends_span(end):
            self.store.roll(entries, self.window.next_end(end))

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

    def _bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        ends = entries.ends
        if ends is not None:
            runs = edges(ends)
            starts = [self.window.start_of(end) for end in ends[runs[:-1]].tolist()]
            return np.array(starts).repeat([end - start for start, end in pairwise(runs)]), ends
        end = entries.pane.end
        return repeated(self.window.start_of(end), len(entries)), repeated(end, len(entries))


def _store(accumulators: Sequence[Accumulator], window: Window) -> tuple[WindowStore, OverlappingTotals | None]:
    if not isinstance(window, HoppingWindow):
        return WindowStore(accumulators), None
    store = WindowStore(accumulators, window.counts_in)
    return store, OverlappingTotals(store, window.size_ms, window.offset_ms)
