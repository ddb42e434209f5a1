"""The values of one field for many records: how they are held, and how Python values are checked and converted into them.

How each kind is held is in the table of schema.py. Numbers, booleans and datetimes are numpy arrays with a mask for nulls; the
others are lists of Python objects with None for null.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record import instants
from streamkit.record.schema import Field, Kind

Values = npt.NDArray[Any] | list[Any]
Mask = npt.NDArray[np.bool_]


def repeated(value: int, count: int) -> npt.NDArray[np.int64]:
    """One value so many times, held once; read-only. As `np.broadcast_to` makes it, for a tenth of the time.

    >>> repeated(7, 3), repeated(7, 1_000_000).strides
    (array([7, 7, 7]), (0,))
    """
    array = np.ndarray(count, np.int64, np.array([value], np.int64), 0, (0,))
    array.flags.writeable = False
    return array


class ColumnError(ValueError):
    """One value does not fit its column: ``index`` is its place among the rows, ``column`` the name of the field."""

    def __init__(self, reason: str, *, column: str, index: int) -> None:
        self.column = column
        self.index = index
        super().__init__(f"field '{column}' {reason}")


class IntegerRangeError(ColumnError, OverflowError):
    """An integer beyond 64 bits: columns are int64, and a silent float would lose digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Values of one field, in the order of the records.

    ``values``: int64 (INT), float64 (FLOAT), bool (BOOL), int64 microseconds since 1970 UTC (DATETIME), else a list with None
    for null. ``valid`` of an array is False where the value is null (what the array holds there is meaningless), or None if
    all values are there; of a list it is always None. Arrays may be read-only: never write into a column.

    >>> column = Column(np.array([1, 0]), np.array([True, False]), Kind.INT)
    >>> column.to_list(), len(column)
    ([1, None], 2)
    """

    values: Values
    valid: Mask | None
    kind: Kind

    def __len__(self) -> int:
        return len(self.values)

    def to_list(self) -> list[Any]:
        """The values as Python objects: datetimes in UTC, None for null."""
        values = self.values
        if isinstance(values, list):
            return values
        if self.kind is Kind.DATETIME:
            present = values if self.valid is None else np.where(self.valid, values, 0)
            objects: list[Any] = instants.datetimes_of(present)
        else:
            objects = values.tolist()
        if self.valid is None:
            return objects
        return [value if there else None for value, there in zip(objects, self.valid.tolist(), strict=True)]

    def take(self, chosen: npt.NDArray[Any]) -> Column:
        """The values at these indices, or where this mask is true."""
        if isinstance(self.values, list):
            indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
            values = self.values
            return Column([values[index] for index in indices.tolist()], None, self.kind)
        return Column(self.values[chosen], None if self.valid is None else self.valid[chosen], self.kind)

    @staticmethod
    def concat(columns: Sequence[Column]) -> Column:
        """One after the other; of different kinds they become a column of objects (ANY)."""
        kinds = {column.kind for column in columns}
        if len(kinds) > 1 or any(isinstance(column.values, list) for column in columns):
            objects = [value for column in columns for value in column.to_list()]
            return Column(objects, None, kinds.pop() if len(kinds) == 1 else Kind.ANY)
        values = np.concatenate([column.values for column in columns])
        if all(column.valid is None for column in columns):
            return Column(values, None, kinds.pop())
        masks = [np.ones(len(column), bool) if column.valid is None else column.valid for column in columns]
        return Column(values, np.concatenate(masks), kinds.pop())


@dataclass(frozen=True, slots=True)
class Constant:
    """A column with the same value in every record; a datetime as int microseconds since 1970 UTC, as in a `Column`."""

    value: Any
    kind: Kind

    def to_list(self, count: int) -> list[Any]:
        value = instants.datetime_of(self.value) if self.kind is Kind.DATETIME and self.value is not None else self.value
        return [value] * count


def column_from(values: list[Any], name: str, field: Field) -> Column:
    """`columns.column_of` for values that were read already."""
    if field.kind in _CONVERT:
        return _array_column(values, name, field)
    if field.kind in _CLASSES:
        wanted = _CLASSES[field.kind]
        if not set(map(type, values)) <= ({wanted, type(None)} if field.nullable else {wanted}):
            _check_objects(values, wanted, name, field)
    return Column(values, None, field.kind)


def _array_column(values: list[Any], name: str, field: Field) -> Column:
    convert = _CONVERT[field.kind]
    try:
        return Column(convert(values), None, field.kind)
    except (TypeError, ValueError, OverflowError):
        if field.nullable and None in values:
            valid = np.fromiter((value is not None for value in values), bool, len(values))
            fill = _FILL[field.kind]
            try:
                return Column(convert([fill if value is None else value for value in values]), valid, field.kind)
            except (TypeError, ValueError, OverflowError):
                raise _first_misfit(values, name, field) from None
        raise _first_misfit(values, name, field) from None


def _first_misfit(values: list[Any], name: str, field: Field) -> ColumnError:
    convert = _CONVERT[field.kind]
    for index, value in enumerate(values):
        if value is None and field.nullable:
            continue
        try:
            convert([value])
        except OverflowError:
            error = IntegerRangeError if field.kind is Kind.INT else ColumnError
            beyond = "64 bits" if field.kind is Kind.INT else "what a float can hold"
            return error(f"is {_brief(value)}, beyond {beyond}", column=name, index=index)
        except (TypeError, ValueError):
            return _misfit(value, name, field, index)
    raise AssertionError(f"every value of '{name}' fits by itself")  # pragma: no cover - convert is elementwise


def _check_objects(values: list[Any], wanted: type, name: str, field: Field) -> None:
    for index, value in enumerate(values):
        # A datetime is a date to Python; a DATE column must not lose its time.
        if not (isinstance(value, wanted) and not isinstance(value, datetime)) and not (value is None and field.nullable):
            raise _misfit(value, name, field, index)


def _misfit(value: Any, name: str, field: Field, index: int) -> ColumnError:
    if value is None:
        return ColumnError(f"is null, but may not be: it is declared {field.kind.value}", column=name, index=index)
    wanted = "an RFC 3339 date and time" if field.kind is Kind.DATETIME else field.kind.value
    return ColumnError(f"is {_brief(value)} ({type(value).__name__}), not {wanted}", column=name, index=index)


def _brief(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to print thousands of digits
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _integers(values: list[Any]) -> npt.NDArray[np.int64]:
    return np.asarray(array("q", values))  # refuses floats and text, which np.fromiter would truncate or parse


def _floats(values: list[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(array("d", values))


def _booleans(values: list[Any]) -> npt.NDArray[np.bool_]:
    if not set(map(type, values)) <= {bool, np.bool_}:
        raise TypeError("not all are booleans")
    return np.array(values, bool)


def _instants(values: list[Any]) -> npt.NDArray[np.int64]:
    types = set(map(type, values))
    if types == {str}:
        return instants.parse(values)
    if types == {datetime}:
        return instants.micros_of_datetimes(values)
    return np.fromiter(map(_instant, values), np.int64, len(values))


def _instant(value: Any) -> int:
    if isinstance(value, datetime):
        return instants.micros_of(value)
    if isinstance(value, str):
        return instants.parse_one(value)
    raise TypeError("neither a datetime nor text")


_CONVERT: dict[Kind, Callable[[list[Any]], npt.NDArray[Any]]] = {
    Kind.INT: _integers,
    Kind.FLOAT: _floats,
    Kind.BOOL: _booleans,
    Kind.DATETIME: _instants,
}
_FILL: dict[Kind, Any] = {Kind.INT: 0, Kind.FLOAT: 0.0, Kind.BOOL: False, Kind.DATETIME: instants.EPOCH}
_CLASSES: dict[Kind, type] = {Kind.STR: str, Kind.BYTES: bytes, Kind.DATE: date, Kind.DECIMAL: Decimal}
