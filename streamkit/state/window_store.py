"""The open windows of one aggregation in one task: panes, each with its own keys and flat accumulators.

Memory is bounded by what is open: closing the last window of a pane frees it with all its keys. Per entry there are the cells (8
bytes each), the key (24-60 bytes for int64 with its table, more for objects) and one dirty byte. Nothing here knows of Kafka:
`take_dirty` and `load` are how entries leave for and come back from a changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.state.accumulators import Accumulator, CannotAddError, Cells, check_columns
from streamkit.state.key_index import KeyIndex, Keys, Slots, fitting, index_for

Int64s = npt.NDArray[np.int64]
CountsIn = Callable[[int], tuple[int, int]]
_FIRST_CAPACITY = 64


class PaneId(NamedTuple):
    """A pane: where it ends, and the end of the first window in which its rows count.

    That is the first window that holds it, or, where windows overlap, a later one for records that were late for the first.
    """

    end: int
    since: int


@dataclass(frozen=True, slots=True)
class Entries:
    """Rows of one pane, or of a window (named by its end twice): the keys, and the cells of every accumulator in order.

    Of several windows, one after the other: ``ends`` has the end of each row's window, and ``pane`` is that of the first.
    """

    pane: PaneId
    keys: Keys
    cells: list[Cells]
    ends: Int64s | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, at: Int64s) -> Entries:
        """The rows at these positions."""
        ends = None if self.ends is None else self.ends[at]
        return Entries(self.pane, _take_keys(self.keys, at), [[cell[at] for cell in cells] for cells in self.cells], ends)

    @staticmethod
    def in_a_row(windows: Sequence[Entries]) -> Iterator[Entries]:
        """The same rows in the same order, put together where keys are held alike: what is done once for each of these costs more
        than what is done for a row."""
        for _, alike in groupby(windows, lambda entries: isinstance(entries.keys, list)):
            group = list(alike)
            if len(group) == 1:
                yield group[0]
                continue
            parts = [entries.keys for entries in group]
            keys = list(chain.from_iterable(parts)) if isinstance(parts[0], list) else np.concatenate(parts)
            cells = [
                [np.concatenate(cell) for cell in zip(*accumulator, strict=True)]
                for accumulator in zip(*(entries.cells for entries in group), strict=True)
            ]
            ends = np.repeat([entries.pane.end for entries in group], list(map(len, group)))
            yield Entries(group[0].pane, keys, cells, ends)


class Pane:
    """Key index, cells, dirty marks."""

    __slots__ = ("_accumulators", "_capacity", "_expected", "cells", "dirty", "has_dirty", "index")

    def __init__(self, accumulators: Sequence[Accumulator], keys: Keys, expected: int = 0) -> None:
        self._accumulators = accumulators
        self._capacity = 0
        self._expected = expected
        self.index: KeyIndex = index_for(keys, expected)
        self.cells: list[Cells] = [[np.empty(0, dtype) for dtype in acc.dtypes] for acc in accumulators]
        self.dirty = np.zeros(0, bool)
        self.has_dirty = False

    def __len__(self) -> int:
        return len(self.index)

    def slots(self, keys: Keys) -> Slots:
        """Slots of these keys; unseen keys get new ones with initial cells."""
        self.index = fitting(self.index, keys)
        slots = self.index.slots(keys)
        if len(self.index) > self._capacity:
            self._grow()
        return slots

    def truncate(self, size: int) -> None:
        """Forgets the keys from this slot on; their cells are still initial."""
        if size < len(self.index):
            self.index.truncate(size)

    def mark(self, slots: Slots) -> None:
        self.dirty[slots] = True
        self.has_dirty = True

    def merge(self, entries: Entries) -> Slots:
        """Adds other rows to those of the same keys; gives their slots."""
        slots = self.slots(entries.keys)
        for acc, cells, other in zip(self._accumulators, self.cells, entries.cells, strict=True):
            acc.merge(cells, slots, other)
        return slots

    def merge_found(self, other: Pane) -> None:
        """Adds what another pane holds of the keys of this one."""
        keys = self.index.keys()
        found = other.index.find(keys)
        here = np.flatnonzero(found >= 0)
        for acc, cells, others in zip(self._accumulators, self.cells, other.cells, strict=True):
            acc.merge(cells, here, [cell[found[here]] for cell in others])

    def entries(self, pane: PaneId, slots: Slots | None = None) -> Entries:
        """The rows at these slots, or all of them (then views, not copies)."""
        size = len(self.index)
        if slots is None:
            return Entries(pane, self.index.keys(), [[cell[:size] for cell in cells] for cells in self.cells])
        return Entries(pane, self.index.keys_at(slots), [[cell[slots] for cell in cells] for cells in self.cells])

    def _grow(self) -> None:
        capacity = max(_FIRST_CAPACITY, 1 << (max(len(self.index), self._expected) - 1).bit_length())
        for acc, cells in zip(self._accumulators, self.cells, strict=True):
            for number, (dtype, initial) in enumerate(zip(acc.dtypes, acc.initial, strict=True)):
                grown = np.empty(capacity, dtype)  # `np.full` takes three times as long for a small one
                grown[: self._capacity] = cells[number]
                grown[self._capacity :] = initial
                cells[number] = grown
        dirty = np.zeros(capacity, bool)
        dirty[: self._capacity] = self.dirty
        self.dirty, self._capacity = dirty, capacity


@dataclass(frozen=True, slots=True)
class _Update:
    """A batch's share of one pane, looked up but not yet added."""

    id: PaneId
    pane: Pane
    size_before: int
    keys: Keys
    slots: Slots
    inputs: Sequence[Column | None]
    at: Int64s | None

    def check(self, accumulators: Sequence[Accumulator]) -> None:
        try:
            check_columns(accumulators, self.pane.cells, self.slots, self.inputs)
        except CannotAddError as error:
            raise CannotAddError(error.index if self.at is None else int(self.at[error.index]), error.reason) from error


