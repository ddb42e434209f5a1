"""Untyped values for expressions: records grouped by the kinds of their values.

A Polars column has one dtype, JSON values have any. If a batch were turned into columns as it comes, ``1`` beside ``"x"`` or
``2.5`` would be converted or refused depending on which records the batch holds, and results would depend on how records
were cut into batches. So each combination of kinds is evaluated by itself, with exact dtypes: what becomes of a record is a
function of that record alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.column import Column, ColumnError, column_from
from streamkit.record.schema import Field, Kind

Int64s = npt.NDArray[np.int64]

# Order matters to subclasses: bool is an int, a datetime is a date. The place in this table is the code of the kind.
_KINDS: tuple[tuple[Kind, tuple[type, ...]], ...] = (
    (Kind.ANY, (type(None),)),
    (Kind.BOOL, (bool, np.bool_)),
    (Kind.INT, (int, np.integer)),
    (Kind.FLOAT, (float, np.floating)),
    (Kind.STR, (str,)),
    (Kind.BYTES, (bytes,)),
    (Kind.DATETIME, (datetime,)),
    (Kind.DATE, (date,)),
)
_NESTED = len(_KINDS)
_CODES: dict[type, int] = {known: code for code, (_, types) in enumerate(_KINDS) for known in types}


def groups_of_kinds(columns: Mapping[str, Column], count: int) -> list[tuple[Int64s, dict[str, Column]]]:
    """The ``count`` records, grouped by the kinds of their values in ANY columns.

    Each group is the ascending positions of its records and its columns, now of exact kinds; one that stays ANY holds nulls
    only. Groups come in the order of their first record. `ColumnError` for the first record with a nested value (list, dict,
    Decimal or another object), which expressions cannot take, or an integer beyond 64 bits (`IntegerRangeError`).

    >>> for at, typed in groups_of_kinds({"n": Column([1, "x", 2, None], None, Kind.ANY)}, 4):
    ...     print(at, typed["n"].kind.value, typed["n"].to_list())
    [0 2] int [1, 2]
    [1] str ['x']
    [3] any [None]
    """
    if not count:
        return []
    untyped = {name: column.to_list() for name, column in columns.items() if column.kind is Kind.ANY}
    codes = {name: _codes(values) for name, values in untyped.items()}
    _refuse_nested(untyped, codes)
    signature = np.zeros(count, np.int64)
    for column in codes.values():
        # Renumbered after each field, so that any number of fields fits.
        signature = np.unique(signature * (_NESTED + 1) + column, return_inverse=True)[1]
    groups: list[tuple[Int64s, dict[str, Column]]] = []
    errors: list[ColumnError] = []
    for first in np.sort(np.unique(signature, return_index=True)[1]).tolist():
        at = np.flatnonzero(signature == signature[first])
        try:
            groups.append((at, {name: _exact(name, column, at, codes.get(name)) for name, column in columns.items()}))
        except ColumnError as error:
            errors.append(error)
    if errors:
        raise min(errors, key=lambda error: error.index)
    return groups


def _codes(values: list[Any]) -> Int64s:
    types = set(map(type, values))
    table = {found: _CODES.get(found, -1) for found in types}
    for found in types:
        if table[found] < 0:
            table[found] = next((code for code, (_, known) in enumerate(_KINDS) if issubclass(found, known)), _NESTED)
    if len(types) == 1:
        return np.full(len(values), table[types.pop()])
    return np.fromiter(map(table.__getitem__, map(type, values)), np.int64, len(values))


def _refuse_nested(values: Mapping[str, list[Any]], codes: Mapping[str, Int64s]) -> None:
    nested = [(int(np.argmax(column == _NESTED)), name) for name, column in codes.items() if (column == _NESTED).any()]
    if nested:
        index, name = min(nested)
        what = type(values[name][index]).__name__
        raise ColumnError(f"is a {what}: expressions take plain values only; use a function", column=name, index=index)


def _exact(name: str, column: Column, at: Int64s, codes: Int64s | None) -> Column:
    """The part of a column at these positions, with the kind that an untyped one has there."""
    part = column if len(at) == len(column) else column.take(at)
    if codes is None:
        return part
    kind = _KINDS[codes[at[0]]][0]
    try:
        return column_from(part.to_list(), name, Field(kind, nullable=kind is Kind.ANY))
    except ColumnError as error:
        error.index = int(at[error.index])
        raise
