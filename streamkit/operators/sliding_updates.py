"""Results of sliding and rolling windows that are still open.

A record changes the rows of all windows that hold it, and may begin one. What is remembered is the entries of the store that
changed; which windows that makes is found when they are told. A window never goes away again and only gets more records, so the
last row of each is its final result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from streamkit.kafka.client import Headers
from streamkit.operators.updates import EARLY, LATE, ON_TIME, RESULT_HEADER, Telling
from streamkit.record.batch import Batch
from streamkit.state.key_index import Slots
from streamkit.state.sliding_store import END, SlidingStore, Windows

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Present = Callable[[Windows, Sequence[int]], Iterator[list[Batch]]]
"""The present results of open windows, cut where they end after these instants."""

_MANY = 4_096


class SlidingUpdates(Telling):
    """One `on_update()` over sliding or rolling windows."""

    def __init__(self, store: SlidingStore, present: Present, *, every_ms: int | None, per_record: bool) -> None:
        super().__init__(every_ms=every_ms, per_record=per_record)
        self._store = store
        self._present = present
        self._many = _MANY
        self._entries: Slots = np.zeros(0, np.int64)  # that changed
        self._new: Bools = np.zeros(0, bool)
        self._told: Int64s = np.zeros(0, np.int64)  # the end through which windows were told since

    def changed(self, entries: Slots, new: Bools) -> None:
        self._entries = np.concatenate((self._entries, entries))
        self._new = np.concatenate((self._new, new))
        self._told = np.concatenate((self._told, np.full(len(entries), NO_TIME)))
        if len(self._entries) > self._many:
            self._put_together()

    def _put_together(self) -> None:
        """Entries that changed more than once, which a long timer sees again and again."""
        entries, places = np.unique(self._entries, return_inverse=True)
        new, told = np.zeros(len(entries), bool), np.full(len(entries), END)
        np.logical_or.at(new, places, self._new)
        np.minimum.at(told, places, self._told)
        self._entries, self._new, self._told = entries, new, told
        self._many = max(_MANY, 2 * len(entries))

    @property
    def waiting(self) -> bool:
        return bool(len(self._entries))

    def restored(self, first_open_end: int) -> None:
        """What a timer had not yet told is not known any more: all is told (again)."""
        if self.every_ms is not None:
            entries = self._store.all_entries()
            self.changed(entries, np.ones(len(entries), bool))
            self._told[:] = first_open_end - 1

    def tell_all(self, watermark: int) -> None:
        self._tell(END, watermark, (LATE, EARLY))

    def passing(self, before: int, watermark: int) -> None:
        """What has changed in windows whose end it passes is told as it does; so everything is before it closes."""
        self._tell(END if watermark == END_OF_TIME else watermark + 1, before, (LATE, ON_TIME))

    def _tell(self, through: int, passed: int, kinds: tuple[str, str]) -> None:
        """The windows that end at or before this; of those whose end the watermark had passed it is the first kind."""
        if not len(self._entries) or int(self._store.first_ends(self._entries).min()) > through:
            return
        ids, ends = self._store.changed_windows(self._entries, self._new, self._told)
        now = ends <= through
        for kind, batches in zip(kinds, self._present((ids[now], ends[now]), [passed + 1]), strict=False):
            header: Headers = [(RESULT_HEADER, kind.encode())]
            for batch in batches:
                self.process(batch.with_added_headers([header] * len(batch)))
        self._told = np.maximum(self._told, through)
        left = self._store.needed_after(self._entries, through)
        self._entries, self._new, self._told = self._entries[left], self._new[left], self._told[left]