class WindowStore:
    """Panes by their id. `update` is all or nothing: a value that cannot be added raises and changes no cell."""

    def __init__(self, accumulators: Sequence[Accumulator], counts_in: CountsIn | None = None) -> None:
        """``counts_in``: pane end -> the ends of the first and the last window in which it counts; by default each pane belongs
        to the one window that ends with it."""
        self.accumulators = tuple(accumulators)
        self._counts_in = counts_in
        self._panes: dict[PaneId, Pane] = {}
        self._extra: set[PaneId] = set()  # those that do not count in the first window of their pane
        self._last_size = 0  # of the pane that was closed last: what the next ones will likely grow to

    def __len__(self) -> int:
        """Entries: (pane, key) pairs."""
        return sum(map(len, self._panes.values()))

    @property
    def panes(self) -> list[PaneId]:
        """Oldest first."""
        return sorted(self._panes)

    @property
    def extra_panes(self) -> list[PaneId]:
        """Oldest first: the rows that were late for the first windows of their pane."""
        return sorted(self._extra)

    @property
    def first_window_end(self) -> int | None:
        """The end of the first window in which anything counts."""
        return min((pane.since for pane in self._panes), default=None)

    def needed_through(self, pane: PaneId) -> int:
        """The end of the last window that the pane's rows count in as they are: behind it they are of no use."""
        return pane.end if self._counts_in is None else self._counts_in(pane.end)[1]

    # ---- records

    def update(
        self, pane_ends: Int64s, since: Int64s | None, keys: Keys, inputs: Sequence[Column | None]
    ) -> list[tuple[PaneId, Keys]]:
        """Adds a batch in record order; gives the panes that changed, each with the keys of its records. ``since`` is that of
        `PaneId`, None where every record counts from the pane's first window on. CannotAddError names the index within the
        batch."""
        updates = [self._prepare(pane, at, keys, inputs) for pane, at in self._groups(pane_ends, since)]
        try:
            for update in updates:
                update.check(self.accumulators)
        except CannotAddError:
            for update in reversed(updates):
                self._undo(update)
            raise
        for update in updates:
            for acc, cells, column in zip(self.accumulators, update.pane.cells, update.inputs, strict=True):
                acc.add(cells, update.slots, column)
            update.pane.mark(update.slots)
        return [(update.id, update.keys) for update in updates]

    def _groups(self, pane_ends: Int64s, since: Int64s | None) -> Iterator[tuple[PaneId, Int64s | None]]:
        """(pane, positions) for each pane of a batch, oldest first; positions None if it is the only one."""
        if not len(pane_ends):
            return
        if since is None and pane_ends.min() == pane_ends.max():
            yield self._id(int(pane_ends[0])), None
            return
        order = np.argsort(pane_ends, kind="stable") if since is None else np.lexsort((since, pane_ends))
        ordered = pane_ends[order]
        differs = ordered[1:] != ordered[:-1]
        if since is not None:
            differs |= since[order][1:] != since[order][:-1]
        for at in np.split(order, np.flatnonzero(differs) + 1):  # both sorts are stable: record order is kept within a pane
            end = int(pane_ends[at[0]])
            yield self._id(end) if since is None else PaneId(end, int(since[at[0]])), at

    def _id(self, end: int) -> PaneId:
        return PaneId(end, end if self._counts_in is None else self._counts_in(end)[0])

    def _prepare(self, pane_id: PaneId, at: Int64s | None, keys: Keys, inputs: Sequence[Column | None]) -> _Update:
        if at is not None:
            keys = _take_keys(keys, at)
            inputs = [None if column is None else column.take(at) for column in inputs]
        pane = self._pane(pane_id, keys)
        return _Update(pane_id, pane, len(pane), keys, pane.slots(keys), inputs, at)

    def _undo(self, update: _Update) -> None:
        """Takes back the slots that a refused batch had made, or its keys would show up as empty results."""
        if update.size_before:
            update.pane.truncate(update.size_before)
        else:
            self._forget(update.id)

    def _pane(self, pane_id: PaneId, keys: Keys) -> Pane:
        pane = self._panes.get(pane_id)
        if pane is None:
            pane = self._panes[pane_id] = Pane(self.accumulators, keys, self._last_size)
            if pane_id != self._id(pane_id.end):
                self._extra.add(pane_id)
        return pane

    # ---- windows

    def close(self, pane_end: int) -> Entries | None:
        """Takes out the pane that is a window by itself; None if nothing is open there."""
        pane = self._panes.pop(PaneId(pane_end, pane_end), None)
        if pane is None:
            return None
        self._last_size = len(pane)
        return pane.entries(PaneId(pane_end, pane_end))

    def roll(self, entries: Entries, into: int) -> None:
        """Adds a closed pane's entries to a later pane (cumulating windows)."""
        pane = self._pane(PaneId(into, into), entries.keys)
        pane.mark(pane.merge(entries))

    def get(self, pane: PaneId) -> Entries:
        return self._panes[pane].entries(pane)

    def total(self, start: int, end: int, keys: Keys) -> Entries:
        """The rows of these keys, each given once, in the window [start, end): what its panes hold at this moment."""
        total = Pane(self.accumulators, keys, len(keys))
        total.slots(keys)
        for pane_id in self.panes:
            if start < pane_id.end <= end and pane_id.since <= end:
                total.merge_found(self._panes[pane_id])
        return total.entries(PaneId(end, end))

    def results(self, entries: Entries) -> list[Column]:
        return [acc.result(cells) for acc, cells in zip(self.accumulators, entries.cells, strict=True)]

    def drop_through(self, window_end: int) -> None:
        """Forgets every pane that no window after this one needs."""
        for pane in self.panes:
            if self.needed_through(pane) > window_end:
                return  # and so are all that end later
            self._last_size = len(self._panes[pane])
            self._forget(pane)

    def _forget(self, pane: PaneId) -> None:
        self._panes.pop(pane, None)
        self._extra.discard(pane)

    def entries(self) -> Iterator[Entries]:
        """All open rows, oldest pane first."""
        for pane in self.panes:
            yield self.get(pane)

    # ---- changelog

    shared_slots = False

    def take_dirty(self) -> Iterator[tuple[Slots, Entries]]:
        """Every pane's changed rows since the last call, with their slots; marks are cleared."""
        for pane_id in self.panes:
            pane = self._panes[pane_id]
            if pane.has_dirty:
                slots = np.flatnonzero(pane.dirty)
                pane.dirty[slots] = False
                pane.has_dirty = False
                yield slots, pane.entries(pane_id, slots)

    def mark_dirty(self, pane_id: PaneId, slots: Slots) -> None:
        """Has these rows written again with the next commit; nothing if the pane is closed."""
        pane = self._panes.get(pane_id)
        if pane is not None:
            pane.mark(slots)

    def load(self, entries: Entries) -> Slots:
        """Sets rows to absolute values (restore); later calls override earlier ones. Gives their slots."""
        pane = self._pane(entries.pane, entries.keys)
        slots = pane.slots(entries.keys)
        for cells, loaded in zip(pane.cells, entries.cells, strict=True):
            for cell, values in zip(cells, loaded, strict=True):
                cell[slots] = values
        return slots


def _take_keys(keys: Keys, at: Int64s) -> Keys:
    if isinstance(keys, list):
        return [keys[i] for i in at.tolist()]
    taken: npt.NDArray[Any] = keys[at]
    return taken
