"""Aggregation over so many records of a key, in the order in which they come.

Nothing depends on time here but the event time of results: the largest of a window's records; or, where its last record came
behind its own partition's watermark, just after that, since what is downstream may have closed all that lies before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streamkit.eventtime.timeless import CountWindow
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.count_updates import CountUpdates
from streamkit.operators.operator import Failures
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch
from streamkit.record.columns import Column, repeated
from streamkit.state.accumulators import CannotAddError
from streamkit.state.count_store import CountStore, Filled
from streamkit.state.window_store import Entries

Int64s = npt.NDArray[np.int64]


class CountAggregateOperator(AggregateOperator):
    """One aggregation over count windows in one task."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__(node, failures)
        assert isinstance(node.window, CountWindow)  # noqa: S101 - chain.py chooses the operator by the window
        self._store = CountStore(self.accumulators, node.window.size, node.window.every)
        self._told: list[CountUpdates] = []

    @property
    def store(self) -> CountStore:
        return self._store

    def on_update(self, *, every_ms: int | None, per_record: bool) -> CountUpdates:
        updates = CountUpdates(self._store, self._result_batches, every_ms=every_ms, per_record=per_record)
        self.updates.append(updates)
        self._told.append(updates)
        return updates

    # ---- records

    def _add(self, batch: Batch, columns: dict[str, Column], pane_ends: Int64s, since: Int64s | None) -> None:  # noqa: ARG002 - nothing is late
        if not any(updates.per_record for updates in self.updates):
            self._add_at_once(batch, columns)
            return
        for at in range(len(batch)):
            one = np.array([at])
            self._add_at_once(batch.take(one), {name: column.take(one) for name, column in columns.items()})

    def _add_at_once(self, batch: Batch, columns: dict[str, Column]) -> None:
        while len(batch):
            try:
                filled = self._store.update(batch.timestamps, batch.keys, self._in_order(columns, batch))
            except CannotAddError as error:
                self._reject(batch, error.index, error.reason)
                left = np.delete(np.arange(len(batch)), error.index)
                batch, columns = batch.take(left), {name: column.take(left) for name, column in columns.items()}
                continue
            entries = self._timed_result(batch, filled)
            if len(entries):
                self._emit_results(entries)
            for updates in self._told:
                updates.added(batch.keys, entries)
            return

    def _timed_result(self, batch: Batch, filled: Filled) -> Entries:
        """The windows with the event times of their results beside their bounds."""
        first, last = filled.entries.cells[0]
        passed: Int64s = repeated(self.progress.frontier, len(last))
        if batch.watermarks is not None:
            passed = np.maximum(passed, batch.watermarks[filled.at])
        return replace(filled.entries, cells=[[first, last, np.maximum(last, passed + 1)], *filled.entries.cells[1:]])

    # ---- windows

    def _close_through(self, watermark: int) -> None:
        """Time closes nothing."""

    def _open_windows(self) -> Iterator[Entries]:
        entries = self._store.filling()
        if len(entries):
            yield entries

    def _bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        first, last, *_ = entries.cells[0]
        return first, last + 1

    def _event_times(self, entries: Entries, end_ms: Int64s) -> Int64s:
        cells = entries.cells[0]
        return cells[2] if len(cells) > 2 else np.maximum(end_ms - 1, self.progress.frontier + 1)
