"""Results of count windows before they are full.

A window that a record fills is told at once, as `on-time`: that is its final result. What comes before, `early`, is the window of
its key that closes next, as far as it has records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from streamkit.eventtime.watermark import END_OF_TIME
from streamkit.kafka.client import Headers
from streamkit.operators.updates import EARLY, ON_TIME, RESULT_HEADER, Telling
from streamkit.record.batch import Batch
from streamkit.state.count_store import CountStore
from streamkit.state.key_index import Keys, KeySet
from streamkit.state.window_store import Entries


class CountUpdates(Telling):
    """One `on_update()` over count windows. ``result_batches`` makes results of a store's rows."""

    def __init__(
        self, store: CountStore, result_batches: Callable[[Entries], Iterator[Batch]], *, every_ms: int | None, per_record: bool
    ) -> None:
        super().__init__(every_ms=every_ms, per_record=per_record)
        self._store = store
        self._result_batches = result_batches
        self._changed: KeySet | None = None

    def added(self, keys: Keys, filled: Entries) -> None:
        """Records of these keys were added, and have filled these windows."""
        self._tell(filled, ON_TIME)
        if self._changed is None:
            self._changed = KeySet()
        self._changed.add(keys)
        if self.per_record:
            self.tell(0, 0.0)

    @property
    def waiting(self) -> bool:
        return self._changed is not None

    def tell_all(self, watermark: int) -> None:  # noqa: ARG002 - it closes nothing here
        if self._changed is not None:
            self._tell(self._store.filling(self._store.known(self._changed.keys())), EARLY)
            self._changed = None

    def restored(self, first_open_end: int) -> None:  # noqa: ARG002 - time closes nothing here
        """What a timer had not yet told is not known any more: all is told (again)."""
        if self.every_ms is not None and len(self._store):
            self._changed = KeySet()
            self._changed.add(self._store.keys())

    def passing(self, before: int, watermark: int) -> None:  # noqa: ARG002 - only the end counts here
        if watermark == END_OF_TIME:
            self.tell_all(watermark)

    def _tell(self, entries: Entries, kind: str) -> None:
        header: Headers = [(RESULT_HEADER, kind.encode())]
        for batch in self._result_batches(entries):
            self.process(batch.with_added_headers([header] * len(batch)))
