"""What each aggregate function keeps per (window, key), and how a batch is added to it.

An accumulator owns one or two *cells*: flat numpy arrays with one place per slot. `add` folds a column of inputs into the
cells at the given slots in record order, so that the outcome does not depend on how records were cut into batches; `merge`
folds the cells of another pane. Where inputs may be null a second cell counts the values that were not.

Integer sums are checked before they can wrap; every accumulator of Python objects (text, decimals, untyped values) follows
Python's own arithmetic, with integers held to 64 bits all the same.

`check` refuses a record, which is then left out or stops the service. `merge` has no record to blame and never fails: what cannot
be put together is marked in its cell (`Failed`; a sum of integers by INT64.min, which no sum may be), stays so whatever is merged
with it, takes no more records, and has no result (`CannotGiveError`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Kind

Cells = list[npt.NDArray[Any]]
Slots = npt.NDArray[np.int64]
INT64 = np.iinfo(np.int64)


class CannotAddError(ValueError):
    """Input number ``index`` of a column cannot be added; nothing of the column was."""

    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        self.reason = reason
        super().__init__(reason)


class CannotGiveError(ValueError):
    """Row number ``index`` of the cells has no result."""

    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Failed:
    """In the place of a state: why there is none."""

    reason: str


class Accumulator(Protocol):
    """State of one aggregate function; ``dtypes`` and ``initial`` describe its cells."""

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]: ...
    @property
    def initial(self) -> tuple[Any, ...]: ...
    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        """Raises CannotAddError for the first input that `add` could not take; changes nothing."""
        ...

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None: ...
    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        """Adds another pane's cells; each slot occurs once."""
        ...

    def result(self, cells: Cells) -> Column:
        """One value per row. Raises CannotGiveError for the first row that has none."""
        ...


T = TypeVar("T")


class Checked(Generic[T]):
    """What `check` has worked out on the way, by slot, until `add` is called for the same cells and slots."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: list[tuple[npt.NDArray[Any], Slots, dict[int, T]]] = []

    def keep(self, cell: npt.NDArray[Any], slots: Slots, found: dict[int, T]) -> None:
        self._kept.append((cell, slots, found))

    def take(self, cell: npt.NDArray[Any], slots: Slots) -> dict[int, T] | None:
        for at, (checked_cell, checked_slots, found) in enumerate(self._kept):
            if checked_cell is cell and checked_slots is slots:
                del self._kept[at]
                return found
        return None


_I8 = np.dtype(np.int64)
_F8 = np.dtype(np.float64)
_OBJECT = np.dtype(object)


class HasCells(Protocol):
    """What a changelog has to know of an accumulator."""

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]: ...
    @property
    def initial(self) -> tuple[Any, ...]: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first and the last time of a session, kept like an accumulator."""

    dtypes = (_I8, _I8)
    initial = (0, 0)


@dataclass(frozen=True, slots=True)
class Count:
    """Records, or where there is an input the values that are not null."""

    dtypes = (_I8,)
    initial = (0,)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        """Every input can be counted."""

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        if column is not None:
            valid = present(column)
            slots = slots if valid is None else slots[valid]
        np.add.at(cells[0], slots, 1)

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        cells[0][slots] += other[0]

    def result(self, cells: Cells) -> Column:
        return Column(cells[0], None, Kind.INT)


