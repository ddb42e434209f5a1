"""The totals of count windows from their panes, each at a cost that does not grow with the size of the window.

The panes of a key are cut into blocks as long as a window, as for hopping windows (overlapping.py): a window is the end of one
block and the beginning of the next. Of the block that a key is in there is the running total, of the block before the total from
each pane to its end. So a pane is merged twice and a window once. The order of merging depends on the numbers of the panes alone:
neither batches nor a restart change a bit of a sum of floats.

All of this is derived from the panes, which alone are in the changelog. The smallest and the largest time go along as two more
totals, first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, Accumulator, Cells, Numeric
from streamkit.state.scans import merge, running

Int64s = npt.NDArray[np.int64]
_LEAST = Numeric(np.minimum, Kind.INT, INT64.max, Kind.INT, counted=False)
_LARGEST = Numeric(np.maximum, Kind.INT, INT64.min, Kind.INT, counted=False)


@dataclass(frozen=True, slots=True)
class Panes:
    """Full panes by key, oldest first: ``keys`` are numbers, ``numbers`` those of the panes of each key."""

    keys: Int64s
    numbers: Int64s
    cells: list[Cells]

    def take(self, at: Int64s) -> Panes:
        return Panes(self.keys[at], self.numbers[at], [[cell[at] for cell in cells] for cells in self.cells])

    def starts(self, length: int) -> Int64s:
        """Where another key or block begins."""
        blocks = self.numbers // length
        return np.flatnonzero(np.r_[True, (self.keys[1:] != self.keys[:-1]) | (blocks[1:] != blocks[:-1])][: len(self.keys)])

    def place_of(self, keys: Int64s, numbers: Int64s) -> Int64s:
        """Where these panes are. They must be there, with all of their key between them and its first."""
        firsts = np.searchsorted(self.keys, keys)
        return firsts + numbers - self.numbers[firsts]


class CountTotals:
    """Totals of windows of so many panes. A slot is that of a key in the store, a row one of its ring."""

    def __init__(self, functions: Sequence[Accumulator], ring: int) -> None:
        self.functions: tuple[Accumulator, ...] = (_LEAST, _LARGEST, *functions)
        self._ring = ring
        self._begun: list[Cells] = self._empty(0)  # by slot: of the block that the key is in
        self._ends: list[Cells] = self._empty(0)  # by row: of the block before, from this pane to its end

    def _empty(self, size: int) -> list[Cells]:
        return [
            [np.full(size, initial, dtype) for dtype, initial in zip(function.dtypes, function.initial, strict=True)]
            for function in self.functions
        ]

    def make_room(self, slots: int) -> None:
        """For so many more."""
        for held, more in ((self._begun, slots), (self._ends, slots * self._ring)):
            for cells, new in zip(held, self._empty(more), strict=True):
                cells[:] = [np.concatenate(both) for both in zip(cells, new, strict=True)]

    # ---- a batch

    def add(self, new: Panes, old: Panes, slots: Int64s) -> Added:
        """The full panes of a batch, of the keys with these slots (-1: it has none yet); and those of before that lie in a block
        which ends in the batch."""
        ended = _together(old, new.take(np.flatnonzero(new.numbers < self._block_ends(new)[new.keys])))
        return Added(new, self._begun_at(new, slots), ended, self._totals_to_end(ended))

    def _block_ends(self, new: Panes) -> Int64s:
        """By key, the first pane behind the last block that is full."""
        ends = np.zeros(int(new.keys.max(initial=-1)) + 1, np.int64)
        np.maximum.at(ends, new.keys, (new.numbers + 1) // self._ring * self._ring)
        return ends

    def _begun_at(self, new: Panes, slots: Int64s) -> list[Cells]:
        if not len(new.keys):
            return new.cells
        starts = new.starts(self._ring)
        going_on = starts[new.numbers[starts] % self._ring > 0]
        cells = [[cell.copy() for cell in held] for held in new.cells]
        for function, held, begun in zip(self.functions, cells, self._begun, strict=True):
            own = [cell[going_on] for cell in held]
            for cell, so_far in zip(held, begun, strict=True):
                cell[going_on] = so_far[slots[new.keys[going_on]]]
            merge(function, held, going_on, own)
        return running(self.functions, cells, starts)

    def _totals_to_end(self, ended: Panes) -> list[Cells]:
        if not len(ended.keys):
            return ended.cells
        return running(self.functions, ended.cells, ended.starts(self._ring), backwards=True)

    def windows(self, added: Added, keys: Int64s, ends: Int64s, slots: Int64s, before: Int64s) -> list[Cells]:
        """The windows of these keys that end before these panes; the last pane of each has become full in the batch. By key: its
        slot, and how many full panes it had before."""
        at = added.new.place_of(keys, ends - 1)
        begun = [[cell[at] for cell in cells] for cells in added.begun]
        first = ends - self._ring
        spans = np.flatnonzero((first > 0) & (first % self._ring > 0))  # the others are a block, or its beginning
        keys, first = keys[spans], first[spans]
        here = first // self._ring >= before[keys] // self._ring
        cells = [[np.empty(len(spans), cell.dtype) for cell in held] for held in begun]
        sources = (
            (np.flatnonzero(here), added.to_end, added.ended.place_of(keys[here], first[here])),
            (np.flatnonzero(~here), self._ends, slots[keys[~here]] * self._ring + first[~here] % self._ring),
        )
        for where, source, rows in sources:
            for held, given in zip(cells, source, strict=True):
                for cell, values in zip(held, given, strict=True):
                    cell[where] = values[rows]
        for function, held, given in zip(self.functions, cells, begun, strict=True):
            merge(function, held, np.arange(len(spans)), [cell[spans] for cell in given])
            for cell, values in zip(given, held, strict=True):
                cell[spans] = values
        return begun

    def keep(self, added: Added, slots: Int64s) -> None:
        """What windows after this batch may need. All keys have their slots by now."""
        new, ended = added.new, added.ended
        last = np.flatnonzero(np.r_[new.keys[1:] != new.keys[:-1], True][: len(new.keys)])
        _put(self._begun, slots[new.keys[last]], added.begun, last)
        newest = ended.numbers >= (self._block_ends(ended) - self._ring)[ended.keys]
        rows = np.flatnonzero(newest)
        _put(self._ends, slots[ended.keys[rows]] * self._ring + ended.numbers[rows] % self._ring, added.to_end, rows)

    # ---- a restore

    def derive(self, panes: Panes, full: Int64s) -> None:
        """All full panes that there are, of the slots that ``keys`` are here; ``full`` says by slot how many there have been."""
        block = full // self._ring
        now = panes.take(np.flatnonzero(panes.numbers // self._ring == block[panes.keys]))
        if len(now.keys):
            begun = running(self.functions, now.cells, now.starts(self._ring))
            last = np.flatnonzero(np.r_[now.keys[1:] != now.keys[:-1], True])
            _put(self._begun, now.keys[last], begun, last)
        before = panes.take(np.flatnonzero(panes.numbers // self._ring == block[panes.keys] - 1))
        if len(before.keys):
            to_end = self._totals_to_end(before)
            rows = before.keys * self._ring + before.numbers % self._ring
            _put(self._ends, rows, to_end, np.arange(len(rows)))


@dataclass(frozen=True, slots=True)
class Added:
    """A batch's full panes with the totals of their blocks up to each; and the blocks that end in it, with those from each on."""

    new: Panes
    begun: list[Cells]
    ended: Panes
    to_end: list[Cells]


def _together(old: Panes, new: Panes) -> Panes:
    both = Panes(
        np.concatenate((old.keys, new.keys)),
        np.concatenate((old.numbers, new.numbers)),
        [[np.concatenate(cell) for cell in zip(*cells, strict=True)] for cells in zip(old.cells, new.cells, strict=True)],
    )
    return both.take(np.lexsort((both.numbers, both.keys)))


def _put(held: list[Cells], rows: Int64s, given: list[Cells], at: Int64s) -> None:
    for cells, values in zip(held, given, strict=True):
        for cell, value in zip(cells, values, strict=True):
            cell[rows] = value[at]
