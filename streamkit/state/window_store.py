"""The open windows of one aggregation in one task: a pane per window end, each with its own keys and flat accumulators.

Memory is bounded by what is open: closing a window frees its pane with all its keys. Per entry there are the cells (8 bytes
each), the key (24-60 bytes for int64 with its table, more for objects) and one dirty byte. Nothing here knows of Kafka:
`take_dirty` and `load` are how entries leave for and come back from a changelog.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.state.accumulators import Accumulator, CannotAddError, Cells
from streamkit.state.key_index import IntKeys, KeyIndex, Keys, ObjectKeys, Slots, index_for

Int64s = npt.NDArray[np.int64]
_FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Entries:
    """Rows of one pane: the keys and, for every accumulator in order, its cells."""

    pane_end: int
    keys: Keys
    cells: list[Cells]

    def __len__(self) -> int:
        return len(self.keys)


class Pane:
    """One window end: key index, cells, dirty marks."""

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
        if isinstance(self.index, IntKeys) and isinstance(keys, list):
            self.index = ObjectKeys(self.index.keys().tolist())  # a null among int keys: a dict holds both
        slots = self.index.slots(keys)
        if len(self.index) > self._capacity:
            self._grow()
        return slots

    def truncate(self, size: int) -> None:
        """Forgets the keys from this slot on; their cells are still initial."""
        if size < len(self.index):
            keys = self.index.keys()[:size]
            self.index = index_for(keys)
            self.index.slots(keys)

    def mark(self, slots: Slots) -> None:
        self.dirty[slots] = True
        self.has_dirty = True

    def entries(self, pane_end: int, slots: Slots | None = None) -> Entries:
        """The rows at these slots, or all of them; copies."""
        size = len(self.index)
        if slots is None:
            return Entries(pane_end, self.index.keys(), [[cell[:size] for cell in cells] for cells in self.cells])
        keys = self.index.keys()
        chosen = [keys[slot] for slot in slots.tolist()] if isinstance(keys, list) else keys[slots]
        return Entries(pane_end, chosen, [[cell[slots] for cell in cells] for cells in self.cells])

    def _grow(self) -> None:
        capacity = max(_FIRST_CAPACITY, 1 << (max(len(self.index), self._expected) - 1).bit_length())
        for acc, cells in zip(self._accumulators, self.cells, strict=True):
            for number, (dtype, initial) in enumerate(zip(acc.dtypes, acc.initial, strict=True)):
                grown = np.full(capacity, initial, dtype)
                grown[: self._capacity] = cells[number]
                cells[number] = grown
        dirty = np.zeros(capacity, bool)
        dirty[: self._capacity] = self.dirty
        self.dirty, self._capacity = dirty, capacity


@dataclass(frozen=True, slots=True)
class _Update:
    """A batch's share of one pane, looked up but not yet added."""

    pane_end: int
    pane: Pane
    size_before: int
    slots: Slots
    inputs: Sequence[Column | None]
    at: Int64s | None

    def check(self, accumulators: Sequence[Accumulator]) -> None:
        try:
            for acc, cells, column in zip(accumulators, self.pane.cells, self.inputs, strict=True):
                acc.check(cells, self.slots, column)
        except CannotAddError as error:
            raise CannotAddError(error.index if self.at is None else int(self.at[error.index]), error.reason) from error


