"""Running totals over rows in segments, forwards or from the end back, each row merged once.

A scan goes from row to row, in that order alone: how rows came together changes no bit of a sum of floats. Long segments go
through `ufunc.accumulate`, one call each; all others advance side by side, one row of each segment at a time, which any
accumulator can do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, Accumulator, Cells, Count, Mean, Numeric

Int64s = npt.NDArray[np.int64]
_LONG = 12
"""Rows of a segment from which a call of its own costs less than so many rounds."""


def running(functions: Sequence[Accumulator], cells: Sequence[Cells], starts: Int64s, *, backwards: bool = False) -> list[Cells]:
    """For each row the total of its segment up to it (``backwards``: from it on). ``starts``: the first row of each segment."""
    rows = len(cells[0][0])
    lengths = np.diff(np.append(starts, rows))
    totals = [[cell.copy() for cell in held] for held in cells]
    for function, held in zip(functions, totals, strict=True):
        ufuncs = _ufuncs(function, held)
        long = np.zeros(len(starts), bool) if ufuncs is None else lengths > _LONG
        for start, length in zip(starts[long].tolist(), lengths[long].tolist(), strict=True):
            for ufunc, cell in zip(ufuncs or (), held, strict=True):
                run = cell[start : start + length][:: -1 if backwards else 1]
                with np.errstate(invalid="ignore", over="ignore"):
                    run[:] = ufunc.accumulate(run)
        _side_by_side(function, held, starts[~long], lengths[~long], backwards=backwards)
    return totals


def merge(function: Accumulator, cells: Cells, rows: Int64s, other: Cells) -> None:
    """Adds other cells to those of these rows, each of which occurs once."""
    with np.errstate(invalid="ignore", over="ignore"):
        function.merge(cells, rows, other)


def _side_by_side(function: Accumulator, cells: Cells, starts: Int64s, lengths: Int64s, *, backwards: bool) -> None:
    """The older rows are always the ones that are merged into."""
    for step in range(1, int(lengths.max(initial=0))):
        on = lengths > step
        starts, lengths = starts[on], lengths[on]
        if backwards:
            rows = starts + lengths - 1 - step
            merge(function, cells, rows, [cell[rows + 1] for cell in cells])
        else:
            rows = starts + step
            own = [cell[rows] for cell in cells]
            for cell in cells:
                cell[rows] = cell[rows - 1]
            merge(function, cells, rows, own)


def _ufuncs(function: Accumulator, cells: Cells) -> tuple[np.ufunc, ...] | None:
    """What merging is for each cell; None if it is more than a ufunc, or if a sum of integers might wrap."""
    if isinstance(function, Count):
        return (np.add,)
    numeric = function.total if isinstance(function, Mean) else function
    if not isinstance(numeric, Numeric):
        return None
    if numeric.ufunc is np.add and numeric.kind is Kind.INT and len(cells[0]):
        largest = max(-int(cells[0].min()), int(cells[0].max()))
        if largest * len(cells[0]) > INT64.max:
            return None
    return (numeric.ufunc, np.add)[: len(cells)]
