"""Aggregation over sessions: spans of a key's records without a gap.

Late is decided per record by its own source partition, as for any window: a record is late iff its own window [time, time +
gap) had been passed, with grace. One that is not, but lies behind what its partition's watermark (less grace) has passed,
counts as if it had come at that point. So it never touches a session that another interleaving of partitions would have closed
before it came, and sessions are a function of the input alone. A session closes when the watermark passes its last time + gap,
with grace.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from streamkit.eventtime.windows import SessionWindow
from streamkit.operators.aggregate import AggregateOperator
from streamkit.operators.operator import Failures
from streamkit.operators.session_updates import SessionUpdates
from streamkit.plan.nodes import WindowAggregate
from streamkit.record.batch import Batch
from streamkit.record.columns import Column, repeated
from streamkit.state.session_store import SessionStore
from streamkit.state.window_store import Entries

Int64s = npt.NDArray[np.int64]


class SessionAggregateOperator(AggregateOperator):
    """One aggregation over sessions in one task."""

    def __init__(self, node: WindowAggregate, failures: Failures) -> None:
        super().__init__(node, failures)
        assert isinstance(node.window, SessionWindow)  # noqa: S101 - chain.py chooses the operator by the window
        self._store = SessionStore(self.accumulators, node.window.gap_ms)
        self._told: list[SessionUpdates] = []

    @property
    def store(self) -> SessionStore:
        return self._store

    def on_update(self, *, every_ms: int | None, per_record: bool) -> SessionUpdates:
        updates = SessionUpdates(self._store, self._result_batches, every_ms=every_ms, per_record=per_record)
        self._store.watched_by.append(updates.changed)
        self.updates.append(updates)
        self._told.append(updates)
        return updates

    def _add(self, batch: Batch, columns: dict[str, Column], pane_ends: Int64s, since: Int64s | None) -> None:  # noqa: ARG002 - panes are the others'
        if not any(updates.per_record for updates in self._told):
            self._add_at_once(batch, columns)
            return
        for at in range(len(batch)):
            one = np.array([at])
            self._add_at_once(batch.take(one), {name: column.take(one) for name, column in columns.items()})
            for updates in self._told:
                if updates.per_record:
                    updates.tell(self.progress.frontier, 0.0)

    def _add_at_once(self, batch: Batch, columns: dict[str, Column]) -> None:
        self._store.update(
            self._times(batch), batch.keys, self._in_order(columns, batch), lambda index, why: self._reject(batch, index, why)
        )

    def _times(self, batch: Batch) -> Int64s:
        """Event times, none of them behind what was passed when the record came."""
        passed: Int64s = repeated(self.progress.closed_through, len(batch))
        if batch.watermarks is not None:
            passed = np.maximum(passed, self.window.first_open_end(batch.watermarks) - 1)
        return np.maximum(batch.timestamps, passed)

    def _close_through(self, watermark: int) -> None:
        first = self._store.first_end
        if first is None or self.window.closes_at(first) > watermark:
            return
        through = watermark - self.window.grace_ms + 1
        for updates in self._told:
            updates.closing(through)
        entries = self._store.take_ended(through)
        self._emit_results(entries)
        self.progress.closed_through = max(self.progress.closed_through, int(self._bounds(entries)[1].max()))

    def _open_windows(self) -> Iterator[Entries]:
        yield from self._store.entries()

    def _bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        return self._store.bounds(entries)
