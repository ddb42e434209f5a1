"""Aggregation over windows that lie where the records are: sliding and rolling.

Late is decided per record by its own source partition, as for any window. Of sliding windows a record that is late for the one
that ends with it counts in those that are still open for it and hold it, and there is one that ends where it begins to count:
as if that were when it came. So no record that is not late for all is in no window. Of rolling windows a record is late with
its own: its result has been given. Which windows there are, and what is in them, is a function of the input alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streamkit.eventtime.sliding import RecordWindow
from streamkit.eventtime.watermark import END_OF_TIME
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.operator import Failures
from streamkit.operators.sliding_updates import SlidingUpdates
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch
from streamkit.record.columns import Column
from streamkit.state.accumulators import CannotAddError
from streamkit.state.sliding_store import END, SlidingStore, Windows
from streamkit.state.window_store import Entries

Int64s = npt.NDArray[np.int64]


class SlidingAggregateOperator(AggregateOperator):
    """One aggregation over sliding or rolling windows in one task."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__(node, failures)
        assert isinstance(node.window, RecordWindow)  # noqa: S101 - chain.py chooses the operator by the window
        self._store = SlidingStore(self.accumulators, node.window.size_ms, right=node.window.right)
        self._told: list[SlidingUpdates] = []

    @property
    def store(self) -> SlidingStore:
        return self._store

    def on_update(self, *, every_ms: int | None, per_record: bool) -> SlidingUpdates:
        updates = SlidingUpdates(self._store, self._present, every_ms=every_ms, per_record=per_record)
        self.updates.append(updates)
        self._told.append(updates)
        return updates

    # ---- records

    def _add(self, batch: Batch, columns: dict[str, Column], pane_ends: Int64s, since: Int64s | None) -> None:  # noqa: ARG002 - panes are the others'
        step = 1 if any(updates.per_record for updates in self._told) else len(batch)
        if step == len(batch):
            self._add_at_once(batch, columns, since)
            return
        for at in np.arange(len(batch)).reshape(-1, step):
            part = {name: column.take(at) for name, column in columns.items()}
            self._add_at_once(batch.take(at), part, None if since is None else since[at])

    def _add_at_once(self, batch: Batch, columns: dict[str, Column], since: Int64s | None) -> None:
        while len(batch):
            try:
                changed, new = self._store.update(batch.timestamps, since, batch.keys, self._in_order(columns, batch))
            except CannotAddError as error:
                self._reject(batch, error.index, error.reason)
                left = np.delete(np.arange(len(batch)), error.index)
                batch, since = batch.take(left), None if since is None else since[left]
                columns = {name: column.take(left) for name, column in columns.items()}
            else:
                for updates in self._told:
                    updates.changed(changed, new)
                    if updates.per_record:
                        updates.tell(self.progress.frontier, 0.0)
                return

    def _present(self, windows: Windows, bounds: Sequence[int]) -> Iterator[list[Batch]]:
        """The present results of open windows, cut where they end after these instants."""
        entries = self._store.present(windows)
        if entries is None:
            return
        cuts = np.searchsorted(self._bounds(entries)[1], bounds, side="right").tolist()
        for start, end in pairwise([0, *cuts, len(entries)]):
            yield list(self._result_batches(entries.take(np.arange(start, end)))) if start < end else []

    # ---- windows

    def _close_through(self, watermark: int) -> None:
        through = END if watermark == END_OF_TIME else watermark - self.window.grace_ms + 1
        first, last = self._store.next_end, self._store.last_end if watermark == END_OF_TIME else None
        if first is not None and first <= through:
            entries = self._store.close(through)
            if entries is not None:
                self._emit_results(entries)
        if last is not None:
            self.progress.closed_through = max(self.progress.closed_through, last)

    def _open_windows(self) -> Iterator[Entries]:
        entries = self._store.peek()
        if entries is not None:
            yield entries

    def _bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        return self._store.bounds(entries)