class WindowStore:
    """Panes by their end. `update` is all or nothing: a value that cannot be added raises and changes no cell."""

    def __init__(self, accumulators: Sequence[Accumulator]) -> None:
        self._accumulators = tuple(accumulators)
        self._panes: dict[int, Pane] = {}
        self._last_size = 0  # of the pane that was closed last: what the next ones will likely grow to

    def __len__(self) -> int:
        """Entries: (window end, key) pairs."""
        return sum(map(len, self._panes.values()))

    @property
    def pane_ends(self) -> list[int]:
        return sorted(self._panes)

    @property
    def first_end(self) -> int | None:
        return min(self._panes, default=None)

    def update(self, pane_ends: Int64s, keys: Keys, inputs: Sequence[Column | None]) -> None:
        """Adds a batch in record order. CannotAddError names the index within the batch."""
        updates = [self._prepare(end, at, keys, inputs) for end, at in _groups(pane_ends)]
        try:
            for update in updates:
                update.check(self._accumulators)
        except CannotAddError:
            for update in reversed(updates):
                self._undo(update)
            raise
        for update in updates:
            for acc, cells, column in zip(self._accumulators, update.pane.cells, update.inputs, strict=True):
                acc.add(cells, update.slots, column)
            update.pane.mark(update.slots)

    def _prepare(self, end: int, at: Int64s | None, keys: Keys, inputs: Sequence[Column | None]) -> _Update:
        if at is not None:
            keys = _take_keys(keys, at)
            inputs = [None if column is None else column.take(at) for column in inputs]
        pane = self._pane(end, keys)
        return _Update(end, pane, len(pane), pane.slots(keys), inputs, at)

    def _undo(self, update: _Update) -> None:
        """Takes back the slots that a refused batch had made, or its keys would show up as empty results."""
        if update.size_before:
            update.pane.truncate(update.size_before)
        else:
            self._panes.pop(update.pane_end, None)

    def close(self, pane_end: int) -> Entries | None:
        """Takes a pane out; None if nothing is open there."""
        pane = self._panes.pop(pane_end, None)
        if pane is None:
            return None
        self._last_size = len(pane)
        return pane.entries(pane_end)

    def _pane(self, pane_end: int, keys: Keys) -> Pane:
        pane = self._panes.get(pane_end)
        if pane is None:
            pane = self._panes[pane_end] = Pane(self._accumulators, keys, self._last_size)
        return pane

    def roll(self, entries: Entries, into: int) -> None:
        """Adds a closed pane's entries to a later pane (cumulating windows)."""
        pane = self._pane(into, entries.keys)
        slots = pane.slots(entries.keys)
        for acc, cells, other in zip(self._accumulators, pane.cells, entries.cells, strict=True):
            acc.merge(cells, slots, other)
        pane.mark(slots)

    def results(self, entries: Entries) -> list[Column]:
        return [acc.result(cells) for acc, cells in zip(self._accumulators, entries.cells, strict=True)]

    def take_dirty(self) -> Iterator[tuple[int, Slots, Entries]]:
        """Every pane's changed rows since the last call, with their slots; marks are cleared."""
        for end in self.pane_ends:
            pane = self._panes[end]
            if pane.has_dirty:
                slots = np.flatnonzero(pane.dirty)
                pane.dirty[slots] = False
                pane.has_dirty = False
                yield end, slots, pane.entries(end, slots)

    def mark_dirty(self, pane_end: int, slots: Slots) -> bool:
        """Has these rows written again with the next commit; False if the pane is closed."""
        pane = self._panes.get(pane_end)
        if pane is not None:
            pane.mark(slots)
        return pane is not None

    def load(self, entries: Entries) -> Slots:
        """Sets rows to absolute values (restore); later calls override earlier ones. Gives their slots."""
        pane = self._pane(entries.pane_end, entries.keys)
        slots = pane.slots(entries.keys)
        for cells, loaded in zip(pane.cells, entries.cells, strict=True):
            for cell, values in zip(cells, loaded, strict=True):
                cell[slots] = values
        return slots

    def drop_through(self, pane_end: int) -> None:
        """Forgets every pane that ends at or before this (they were closed)."""
        for end in [end for end in self._panes if end <= pane_end]:
            del self._panes[end]

    def entries(self) -> Iterator[Entries]:
        """All open rows, oldest pane first."""
        for end in self.pane_ends:
            yield self._panes[end].entries(end)


def _groups(pane_ends: Int64s) -> Iterator[tuple[int, Int64s | None]]:
    """(pane end, positions) for each pane of a batch, oldest first; positions None if it is the only one."""
    if not len(pane_ends):
        return
    low, high = int(pane_ends.min()), int(pane_ends.max())
    if low == high:
        yield low, None
        return
    order = np.argsort(pane_ends, kind="stable")  # stable: record order is kept within a pane
    ordered = pane_ends[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    for at in np.split(order, cuts):
        yield int(pane_ends[at[0]]), at


def _take_keys(keys: Keys, at: Int64s) -> Keys:
    if isinstance(keys, list):
        return [keys[i] for i in at.tolist()]
    taken: npt.NDArray[Any] = keys[at]
    return taken
