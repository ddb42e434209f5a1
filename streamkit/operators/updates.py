"""Results of windows that are still open: which rows have changed, and when they are told.

A record changes its key's row in every window that it counts in. Changed rows are remembered per window until they are told:
with every commit, every so often by the wall clock, or record by record; in any case as the watermark passes the window's end,
and before it closes. What is remembered is in memory only: results are told in the transaction of the change itself, but for
those on a timer, where after a restart all rows count as changed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from streamkit.eventtime.windows import Window
from streamkit.operators.operator import PassOn
from streamkit.state.key_index import Keys, KeySet
from streamkit.state.window_store import PaneId, WindowStore

RESULT_HEADER = "streamkit-result"
"""On an update: `early` (before the watermark passed the window's end), `on-time` (as it passed) or `late` (after, within
grace); of a count window `early` or, when it is full, `on-time`; of a session that is none of its own any more `withdrawn`."""

EARLY, ON_TIME, LATE = "early", "on-time", "late"
Emit = Callable[["Updates", int, Keys, str], None]
"""Gives the present rows of these keys in the window that ends there."""


class Telling(PassOn):
    """One `on_update()` of one aggregation in one task: when it is told. ``every_ms`` None: with every commit, or per record."""

    def __init__(self, *, every_ms: int | None, per_record: bool) -> None:
        super().__init__()
        self.every_ms = every_ms
        self.per_record = per_record
        self._next = 0.0  # monotonic seconds

    @property
    @abstractmethod
    def waiting(self) -> bool:
        """Whether there is something to tell."""

    @abstractmethod
    def tell_all(self, watermark: int) -> None:
        """Tells all that waits; the watermark is what was passed by now."""

    @abstractmethod
    def restored(self, first_open_end: int) -> None:
        """The state was read back."""

    @abstractmethod
    def passing(self, before: int, watermark: int) -> None:
        """The watermark moves."""

    def is_due(self, now: float) -> bool:
        """Whether a timer has run out and there is something to tell."""
        return self.every_ms is not None and self.waiting and now >= self._next

    def tell(self, watermark: int, now: float) -> None:
        """A timer has run out, or a record has come."""
        self.tell_all(watermark)
        if self.every_ms is not None:
            self._next = now + self.every_ms / 1000

    def committing(self, watermark: int) -> None:
        """The transaction is about to be committed: what has no timer is told."""
        if self.every_ms is None:
            self.tell_all(watermark)


class Updates(Telling):
    """Of windows on a grid: their rows by the ends of the windows."""

    def __init__(self, store: WindowStore, window: Window, emit: Emit, *, every_ms: int | None, per_record: bool) -> None:
        super().__init__(every_ms=every_ms, per_record=per_record)
        self._store = store
        self._window = window
        self._emit = emit
        self._changed: dict[int, KeySet] = {}  # window end -> keys

    # ---- what changed

    def changed(self, pane: PaneId, keys: Keys) -> None:
        """These keys changed in a pane, and so in every window in which it counts."""
        end = pane.since
        last = int(self._window.last_window_end(np.array([pane.end], np.int64))[0])
        while end <= last:
            self._changed.setdefault(end, KeySet()).add(keys)
            end = self._window.next_end(end)

    def restored(self, first_open_end: int) -> None:
        """Which rows a timer had not yet told is not known any more: all are told (again)."""
        if self.every_ms is None:
            return
        for entries in self._store.entries():
            self.changed(entries.pane, entries.keys)
        for end in [end for end in self._changed if end < first_open_end]:
            del self._changed[end]

    # ---- telling

    @property
    def waiting(self) -> bool:
        return bool(self._changed)

    def tell_all(self, watermark: int) -> None:
        """Every window with a changed row, oldest first; then nothing is left to tell."""
        for end in sorted(self._changed):
            self._tell(end, EARLY if watermark < end - 1 else LATE)

    def passing(self, before: int, watermark: int) -> None:
        """The watermark moves: what has changed in the windows whose end it passes is told as it does."""
        for end in sorted(end for end in self._changed if before < end - 1 <= watermark):
            self._tell(end, ON_TIME)

    def closing(self, end: int) -> None:
        """A window is about to close: what is not told yet is told."""
        if end in self._changed:
            self._tell(end, LATE)

    def _tell(self, end: int, kind: str) -> None:
        self._emit(self, end, self._changed.pop(end).keys(), kind)
