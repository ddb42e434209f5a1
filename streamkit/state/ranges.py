"""Adds entries to all windows of a range of ends, at a cost that grows with neither number: twice the logarithm of the range.

As in a segment tree, a range of ends is cut into pieces of 1, 2, 4, ... milliseconds on a fixed grid, at most two of each length;
entries are added up by piece, and a window gets the piece of each length that its end lies in. The order of merging depends on
the ranges alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamkit.state.accumulators import Accumulator, Cells
from streamkit.state.scans import merge, running
from streamkit.state.sliding_totals import Order, Rows, starts_of

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def add_ranges(
    functions: Sequence[Accumulator], entries: Rows, last: Int64s, windows: tuple[Int64s, Int64s], cells: Sequence[Cells]
) -> Bools:
    """Adds each entry to the cells of the windows (key, end), ordered by both, of its key that end from ``entries.times`` to
    ``last``; gives which windows that were."""
    ids, ends = windows
    added = np.zeros(len(ids), bool)
    begin, behind = entries.times, last + 1
    levels: list[tuple[Int64s, Int64s]] = []
    while len(open_ranges := np.flatnonzero(begin < behind)):
        odd = open_ranges[(begin[open_ranges] & 1) == 1]
        pieces, of = [begin[odd]], [odd]
        begin = begin.copy()
        begin[odd] += 1
        odd = np.flatnonzero((begin < behind) & ((behind & 1) == 1))
        pieces.append(behind[odd] - 1)
        of.append(odd)
        levels.append((np.concatenate(of), np.concatenate(pieces)))
        begin, behind = begin >> 1, behind >> 1
    # Longest first: of entries at one time, what came later has the shorter range, and so is added later.
    for level in reversed(range(len(levels))):
        _add_pieces(functions, entries, *levels[level], (ids, ends >> level), cells, added)
    return added


def _add_pieces(
    functions: Sequence[Accumulator],
    entries: Rows,
    of: Int64s,
    pieces: Int64s,
    windows: tuple[Int64s, Int64s],
    cells: Sequence[Cells],
    added: Bools,
) -> None:
    """Adds up the entries ``of`` each piece, and the pieces to the windows in them."""
    if not len(of):
        return
    order = np.lexsort((of, pieces, entries.ids[of]))
    rows, pieces = entries.take(of[order]), pieces[order]
    starts = starts_of(rows.ids, pieces)
    totals = running(functions, rows.cells, starts)
    ends = np.append(starts[1:], len(rows)) - 1
    keys, pieces = rows.ids[ends], pieces[ends]
    place = np.minimum(Order(keys, pieces).first_from(*windows), len(keys) - 1)
    inside = np.flatnonzero((keys[place] == windows[0]) & (pieces[place] == windows[1]))
    for function, held, total in zip(functions, cells, totals, strict=True):
        merge(function, held, inside, [cell[ends[place[inside]]] for cell in total])
    added[inside] = True
