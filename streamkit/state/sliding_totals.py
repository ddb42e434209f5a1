"""The totals of windows that may begin at any millisecond, at a cost per window that does not grow with what lies in it.

As for hopping windows (overlapping.py) time is cut into blocks as long as a window, so that a window is the end of one block and
the beginning of the next. Here blocks are kept by key: of the block that time is in, the running total of each key, and of the
block before, the total from each of its entries to its end. An entry is merged twice and a window once, whatever its size. The
order of merging depends on the blocks alone, which lie on a fixed grid: a restart changes no bit of a sum of floats.

All of this is derived from the entries, which alone are in the changelog. Keys are numbers here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamkit.state.accumulators import Accumulator, Cells
from streamkit.state.scans import merge, running

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_NO_BLOCK = -(2**62)


@dataclass(frozen=True, slots=True)
class Rows:
    """The entries of keys, each at one millisecond, ordered by key and time where it says so."""

    ids: Int64s
    times: Int64s
    cells: list[Cells]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, at: Int64s) -> Rows:
        return Rows(self.ids[at], self.times[at], [[cell[at] for cell in cells] for cells in self.cells])


class Order:
    """Finds places among (key, instant) pairs that are sorted by both."""

    def __init__(self, ids: Int64s, instants: Int64s) -> None:
        self._instants = np.unique(instants)
        self._per_key = len(self._instants) + 1
        self._places = ids * self._per_key + np.searchsorted(self._instants, instants)

    def first_from(self, ids: Int64s, instants: Int64s) -> Int64s:
        """The first pair at or after these."""
        return np.searchsorted(self._places, ids * self._per_key + np.searchsorted(self._instants, instants))

    def behind(self, ids: Int64s, instants: Int64s) -> Int64s:
        """The first pair after these."""
        return np.searchsorted(self._places, ids * self._per_key + np.searchsorted(self._instants, instants, side="right"))


class _Segments:
    """Rows by key and time, with what has been added up within each key and block."""

    def __init__(self, rows: Rows, cells: list[Cells], length: int) -> None:
        self.rows, self.cells = rows, cells
        self.blocks = rows.times // length
        self.order = Order(rows.ids, rows.times)

    def holds(self, at: Int64s, ids: Int64s, blocks: Int64s) -> Bools:
        """Whether the rows at these places, some of which there are not, are of these keys and blocks."""
        if not len(self.rows):
            return np.zeros(len(at), bool)
        inside = (at >= 0) & (at < len(self.rows))
        at = np.where(inside, at, 0)
        found: Bools = inside & (self.rows.ids[at] == ids) & (self.blocks[at] == blocks)
        return found


class SlidingTotals:
    """Totals of windows of ``length`` milliseconds, in steps: each has the entries that have become final and the windows that
    end in the time between, whose instants are all final then."""

    def __init__(self, functions: Sequence[Accumulator], length: int) -> None:
        self._functions = tuple(functions)
        self._length = length
        self._block = _NO_BLOCK  # the one that time is in
        self._entries: list[Rows] = []  # of that block
        self._before: list[_Segments] = []  # the totals to the end of the block before
        self._begun_block = np.zeros(0, np.int64)  # by key: the block of its last entry ...
        self._begun: list[Cells] = [[np.zeros(0, dtype) for dtype in function.dtypes] for function in functions]  # ... so far

    def step(self, entered: Rows, ids: Int64s, ends: Int64s, through: int) -> tuple[Bools, list[Cells]]:
        """Adds entries, ordered by key and time; gives for each window (key, end) whether there is anything in it, and its cells.
        All instants before ``through`` are final now."""
        self._make_room(int(max(entered.ids.max(initial=-1), ids.max(initial=-1))) + 1)
        begun = _Segments(entered, self._beginnings(entered), self._length)
        block = through // self._length
        if block > self._block:
            self._end_blocks(entered, block)
        elif len(entered):
            self._entries.append(entered)
        found = self._totals(begun, ids, ends)
        self._keep(begun, block)
        return found

    def fork(self) -> SlidingTotals:
        """One that goes on from here without a trace in this one."""
        other = copy(self)
        other._entries, other._before = list(self._entries), list(self._before)
        other._begun_block = self._begun_block.copy()
        other._begun = [[cell.copy() for cell in cells] for cells in self._begun]
        return other

    def _beginnings(self, entered: Rows) -> list[Cells]:
        """The running totals at these entries."""
        if not len(entered):
            return entered.cells
        blocks = entered.times // self._length
        starts = starts_of(entered.ids, blocks)
        going_on = starts[self._begun_block[entered.ids[starts]] == blocks[starts]]
        cells = [[cell.copy() for cell in held] for held in entered.cells]
        for function, held, begun in zip(self._functions, cells, self._begun, strict=True):
            own = [cell[going_on] for cell in held]
            for cell, so_far in zip(held, begun, strict=True):
                cell[going_on] = so_far[entered.ids[going_on]]
            merge(function, held, going_on, own)
        return running(self._functions, cells, starts)

    def _end_blocks(self, entered: Rows, block: int) -> None:
        """Adds the entries of all blocks before this one up from their ends."""
        entries = _together([*self._entries, entered])
        blocks = entries.times // self._length
        ended, self._entries = entries.take(np.flatnonzero(blocks < block)), [entries.take(np.flatnonzero(blocks >= block))]
        if not len(ended):
            return
        ended = ended.take(np.lexsort((ended.times, ended.ids)))
        starts = starts_of(ended.ids, ended.times // self._length)
        cells = running(self._functions, ended.cells, starts, backwards=True)
        self._before.append(_Segments(ended, cells, self._length))

    def _totals(self, begun: _Segments, ids: Int64s, ends: Int64s) -> tuple[Bools, list[Cells]]:
        last = ends - 1
        blocks = last // self._length
        there = np.zeros(len(ids), bool)
        cells = [
            [np.full(len(ids), initial, dtype) for dtype, initial in zip(function.dtypes, function.initial, strict=True)]
            for function in self._functions
        ]
        for segments in self._before:
            at = segments.order.first_from(ids, ends - self._length)
            held = segments.holds(at, ids, blocks - 1)
            self._put(cells, there, np.flatnonzero(held), segments.cells, at[held])
        at = begun.order.behind(ids, last) - 1
        held = begun.holds(at, ids, blocks)
        self._put(cells, there, np.flatnonzero(held), begun.cells, at[held])
        earlier = np.flatnonzero(~held & (self._begun_block[ids] == blocks))
        self._put(cells, there, earlier, self._begun, ids[earlier])
        return there, cells

    def _put(self, cells: list[Cells], there: Bools, windows: Int64s, source: Sequence[Cells], at: Int64s) -> None:
        """Adds the source's rows to these windows."""
        if not len(windows):
            return
        more = there[windows]
        for function, held, given in zip(self._functions, cells, source, strict=True):
            for cell, values in zip(held, given, strict=True):
                cell[windows[~more]] = values[at[~more]]
            merge(function, held, windows[more], [values[at[more]] for values in given])
        there[windows] = True

    def _keep(self, begun: _Segments, block: int) -> None:
        """What windows after this step may need."""
        rows = begun.rows
        if len(rows):
            last = np.append(np.flatnonzero(np.diff(rows.ids)), len(rows) - 1)
            self._begun_block[rows.ids[last]] = begun.blocks[last]
            for held, given in zip(self._begun, begun.cells, strict=True):
                for cell, values in zip(held, given, strict=True):
                    cell[rows.ids[last]] = values[last]
        if block > self._block:
            self._block = block
            kept = [(segments, np.flatnonzero(segments.blocks == block - 1)) for segments in self._before]
            self._before = [_part(segments, at, self._length) for segments, at in kept if len(at)]

    def _make_room(self, keys: int) -> None:
        size = len(self._begun_block)
        if keys > size:
            more = max(keys - size, size, 64)
            self._begun_block = np.concatenate((self._begun_block, np.full(more, _NO_BLOCK)))
            self._begun = [[np.concatenate((cell, np.zeros(more, cell.dtype))) for cell in cells] for cells in self._begun]


def _part(segments: _Segments, at: Int64s, length: int) -> _Segments:
    if len(at) == len(segments.rows):
        return segments
    return _Segments(segments.rows.take(at), [[cell[at] for cell in cells] for cells in segments.cells], length)


def starts_of(ids: Int64s, blocks: Int64s) -> Int64s:
    """Where another key or block begins."""
    return np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (blocks[1:] != blocks[:-1])])


def _together(parts: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.times for part in parts]),
        [
            [np.concatenate(cells) for cells in zip(*(part.cells[number] for part in parts), strict=True)]
            for number in range(len(parts[0].cells))
        ],
    )
