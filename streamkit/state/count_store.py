"""The open count windows of one aggregation in one task: per key, the panes of its last records.

A pane is as many records as divide both the size of a window and the step between results, so a window is the last ``size /
pane`` panes. Each key has a *slot* with a ring of that many rows; pane number p lies in row p modulo the ring, where the pane
before it has served its time. A key whose window closes side by side with the next leaves with its last record: such a row is
deleted by a row of no records.

The panes of a batch are made on the side, with a first one that goes on where the key's last one stopped; so a batch may fill any
number of windows, and one that is refused has changed nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.state.accumulators import Accumulator, CannotAddError, Cells, HasCells
from streamkit.state.count_totals import Added, CountTotals, Panes
from streamkit.state.key_index import Keys, Slots, exact_keys, index_for, plain_key
from streamkit.state.window_store import Entries, PaneId

Int64s = npt.NDArray[np.int64]
_I8 = np.dtype(np.int64)
_FIRST_CAPACITY = 64
_PANE = PaneId(0, 0)
_EARLIEST, _LATEST = -(2**62), 2**62  # before and after all times
_MERGED_AT_ONCE = 1 << 18
"""Panes that are put together at once, of windows that are not full."""

_NUMBER, _COUNT, _FIRST, _LAST = range(4)


@dataclass(frozen=True, slots=True)
class PanePlace:
    """Of a pane: its number among those of its key, its records, the smallest and the largest of their times. Kept like an
    accumulator."""

    dtypes = (_I8, _I8, _I8, _I8)
    initial = (0, 0, _LATEST, _EARLIEST)


@dataclass(frozen=True, slots=True)
class Filled:
    """Windows that a batch has filled, in the order in which their last records came (``at``, of the batch). The first cells of
    a row are the smallest and the largest time."""

    entries: Entries
    at: Int64s


class CountStore:
    """Panes by key. `update` is all or nothing: a value that cannot be added raises and changes no cell."""

    def __init__(self, accumulators: Sequence[Accumulator], size: int, every: int) -> None:
        """A result for every so many records of a key, over its last ``size``."""
        self.accumulators: tuple[HasCells, ...] = (PanePlace(), *accumulators)
        self.functions = tuple(accumulators)
        self._size, self._every, self._pane = size, every, math.gcd(size, every)
        self._ring = size // self._pane
        self._side_by_side = size == every
        self._slot_of: dict[Any, int] = {}
        self._keys: list[Any] = []  # by slot
        self._free: list[int] = []
        self._totals = np.zeros(0, np.int64)  # by slot: records so far; 0 of a slot that is free
        self._cells: list[Cells] = [[np.empty(0, dtype) for dtype in acc.dtypes] for acc in self.accumulators]  # by row
        self._dirty = np.zeros(0, bool)  # by row
        self._written: set[Any] = set()  # keys of which there is a row in a block (side by side)
        self._gone: dict[Any, None] = {}  # of those, the ones that have left since the last commit
        self._sums = CountTotals(accumulators, self._ring)  # where a window has several panes
        self._derived = True
        self._grow()

    def __len__(self) -> int:
        return int(np.minimum(-(-self._totals // self._pane), self._ring).sum())

    # ---- records

    def update(self, times: Int64s, keys: Keys, inputs: Sequence[Column | None]) -> Filled:
        """Adds a batch in record order; gives the windows that it fills."""
        if not self._derived:
            self._derive_totals()
        arrivals = _Arrivals(times, keys, self._slot_of, self._totals, self._pane)
        made = self._panes_of(arrivals, inputs)
        closing = np.flatnonzero((arrivals.number + 1) % self._every == 0)
        chosen: Keys = [keys[index] for index in closing.tolist()] if isinstance(keys, list) else keys[closing]
        cells, added = self._windows(arrivals, made, closing)
        self._keep(arrivals, made)
        if added is not None:
            self._sums.keep(added, arrivals.slots)
        return Filled(Entries(_PANE, chosen, cells), closing)

    def _panes_of(self, arrivals: _Arrivals, inputs: Sequence[Column | None]) -> list[Cells]:
        """The cells of the batch's panes. CannotAddError is that of the first record that cannot be added: of a later one it is
        not known yet in which window it would be."""
        size = len(arrivals.pane_key)
        going_on, rows = arrivals.going_on(self._ring)
        made: list[Cells] = []
        for acc, held in zip(self.accumulators, self._cells, strict=True):
            cells = [np.full(size, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
            for cell, kept in zip(cells, held, strict=True):
                cell[going_on] = kept[rows]
            made.append(cells)
        refused: CannotAddError | None = None
        for acc, cells, column in zip(self.functions, made[1:], inputs, strict=True):
            try:
                acc.check(cells, arrivals.pane_of, column)
            except CannotAddError as error:
                refused = error if refused is None or error.index < refused.index else refused
        if refused is not None:
            raise refused
        for acc, cells, column in zip(self.functions, made[1:], inputs, strict=True):
            acc.add(cells, arrivals.pane_of, column)
        place = made[0]
        place[_NUMBER][:] = arrivals.pane_number
        place[_COUNT] += arrivals.pane_records
        np.minimum(place[_FIRST], arrivals.pane_first, out=place[_FIRST])
        np.maximum(place[_LAST], arrivals.pane_last, out=place[_LAST])
        return made

    def _windows(self, arrivals: _Arrivals, made: list[Cells], closing: Int64s) -> tuple[list[Cells], Added | None]:
        """The cells of the windows that these records close, and what the totals have to keep."""
        if self._ring == 1:
            panes = arrivals.pane_of[closing]
            return [[cell[panes] for cell in cells] for cells in [made[0][_FIRST:], *made[1:]]], None
        before, now = arrivals.before // self._pane, (arrivals.before + arrivals.records) // self._pane
        new = np.flatnonzero(arrivals.pane_number < now[arrivals.pane_key])
        begun = np.where(now // self._ring > before // self._ring, before % self._ring, 0)  # in blocks that end now
        keys = np.repeat(np.arange(len(begun)), begun)
        numbers = before[keys] - 1 - (np.arange(len(keys)) - np.repeat(np.cumsum(begun) - begun, begun))
        rows = arrivals.slots[keys] * self._ring + numbers % self._ring
        added = self._sums.add(
            Panes(arrivals.pane_key[new], arrivals.pane_number[new], _summed(made, new)),
            Panes(keys, numbers, _summed(self._cells, rows)),
            arrivals.slots,
        )
        ends = (arrivals.number[closing] + 1) // self._pane
        first, last, *cells = self._sums.windows(added, arrivals.ids[closing], ends, arrivals.slots, before)
        return [[*first, *last], *cells], added

    def _derive_totals(self) -> None:
        """After a restore."""
        self._derived = True
        if self._ring == 1:
            return
        slots = np.flatnonzero(self._totals > 0)
        numbers = (self._totals[slots] - 1)[:, None] // self._pane + np.arange(-self._ring + 1, 1)
        full = self._totals // self._pane
        there = (numbers >= 0) & (numbers < full[slots][:, None])
        keys = np.broadcast_to(slots[:, None], numbers.shape)[there]
        self._sums.derive(
            Panes(keys, numbers[there], _summed(self._cells, keys * self._ring + numbers[there] % self._ring)), full
        )

    def _merged(self, rows: Int64s, where: npt.NDArray[np.bool_]) -> list[Cells]:
        """One row for each row of panes, which are there ``where`` it is true: neighbours are put together until one is left."""
        merged: list[Cells] = []
        for acc, held in zip(self.accumulators, self._cells, strict=True):
            cells = [np.full(where.shape, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
            for cell, values in zip(cells, held, strict=True):
                cell[where] = values[rows]
            merged.append(cells)
        place = [merged[0][_FIRST].min(axis=1), merged[0][_LAST].max(axis=1)]
        return [place, *(self._folded(acc, cells) for acc, cells in zip(self.functions, merged[1:], strict=True))]

    @staticmethod
    def _folded(acc: Accumulator, cells: Cells) -> Cells:
        while len(cells[0]) and (width := cells[0].shape[1]) > 1:
            left = [np.ascontiguousarray(cell[:, 0::2]) for cell in cells]
            pairs = width // 2
            columns = left[0].shape[1]
            slots = (np.arange(len(left[0]))[:, None] * columns + np.arange(pairs)).ravel()
            flat = [cell.reshape(-1) for cell in left]
            acc.merge(flat, slots, [cell[:, 1::2].reshape(-1) for cell in cells])
            cells = [cell.reshape(-1, columns) for cell in flat]
        return [cell[:, 0] for cell in cells]

    def _keep(self, arrivals: _Arrivals, made: list[Cells]) -> None:
        """Takes over what of the batch's panes is still needed."""
        totals = arrivals.before + arrivals.records
        leaves = totals % self._size == 0 if self._side_by_side else np.zeros(len(totals), bool)
        slots = arrivals.slots
        for number in np.flatnonzero(leaves & (slots >= 0)).tolist():
            self._drop(int(slots[number]))
        for number in np.flatnonzero(~leaves & (slots < 0)).tolist():
            slots[number] = self._make(arrivals.distinct[number])
        self._totals[slots[~leaves]] = totals[~leaves]
        last = (totals - 1) // self._pane
        kept = np.flatnonzero(~leaves[arrivals.pane_key] & (arrivals.pane_number > last[arrivals.pane_key] - self._ring))
        rows = slots[arrivals.pane_key[kept]] * self._ring + arrivals.pane_number[kept] % self._ring
        for held, cells in zip(self._cells, made, strict=True):
            for cell, new in zip(held, cells, strict=True):
                cell[rows] = new[kept]
        self._dirty[rows] = True

    # ---- slots

    def _make(self, key: Any) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._keys[slot] = key
        self._slot_of[key] = slot
        self._gone.pop(key, None)
        return slot

    def _drop(self, slot: int) -> None:
        key = self._keys[slot]
        if key in self._written:
            self._gone[key] = None
        del self._slot_of[key]
        self._keys[slot] = None
        self._totals[slot] = 0
        rows = slice(slot * self._ring, (slot + 1) * self._ring)
        self._dirty[rows] = False
        for cells in self._cells:
            for cell in cells:
                if cell.dtype == object:
                    cell[rows] = None
        self._free.append(slot)

    def _grow(self) -> None:
        size = len(self._keys)
        more = max(_FIRST_CAPACITY // self._ring, size, 1)
        rows = more * self._ring
        self._totals = np.concatenate((self._totals, np.zeros(more, np.int64)))
        self._cells = [[np.concatenate((cell, np.zeros(rows, cell.dtype))) for cell in cells] for cells in self._cells]
        self._dirty = np.concatenate((self._dirty, np.zeros(rows, bool)))
        if self._ring > 1:
            self._sums.make_room(more)
        self._keys.extend([None] * more)
        self._free.extend(range(size + more - 1, size - 1, -1))

    # ---- windows that are not full

    def filling(self, keys: Sequence[Any] | None = None) -> Entries:
        """The windows that close next, of these keys (as a dict knows them) or of all, as far as they have records."""
        slots = np.array(list(self._slot_of.values() if keys is None else map(self._slot_of.__getitem__, keys)), np.int64)
        totals = self._totals[slots]
        ends = -(-totals // self._every) * self._every
        there = (totals % self._every > 0) & (totals > ends - self._size)
        slots, totals, ends = slots[there], totals[there], ends[there]
        shown = [plain_key(self._keys[slot]) for slot in slots.tolist()]
        step = max(1, _MERGED_AT_ONCE // self._ring)
        parts = [
            self._filling(slots[some], totals[some], ends[some])
            for some in (slice(start, start + step) for start in range(0, max(len(slots), 1), step))
        ]
        cells = [[np.concatenate(column) for column in zip(*held, strict=True)] for held in zip(*parts, strict=True)]
        return Entries(_PANE, shown, cells)

    def _filling(self, slots: Slots, totals: Int64s, ends: Int64s) -> list[Cells]:
        numbers = ends[:, None] // self._pane + np.arange(-self._ring, 0)
        held = (numbers >= 0) & (numbers * self._pane < totals[:, None])
        return self._merged((slots[:, None] * self._ring + numbers % self._ring)[held], held)

    def known(self, keys: Keys) -> list[Any]:
        """Of these keys, each once and as a dict knows them, those that are still in the state."""
        found = exact_keys(keys if isinstance(keys, list) else keys.tolist())
        return [key for key in dict.fromkeys(found) if key in self._slot_of]

    def wanted(self, key: Any) -> int:
        """Of how many more records of the key there is a result with the last."""
        slot = self._slot_of.get(exact_keys([key])[0])
        return self._every - (0 if slot is None else int(self._totals[slot]) % self._every)

    def keys(self) -> list[Any]:
        """All that are in the state."""
        return [plain_key(key) for key in self._slot_of]

    def results(self, entries: Entries) -> list[Column]:
        return [acc.result(cells) for acc, cells in zip(self.functions, entries.cells[1:], strict=True)]

    def drop_through(self, window_end: int) -> None:
        """Time closes nothing here."""

    # ---- changelog (what BlockChangelog needs)

    shared_slots = True

    def needed_through(self, pane: PaneId) -> int:  # noqa: ARG002 - the same of all
        return _LATEST

    def take_dirty(self) -> Iterator[tuple[Slots, Entries]]:
        """The rows that changed since the last call, with their slots (-1: the key has left); marks are cleared."""
        rows = np.flatnonzero(self._dirty)
        self._dirty[rows] = False
        keys = [self._keys[slot] for slot in (rows // self._ring).tolist()]
        if self._side_by_side:
            self._written.update(keys)
            self._written.difference_update(self._gone)
        gone = list(self._gone)
        self._gone = {}
        if not len(rows) and not gone:
            return
        slots = np.concatenate((rows, np.full(len(gone), -1, np.int64)))
        cells = [
            [
                np.concatenate((cell[rows], np.full(len(gone), initial, cell.dtype)))
                for cell, initial in zip(held, acc.initial, strict=True)
            ]
            for acc, held in zip(self.accumulators, self._cells, strict=True)
        ]
        yield slots, Entries(_PANE, [plain_key(key) for key in (*keys, *gone)], cells)

    def mark_dirty(self, pane_id: PaneId, slots: Slots) -> None:  # noqa: ARG002 - there is but one
        """Has what lies in these rows now written again with the next commit."""
        rows = slots[slots >= 0]
        self._dirty[rows[self._totals[rows // self._ring] > 0]] = True

    def load(self, entries: Entries) -> Slots:
        """Sets rows to absolute values (restore); later calls override earlier ones. Gives their slots."""
        self._derived = False
        keys = exact_keys(entries.keys if isinstance(entries.keys, list) else entries.keys.tolist())
        numbers, counts = entries.cells[0][_NUMBER], entries.cells[0][_COUNT]
        slots = np.full(len(keys), -1, np.int64)
        for index, (key, count) in enumerate(zip(keys, counts.tolist(), strict=True)):
            slot = self._slot_of.get(key)
            if count:
                slots[index] = self._make(key) if slot is None else slot
            elif slot is not None:
                self._drop(slot)
                self._written.discard(key)
        there = slots >= 0
        rows = np.where(there, slots * self._ring + numbers % self._ring, -1)
        for held, loaded in zip(self._cells, entries.cells, strict=True):
            for cell, values in zip(held, loaded, strict=True):
                cell[rows[there]] = values[there]
        totals = (numbers * self._pane + counts)[there]
        if self._side_by_side:
            self._totals[slots[there]] = totals
            self._written.update(keys[index] for index in np.flatnonzero(there).tolist())
            self._gone = {}
        else:
            np.maximum.at(self._totals, slots[there], totals)
        return rows


def _summed(cells: list[Cells], rows: Int64s) -> list[Cells]:
    """What `CountTotals` adds up, of these rows."""
    place = cells[0]
    return [[place[_FIRST][rows]], [place[_LAST][rows]], *([cell[rows] for cell in held] for held in cells[1:])]


class _Arrivals:
    """A batch as its keys have it: of each record its number among those of its key, and the panes that they make.

    ``distinct`` are the keys, each with its slot (-1: new), the records it had before and those it has here; ``number`` and
    ``pane_of`` are by record; panes are by key, oldest first.
    """

    def __init__(self, times: Int64s, keys: Keys, slot_of: dict[Any, int], totals: Int64s, pane: int) -> None:
        index = index_for(keys)
        self.ids = ids = index.slots(keys)
        distinct = index.keys()
        self.distinct = exact_keys(distinct if isinstance(distinct, list) else distinct.tolist())
        self.slots = np.fromiter((slot_of.get(key, -1) for key in self.distinct), np.int64, len(self.distinct))
        self.before = np.where(self.slots >= 0, totals[self.slots], 0)
        self.records = np.bincount(ids, minlength=len(self.distinct))
        self._pane = pane
        order = np.argsort(ids, kind="stable")
        by = ids[order]
        starts = np.cumsum(self.records) - self.records
        numbers = self.before[by] + np.arange(len(by)) - starts[by]
        panes = numbers // pane
        begins = np.ones(len(by), bool)
        begins[1:] = (by[1:] != by[:-1]) | (panes[1:] != panes[:-1])
        first = np.flatnonzero(begins)
        self.number, self.pane_of = np.empty((2, len(by)), np.int64)
        self.number[order] = numbers
        which = np.cumsum(begins) - 1
        self.pane_of[order] = which
        self.pane_key, self.pane_number = by[first], panes[first]
        self.pane_records = np.diff(np.append(first, len(by)))
        ordered = times[order]
        self.pane_first = np.minimum.reduceat(ordered, first)
        self.pane_last = np.maximum.reduceat(ordered, first)

    def going_on(self, ring: int) -> tuple[Int64s, Int64s]:
        """The panes that had begun before, and the rows where they lie."""
        before = self.before[self.pane_key]
        begun = np.flatnonzero((before % self._pane > 0) & (self.pane_number == before // self._pane))
        return begun, self.slots[self.pane_key[begun]] * ring + self.pane_number[begun] % ring
