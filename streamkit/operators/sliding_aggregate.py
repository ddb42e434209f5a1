"""Aggregation over windows that lie where the records are: sliding and rolling.

Late is decided per record by its own source partition, as for any window. Of sliding windows a record that is late for the one
that ends with it counts in those that are still open for it and hold it, and there is one that ends where it begins to count:
as if that were when it came. So no record that is not late for all is in no window. Of rolling windows a record is late with
its own: its result has been given. Which windows there are, and what is in them, is a function of the input alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from streamkit.eventtime.sliding import RecordWindow
from streamkit.eventtime.watermark import END_OF_TIME
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.operator import Failures
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch
from streamkit.record.columns import Column
from streamkit.state.accumulators import CannotAddError
from streamkit.state.sliding_store import END, SlidingStore
from streamkit.state.window_store import Entries

Int64s = npt.NDArray[np.int64]


class SlidingAggregateOperator(AggregateOperator):
    """One aggregation over sliding or rolling windows in one task."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__(node, failures)
        assert isinstance(node.window, RecordWindow)  # noqa: S101 - chain.py chooses the operator by the window
        self._store = SlidingStore(self.accumulators, node.window.size_ms, right=node.window.right)

    @property
    def store(self) -> SlidingStore:
        return self._store

    def _add(self, batch: Batch, columns: dict[str, Column], pane_ends: Int64s, since: Int64s | None) -> None:  # noqa: ARG002 - panes are the others'
        while len(batch):
            try:
                self._store.update(batch.timestamps, since, batch.keys, self._in_order(columns, batch))
            except CannotAddError as error:
                self._reject(batch, error.index, error.reason)
                left = np.delete(np.arange(len(batch)), error.index)
                batch, since = batch.take(left), None if since is None else since[left]
                columns = {name: column.take(left) for name, column in columns.items()}
            else:
                return

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
        entries = self._store.peek(self.progress.closed_through)
        if entries is not None:
            yield entries

    def _bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        return self._store.bounds(entries)
