"""The open windows of one aggregation in one task: panes of keys, and flat accumulators that all panes share.

An entry, a key in a pane, has a slot in the arrays of all cells. So what is done for each batch and for each commit is done once,
whatever the number of panes. Memory is bounded by what is open: closing the last window of a pane frees its slots for others. Per
entry there are the cells (8 bytes each), the slot, key and pane (32-70 bytes for int64 with their table, more for objects) and a
dirty byte. Nothing here knows of Kafka: `take_dirty` and `load` are how entries leave for and come back from a changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column, repeated
from streamkit.state.accumulators import Accumulator, CannotAddError, Cells, check_columns
from streamkit.state.int_entries import IntEntries
from streamkit.state.key_index import KeyIndex, Keys, ObjectKeys, fitting, index_for
from streamkit.state.slots import SlotList, SlotPool, Slots, by_number, fitted, groups

Int64s = npt.NDArray[np.int64]
CountsIn = Callable[[int], tuple[int, int]]
_FIRST_CAPACITY = 64
_EXTRA = 2**62
"""Numbers of panes that are no ends begin here: beyond all times."""


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


class Total:
    """Rows put together from those of several panes: key index and cells."""

    __slots__ = ("_accumulators", "_capacity", "_expected", "cells", "index")

    def __init__(self, accumulators: Sequence[Accumulator], keys: Keys, expected: int = 0) -> None:
        self._accumulators = accumulators
        self._capacity = 0
        self._expected = expected
        self.index: KeyIndex = index_for(keys, expected)
        self.cells: list[Cells] = [[np.empty(0, dtype) for dtype in acc.dtypes] for acc in accumulators]

    def slots(self, keys: Keys) -> Slots:
        """Slots of these keys; unseen keys get new ones with initial cells."""
        self.index = fitting(self.index, keys)
        slots = self.index.slots(keys)
        if len(self.index) > self._capacity:
            self._grow()
        return slots

    def merge(self, entries: Entries) -> None:
        """Adds other rows to those of the same keys."""
        self.merge_at(self.slots(entries.keys), entries.cells)

    def merge_at(self, slots: Slots, others: Sequence[Cells]) -> None:
        for acc, cells, other in zip(self._accumulators, self.cells, others, strict=True):
            acc.merge(cells, slots, other)

    def entries(self, pane: PaneId) -> Entries:
        """All rows: views, not copies."""
        size = len(self.index)
        return Entries(pane, self.index.keys(), [[cell[:size] for cell in cells] for cells in self.cells])

    def _grow(self) -> None:
        capacity = max(_FIRST_CAPACITY, 1 << (max(len(self.index), self._expected) - 1).bit_length())
        self.cells = [
            [fitted(cell, capacity, initial=initial) for cell, initial in zip(cells, acc.initial, strict=True)]
            for acc, cells in zip(self._accumulators, self.cells, strict=True)
        ]
        self._capacity = capacity


class _Pane:
    """Which slots are a pane's, in the order in which they came. Keys that are no ints are here as well."""

    __slots__ = ("changed", "id", "index", "slots")

    def __init__(self, pane_id: PaneId, index: ObjectKeys | None) -> None:
        self.id = pane_id
        self.index = index
        self.slots = SlotList()
        self.changed = False  # perhaps; with int keys it is known of slots only


Grown = list[tuple[_Pane, int]]
"""Panes with new rows, and how many they had before."""


