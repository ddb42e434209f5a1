"""sum, min, max and mean of what numpy has no arrays for: text, dates, Decimals, untyped values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, CannotAddError, Cells, Failed, Slots, check_all, refuse_failed, results_of
from streamkit.state.packing import check_can_be_kept

_I8 = np.dtype(np.int64)
_OBJECT = np.dtype(object)


@dataclass(frozen=True, slots=True)
class Objects:
    """sum, min, max or mean of Python objects: text, dates, decimals, and untyped values. None until a value was seen."""

    combine: Callable[[Any, Any], Any]
    numbers: bool
    mean: bool
    result_kind: Kind

    dtypes = (_OBJECT, _I8)
    initial = (None, 0)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        """Runs the fold on the side: Python values can fail anywhere (text + number, 64 bits exceeded)."""
        assert column is not None  # noqa: S101 - only count() has no input
        given = column
        check_all(
            lambda: refuse_failed(cells[0], slots),
            lambda: check_can_be_kept(given),
            lambda: self._fold(cells[0], slots, given),
        )

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert column is not None  # noqa: S101 - see check
        totals, counts = self._fold(cells[0], slots, column)
        for slot, total in totals.items():
            cells[0][slot] = total
            cells[1][slot] += counts[slot]

    def _fold(self, start: npt.NDArray[Any], slots: Slots, column: Column) -> tuple[dict[int, Any], dict[int, int]]:
        totals: dict[int, Any] = {}
        counts: dict[int, int] = {}
        for index, (slot, value) in enumerate(zip(slots.tolist(), column.to_list(), strict=True)):
            if value is None:
                continue
            before = totals[slot] if slot in totals else start[slot]
            totals[slot] = self._one(before, value, index)
            counts[slot] = counts.get(slot, 0) + 1
        return totals, counts

    def _one(self, before: Any, value: Any, index: int) -> Any:
        if isinstance(before, Failed):
            raise CannotAddError(index, before.reason)
        if self.numbers and (isinstance(value, bool) or not isinstance(value, (int, float, Decimal))):
            raise CannotAddError(index, f"a number is needed, but the value is {value!r}")
        if isinstance(value, Decimal) and value.is_nan():
            raise CannotAddError(index, f"{value!r} is no number")
        try:
            after = value if before is None else self.combine(before, value)
        except TypeError as error:
            raise CannotAddError(index, str(error)) from error
        except ArithmeticError as error:
            raise CannotAddError(index, f"{before!r} and {value!r} give no exact result ({type(error).__name__})") from error
        if isinstance(after, int) and not INT64.min <= after <= INT64.max:
            raise CannotAddError(index, f"{after} does not fit into 64 bits")
        return after

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        for index, (slot, value, count) in enumerate(zip(slots.tolist(), other[0].tolist(), other[1].tolist(), strict=True)):
            if count:
                cells[0][slot] = self._both(cells[0][slot], value, index)
                cells[1][slot] += count

    def _both(self, one: Any, other: Any, index: int) -> Any:
        if isinstance(other, Failed):
            return other
        try:
            return self._one(one, other, index)
        except CannotAddError as error:
            return Failed(error.reason)

    def result(self, cells: Cells) -> Column:
        values = results_of(cells[0])
        if self.mean:
            values = [None if not count else total / count for total, count in zip(values, cells[1].tolist(), strict=True)]
        return Column(values, None, self.result_kind)


_EXACT = Context(prec=1_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, Overflow])


def plus(one: Any, other: Any) -> Any:
    """The sum of two numbers; with a Decimal among them the exact one, whatever the precision of the process is."""
    return _EXACT.add(one, other) if isinstance(one, Decimal) or isinstance(other, Decimal) else one + other


def smaller(one: Any, other: Any) -> Any:
    """The smaller one; NaN, whichever it is."""
    return other if other < one or other != other else one  # noqa: PLR0124 - NaN


def larger(one: Any, other: Any) -> Any:
    """The larger one; NaN, whichever it is."""
    return other if other > one or other != other else one  # noqa: PLR0124 - NaN