@dataclass(frozen=True, slots=True)
class Numeric:
    """sum, min or max of int64 or float64: a ufunc over a flat array. Where inputs may be null (``counted``), or the count
    is wanted for itself, a second cell counts the values."""

    ufunc: np.ufunc
    kind: Kind
    neutral: int | float
    result_kind: Kind
    counted: bool

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        return (_F8 if self.kind is Kind.FLOAT else _I8, _I8)[: 1 + self.counted]

    @property
    def initial(self) -> tuple[Any, ...]:
        return (self.neutral, 0)[: 1 + self.counted]

    @property
    def _can_wrap(self) -> bool:
        return self.ufunc is np.add and self.kind is Kind.INT

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        if self._can_wrap and column is not None:
            _check_int_sum(cells[0], slots, column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert column is not None  # noqa: S101 - only count() has no input, and it is another class
        values = np.asarray(column.values, cells[0].dtype)
        if column.valid is not None:
            slots, values = slots[column.valid], values[column.valid]
        # A NaN among floats makes the result NaN, and too large a sum infinity; that is no warning's business.
        with np.errstate(invalid="ignore", over="ignore"):
            self.ufunc.at(cells[0], slots, values)
        if self.counted:
            np.add.at(cells[1], slots, 1)

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        before = cells[0][slots]
        with np.errstate(invalid="ignore", over="ignore"):
            total = self.ufunc(before, other[0])
        if self._can_wrap:
            wrapped = ((before ^ total) & (other[0] ^ total)) < 0
            total[wrapped | (before == INT64.min) | (other[0] == INT64.min)] = INT64.min
        cells[0][slots] = total
        if self.counted:
            cells[1][slots] += other[1]

    def result(self, cells: Cells) -> Column:
        if self._can_wrap:
            refuse_wrapped(cells[0])
        values = cells[0].astype(bool) if self.result_kind is Kind.BOOL else cells[0]
        if not self.counted:
            return Column(values, None, self.result_kind)
        valid = cells[1] > 0
        return Column(values, None if bool(valid.all()) else valid, self.result_kind)


@dataclass(frozen=True, slots=True)
class Mean:
    """Sum and count; the quotient is taken once, at the end. Of integers the sum is exact."""

    total: Numeric

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        return self.total.dtypes

    @property
    def initial(self) -> tuple[Any, ...]:
        return self.total.initial

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        self.total.check(cells, slots, column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        self.total.add(cells, slots, column)

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        self.total.merge(cells, slots, other)

    def result(self, cells: Cells) -> Column:
        total, counts = cells
        if self.total.kind is Kind.INT:
            refuse_wrapped(total)
        valid = counts > 0
        values = total / np.maximum(counts, 1)
        return Column(values, None if bool(valid.all()) else valid, Kind.FLOAT)


def dtype_of(kind: Kind) -> np.dtype[Any]:
    """How a value of this kind is kept in a cell as it is."""
    if kind is Kind.FLOAT:
        return _F8
    return _I8 if kind in (Kind.INT, Kind.BOOL, Kind.DATETIME) else _OBJECT


def present(column: Column) -> npt.NDArray[np.bool_] | None:
    """Which values of a column are not null; None if all are there."""
    if column.valid is not None or not isinstance(column.values, list):
        return column.valid
    valid = np.fromiter((value is not None for value in column.values), bool, len(column.values))
    return None if bool(valid.all()) else valid


def refuse_wrapped(totals: npt.NDArray[Any]) -> None:
    """Raises CannotGiveError for the first sum of integers that has left 64 bits."""
    wrapped = np.flatnonzero(totals == INT64.min)
    if len(wrapped):
        raise CannotGiveError(int(wrapped[0]), _TOO_LARGE)


def refuse_failed(cell: npt.NDArray[Any], slots: Slots) -> None:
    """Raises CannotAddError for the first record whose slot takes no more."""
    held = cell[np.unique(slots)].tolist()
    if not any(type(state) is Failed for state in held):
        return
    for index, slot in enumerate(slots.tolist()):
        if isinstance(state := cell[slot], Failed):
            raise CannotAddError(index, f"its state was lost before: {state.reason}")


def results_of(cell: npt.NDArray[Any]) -> list[Any]:
    """The states of a cell of objects; raises CannotGiveError for the first that there is not."""
    states: list[Any] = cell.tolist()
    for index, state in enumerate(states):
        if type(state) is Failed:
            raise CannotGiveError(index, state.reason)
    return states


def check_all(*checks: Callable[[], object]) -> None:
    """Makes all checks, and raises the CannotAddError of the first record that one of them refuses."""
    refused: list[CannotAddError] = []
    for check in checks:
        try:
            check()
        except CannotAddError as error:
            refused.append(error)
    if refused:
        raise min(refused, key=lambda error: error.index)


def check_columns(
    functions: Sequence[Accumulator], cells: Sequence[Cells], slots: Slots, columns: Sequence[Column | None]
) -> None:
    """Raises the CannotAddError of the first record that one of the functions refuses: what lies behind it is looked at with that
    one among it."""
    refused: CannotAddError | None = None
    for function, held, column in zip(functions, cells, columns, strict=True):
        try:
            function.check(held, slots, column)
        except CannotAddError as error:
            refused = error if refused is None or error.index < refused.index else refused
    if refused is not None:
        raise refused


_TOO_LARGE = "the sum does not fit into 64 bits"


def _check_int_sum(totals: npt.NDArray[Any], slots: Slots, column: Column) -> None:
    """Sums cannot wrap if even all values on top of the largest total stay inside; only else each is looked at. A sum is above
    INT64.min, which says that it has wrapped."""
    values = np.asarray(column.values, np.int64)
    if not len(values):
        return
    largest = max(-int(values.min()), int(values.max()), 0)
    touched = totals[slots]
    reached = max(-int(touched.min()), int(touched.max()), 0)
    if reached + largest * len(values) <= INT64.max:
        return
    running: dict[int, int] = {}
    valid = column.valid
    for index, (slot, value) in enumerate(zip(slots.tolist(), values.tolist(), strict=True)):
        if totals[slot] == INT64.min:
            raise CannotAddError(index, f"its state was lost before: {_TOO_LARGE}")
        if valid is None or valid[index]:
            total = running.get(slot, int(totals[slot])) + value
            if not INT64.min < total <= INT64.max:
                raise CannotAddError(index, f"the sum {total} does not fit into 64 bits")
            running[slot] = total