class WindowStore:
    """Panes by their id. `update` is all or nothing: a value that cannot be added raises and changes no cell.

    Inside, a pane is named by a number: its end, or one beyond all ends if its rows do not count from its first window on.
    """

    def __init__(self, accumulators: Sequence[Accumulator], counts_in: CountsIn | None = None) -> None:
        """``counts_in``: pane end -> the ends of the first and the last window in which it counts; by default each pane belongs
        to the one window that ends with it."""
        self.accumulators = tuple(accumulators)
        self._counts_in = counts_in
        self._pool = SlotPool()
        self._cells: list[Cells] = [[np.empty(0, dtype) for dtype in acc.dtypes] for acc in self.accumulators]
        self._has_objects = any(dtype.hasobject for acc in self.accumulators for dtype in acc.dtypes)
        self._dirty = np.zeros(0, bool)
        self._ints: IntEntries | None = IntEntries(self._pool)  # None: keys are looked up in each pane's own index
        self._panes: dict[int, _Pane] = {}
        self._extra: dict[PaneId, int] = {}  # the numbers of those that do not count in the first window of their pane
        self._extras_made = 0

    def __len__(self) -> int:
        """Entries: (pane, key) pairs."""
        return sum(len(pane.slots) for pane in self._panes.values())

    @property
    def panes(self) -> list[PaneId]:
        """Oldest first."""
        return sorted(pane.id for pane in self._panes.values())

    @property
    def extra_panes(self) -> list[PaneId]:
        """Oldest first: the rows that were late for the first windows of their pane."""
        return sorted(self._extra)

    @property
    def first_window_end(self) -> int | None:
        """The end of the first window in which anything counts."""
        if self._counts_in is None:
            return min(self._panes, default=None)
        return min((pane.id.since for pane in self._panes.values()), default=None)

    def needed_through(self, pane: PaneId) -> int:
        """The end of the last window that the pane's rows count in as they are: behind it they are of no use."""
        return pane.end if self._counts_in is None else self._counts_in(pane.end)[1]

    def pane_ends_through(self, last: int) -> list[int]:
        """The ends of the panes up to this one, oldest first, of a store in which every pane is a window by itself."""
        return sorted(end for end in self._panes if end <= last)

    def size_of(self, pane_end: int) -> int:
        """The rows of the pane that is a window by itself."""
        pane = self._panes.get(pane_end)
        return 0 if pane is None else pane.slots.size

    # ---- records

    def update(self, pane_ends: Int64s, since: Int64s | None, keys: Keys, inputs: Sequence[Column | None]) -> None:
        """Adds a batch in record order. ``since`` is that of `PaneId`, None where every record counts from its pane's first
        window on. CannotAddError names the index within the batch."""
        if not len(pane_ends):
            return
        slots, grown = self._slots(self._numbers(pane_ends, since), keys)
        try:
            check_columns(self.accumulators, self._cells, slots, inputs)
        except CannotAddError:
            self._take_back(grown)
            raise
        for acc, cells, column in zip(self.accumulators, self._cells, inputs, strict=True):
            acc.add(cells, slots, column)
        self._dirty[slots] = True

    def of_panes(self, pane_ends: Int64s, since: Int64s | None, keys: Keys) -> Iterator[tuple[PaneId, Keys]]:
        """The panes that the records of a batch lie in, oldest first, each with the keys of its records."""
        for pane_end, at in groups(pane_ends):
            if since is None:
                yield self._id(pane_end), keys if at is None else _take_keys(keys, at)
                continue
            places = np.arange(len(pane_ends)) if at is None else at
            for first, chosen in groups(since[places]):
                yield PaneId(pane_end, first), _take_keys(keys, places if chosen is None else places[chosen])

    def _id(self, end: int) -> PaneId:
        return PaneId(end, end if self._counts_in is None else self._counts_in(end)[0])

    def _numbers(self, pane_ends: Int64s, since: Int64s | None) -> Int64s:
        """Of the pane of each record."""
        if since is None:
            return pane_ends
        numbers = pane_ends.copy()
        for pane_end, at in groups(pane_ends):
            places = np.arange(len(pane_ends)) if at is None else at
            for first, chosen in groups(since[places]):
                numbers[places if chosen is None else places[chosen]] = self._number(PaneId(pane_end, first))
        return numbers

    def _number(self, pane_id: PaneId) -> int:
        if pane_id == self._id(pane_id.end):
            return pane_id.end
        number = self._extra.get(pane_id)
        if number is None:
            number = self._extra[pane_id] = _EXTRA + self._extras_made
            self._extras_made += 1
        return number

    def _find(self, pane_id: PaneId) -> _Pane | None:
        number = pane_id.end if pane_id == self._id(pane_id.end) else self._extra.get(pane_id)
        return None if number is None else self._panes.get(number)

    # ---- slots

    def _slots(self, panes: Int64s, keys: Keys) -> tuple[Slots, Grown]:
        """Slots of (pane, key) pairs; those that were not seen yet get new ones with initial cells."""
        if isinstance(keys, list):
            self._take_objects()
        elif self._ints is None and not self._panes:
            self._ints = IntEntries(self._pool)
        if self._ints is None:
            return self._object_slots(panes, keys)
        return self._int_slots(self._ints, panes, np.asarray(keys, np.int64))

    def _int_slots(self, ints: IntEntries, panes: Int64s, keys: Int64s) -> tuple[Slots, Grown]:
        slots, new = ints.slots(panes, keys)
        grown: Grown = []
        if len(new):
            self._begin(new)
            new, runs = by_number(new, ints.panes_at(new))
            for number, start, end in runs:
                self._append(number, new[start:end], grown)
            firsts = [size - start for (_, size), (_, start, _) in zip(grown, runs, strict=True)]
            ints.set_places(new, np.arange(len(new)) + np.repeat(firsts, [end - start for _, start, end in runs]))
        return slots, grown

    def _object_slots(self, panes: Int64s, keys: Keys) -> tuple[Slots, Grown]:
        slots = np.empty(len(panes), np.int64)
        grown: Grown = []
        for number, at in groups(panes):
            pane = self._panes.get(number) or self._new_pane(number)
            assert pane.index is not None  # noqa: S101 - there is no table for all
            found = pane.index.slots(keys if at is None else _take_keys(keys, at))
            missing = len(pane.index) - len(pane.slots)
            if missing:
                new = self._pool.take(missing)
                self._begin(new)
                self._append(number, new, grown)
            pane.changed = True
            slots[slice(None) if at is None else at] = pane.slots.at(found)
        return slots, grown

    def _append(self, number: int, new: Slots, grown: Grown) -> None:
        pane = self._panes.get(number) or self._new_pane(number)
        grown.append((pane, pane.slots.size))
        pane.slots.add(new)

    def _new_pane(self, number: int) -> _Pane:
        pane_id = self._id(number) if number < _EXTRA else next(each for each, given in self._extra.items() if given == number)
        pane = self._panes[number] = _Pane(pane_id, ObjectKeys() if self._ints is None else None)
        return pane

    def _take_objects(self) -> None:
        """Keys that are no ints come (a null among them): from now on every pane has an index of its own, until there is none."""
        if self._ints is not None:
            for pane in self._panes.values():
                pane.index, pane.changed = ObjectKeys(self._ints.keys_at(pane.slots.all).tolist()), True
            self._ints = None

    def _begin(self, slots: Slots) -> None:
        """Makes their cells initial."""
        self._fit()
        for acc, cells in zip(self.accumulators, self._cells, strict=True):
            for cell, initial in zip(cells, acc.initial, strict=True):
                cell[slots] = initial

    def _fit(self) -> None:
        """To the capacity of the pool."""
        capacity = self._pool.capacity
        if capacity != len(self._dirty):
            self._cells = [[fitted(cell, capacity, initial=None) for cell in cells] for cells in self._cells]
            self._dirty = fitted(self._dirty, capacity, initial=False)

    def _take_back(self, grown: Grown) -> None:
        """Takes back the slots that a refused batch had made, or its keys would show up as empty results."""
        for pane, size in reversed(grown):
            cut = pane.slots.truncate(size)
            if pane.index is not None:
                pane.index.truncate(size)
            self._free(cut)
            if not size:
                self._drop(pane)

    def _free(self, slots: Slots) -> None:
        self._dirty[slots] = False
        if self._has_objects:
            for cell in chain.from_iterable(self._cells):
                if cell.dtype == object:
                    cell[slots] = None
        if self._ints is not None:
            self._ints.forget(slots)
        self._pool.give_back(slots)
        if self._pool.is_sparse:
            self._pack()

    def _pack(self) -> None:
        """Puts the rows that are left together, or the memory of closed windows would stay."""
        panes = list(self._panes.values())
        slots = SlotList.all_of([pane.slots for pane in panes])
        self._pool.packed(len(slots))
        self._cells, self._dirty = self._cells_at(slots), self._dirty[slots]
        self._fit()
        if self._ints is not None:
            self._ints.pack(slots)
        first = 0
        for pane in panes:
            first = pane.slots.renumber(first)

    def _drop(self, pane: _Pane) -> None:
        number = self._extra.pop(pane.id, pane.id.end)
        del self._panes[number]

    # ---- windows

    def close(self, *pane_ends: int) -> Entries | None:
        """Takes out the panes that are windows by themselves, in this order; None if nothing is open there."""
        panes = [pane for end in pane_ends if (pane := self._panes.get(end)) is not None]
        if not panes:
            return None
        slots = SlotList.all_of([pane.slots for pane in panes])
        entries = self._entries(panes, slots)
        for pane in panes:
            self._drop(pane)
        self._free(slots)
        return entries

    def roll(self, entries: Entries, into: int) -> None:
        """Adds a closed pane's entries to a later pane (cumulating windows)."""
        slots, _ = self._slots(repeated(into, len(entries)), entries.keys)
        for acc, cells, other in zip(self.accumulators, self._cells, entries.cells, strict=True):
            acc.merge(cells, slots, other)
        self._dirty[slots] = True

    def get(self, pane: PaneId) -> Entries:
        found = self._find(pane)
        if found is None:
            raise KeyError(pane)
        return self._entries([found], found.slots.all)

    def _entries(self, panes: Sequence[_Pane], slots: Slots) -> Entries:
        if self._ints is not None:
            keys: Keys = self._ints.keys_at(slots)
        else:
            keys = list(chain.from_iterable(pane.index.keys() for pane in panes if pane.index is not None))
        ends = None if len(panes) == 1 else np.array([pane.id.end for pane in panes]).repeat([pane.slots.size for pane in panes])
        return Entries(panes[0].id, keys, self._cells_at(slots), ends)

    def _cells_at(self, slots: Slots) -> list[Cells]:
        return [[cell[slots] for cell in cells] for cells in self._cells]

    def total(self, start: int, end: int, keys: Keys) -> Entries:
        """The rows of these keys, each given once, in the window [start, end): what its panes hold at this moment."""
        total = Total(self.accumulators, keys, len(keys))
        total.slots(keys)
        wanted = total.index.keys()
        for pane in sorted(self._panes.values(), key=_id_of):
            if start < pane.id.end <= end and pane.id.since <= end:
                found = self._slots_in(pane, wanted)
                here = np.flatnonzero(found >= 0)
                total.merge_at(here, self._cells_at(found[here]))
        return total.entries(PaneId(end, end))

    def _slots_in(self, pane: _Pane, keys: Keys) -> Slots:
        """Slots of these keys, -1 for those that the pane does not hold."""
        if self._ints is None:
            assert pane.index is not None  # noqa: S101 - there is no table for all
            found = pane.index.find(keys)
            return np.where(found < 0, -1, pane.slots.at(found))
        number = self._extra.get(pane.id, pane.id.end)
        if not isinstance(keys, list):
            return self._ints.find(number, keys)
        slots = np.full(len(keys), -1, np.int64)
        ints = [index for index, key in enumerate(keys) if type(key) is int]
        slots[ints] = self._ints.find(number, np.array([keys[index] for index in ints], np.int64))
        return slots

    def results(self, entries: Entries) -> list[Column]:
        return [acc.result(cells) for acc, cells in zip(self.accumulators, entries.cells, strict=True)]

    def drop_through(self, window_end: int) -> None:
        """Forgets every pane that no window after this one needs."""
        for pane in sorted(self._panes.values(), key=_id_of):
            if self.needed_through(pane.id) > window_end:
                return  # and so are all that end later
            self._drop(pane)
            self._free(pane.slots.all)

    def entries(self) -> Iterator[Entries]:
        """All open rows, oldest pane first."""
        for pane in self.panes:
            yield self.get(pane)

    # ---- changelog

    shared_slots = False  # the changelog is told of places: where a row is in its pane, which stays the same

    def take_dirty(self) -> Iterator[tuple[Slots, Entries]]:
        """Every pane's changed rows since the last call, with their places; marks are cleared."""
        if self._ints is None:
            yield from self._dirty_objects()
            return
        dirty = self._dirty.nonzero()[0]
        self._dirty[dirty] = False
        slots, runs = by_number(dirty, self._ints.panes_at(dirty))
        places, keys, cells = self._ints.places_at(slots), self._ints.keys_at(slots), self._cells_at(slots)
        for number, start, end in runs:
            of_pane = [[cell[start:end] for cell in of_function] for of_function in cells]
            yield places[start:end], Entries(self._panes[number].id, keys[start:end], of_pane)

    def _dirty_objects(self) -> Iterator[tuple[Slots, Entries]]:
        for pane in sorted((pane for pane in self._panes.values() if pane.changed), key=_id_of):
            assert pane.index is not None  # noqa: S101 - there is no table for all
            pane.changed = False
            held = pane.slots.all
            places = np.flatnonzero(self._dirty[held])
            if len(places):
                slots = held[places]
                self._dirty[slots] = False
                yield places, Entries(pane.id, pane.index.keys_at(places), self._cells_at(slots))

    def mark_dirty(self, pane_id: PaneId, slots: Slots) -> None:
        """Has the rows in these places written again with the next commit; nothing if the pane is closed."""
        pane = self._find(pane_id)
        if pane is not None:
            self._dirty[pane.slots.at(slots)] = True
            pane.changed = True

    def load(self, entries: Entries) -> Slots:
        """Sets rows to absolute values (restore); later calls override earlier ones. Gives their places."""
        if not len(entries):
            return np.empty(0, np.int64)
        number = self._number(entries.pane)
        slots, _ = self._slots(repeated(number, len(entries)), entries.keys)
        for cells, loaded in zip(self._cells, entries.cells, strict=True):
            for cell, values in zip(cells, loaded, strict=True):
                cell[slots] = values
        if self._ints is not None:
            return self._ints.places_at(slots)
        index = self._panes[number].index
        assert index is not None  # noqa: S101 - there is no table for all
        return index.find(entries.keys)


def _id_of(pane: _Pane) -> PaneId:
    return pane.id


def _take_keys(keys: Keys, at: Int64s) -> Keys:
    if isinstance(keys, list):
        return [keys[i] for i in at.tolist()]
    taken: npt.NDArray[Any] = keys[at]
    return taken
