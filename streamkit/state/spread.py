"""Variance and standard deviation, in one pass and mergeable."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, CannotAddError, Cells, Slots

_I8 = np.dtype(np.int64)
_F8 = np.dtype(np.float64)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """How many, the first value, and the sums of the differences from it and of their squares.

    Differences from a value that lies among the others keep their digits, where plain sums of squares would cancel; and they add
    up record by record, so that the outcome does not depend on how records were cut into batches.
    """

    root: bool
    population: bool

    dtypes = (_I8, _F8, _F8, _F8)
    initial = (0, 0.0, 0.0, 0.0)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:  # noqa: ARG002 - the protocol of accumulators
        assert column is not None  # noqa: S101 - only count() has no input
        check_numbers(column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert column is not None  # noqa: S101 - see check
        values, valid = floats_of(column)
        if valid is not None:
            slots, values = slots[valid], values[valid]
        counts, origins, sums, squares = cells
        new = np.flatnonzero(counts[slots] == 0)[::-1]  # the last one written stays: the first record of each slot
        origins[slots[new]] = values[new]
        with np.errstate(invalid="ignore", over="ignore"):  # infinities and NaN make the result NaN
            differences = values - origins[slots]
            np.add.at(counts, slots, 1)
            np.add.at(sums, slots, differences)
            np.add.at(squares, slots, differences * differences)

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        there = other[0] > 0
        slots, (more, origin, total, square) = slots[there], (cell[there] for cell in other)
        counts, origins, sums, squares = cells
        new = counts[slots] == 0
        origins[slots[new]] = origin[new]
        with np.errstate(invalid="ignore", over="ignore"):
            moved = origin - origins[slots]
            counts[slots] += more
            sums[slots] += total + more * moved
            squares[slots] += square + 2 * moved * total + more * moved * moved

    def result(self, cells: Cells) -> Column:
        counts, _, sums, squares = cells
        divisor = counts if self.population else counts - 1
        valid = divisor > 0
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.maximum(squares - sums * sums / np.maximum(counts, 1), 0.0) / np.maximum(divisor, 1)
            values = np.sqrt(spread) if self.root else spread
        return Column(values, None if bool(valid.all()) else valid, Kind.FLOAT)


def check_numbers(column: Column) -> None:
    """Raises CannotAddError for the first value of an untyped column that is no number (or Decimal's NaN, or too large)."""
    if not isinstance(column.values, list):
        return
    for index, value in enumerate(column.values):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, Decimal))):
            raise CannotAddError(index, f"a number is needed, but the value is {value!r}")
        if isinstance(value, Decimal) and value.is_nan():
            raise CannotAddError(index, f"{value!r} is no number")
        if isinstance(value, int) and not INT64.min <= value <= INT64.max:
            raise CannotAddError(index, f"{value} does not fit into 64 bits")


def floats_of(column: Column) -> tuple[Floats, npt.NDArray[np.bool_] | None]:
    """The values of a column of numbers as floats, and which of them are not null (None: all)."""
    if not isinstance(column.values, list):
        return column.values.astype(np.float64), column.valid
    valid = np.fromiter((value is not None for value in column.values), bool, len(column.values))
    return np.array([0.0 if value is None else float(value) for value in column.values], np.float64), valid
