"""From rows to columns and back.

The column itself is in column.py; untyped values for expressions in kinds.py; Polars frames in frames.py. Their names can be
imported from here.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from streamkit.record.column import Column, ColumnError, Constant, IntegerRangeError, column_from, repeated
from streamkit.record.frames import columns_from_frame, frame_of
from streamkit.record.kinds import groups_of_kinds
from streamkit.record.model import Row
from streamkit.record.schema import Field

__all__ = [
    "Column",
    "ColumnError",
    "Constant",
    "IntegerRangeError",
    "column_from",
    "column_of",
    "columns_from_frame",
    "frame_of",
    "groups_of_kinds",
    "repeated",
    "rows_from_columns",
    "values_of",
]


def values_of(rows: Sequence[Any], name: str) -> list[Any]:
    """One field of each row: an attribute, or an item of a dict, where a missing field is null.

    >>> values_of([Row(a=1), Row(b=2)], "a")
    [1, None]
    """
    try:
        if rows and isinstance(rows[0], dict):
            return list(map(operator.itemgetter(name), rows))
        return list(map(operator.attrgetter(name), rows))
    except (AttributeError, KeyError, TypeError):  # a missing field, or rows of different types from one function
        return [row.get(name) if isinstance(row, dict) else getattr(row, name, None) for row in rows]


def column_of(rows: Sequence[Any], name: str, field: Field) -> Column:
    """The column of one field; of an ANY field the objects as they are (see kinds.py for expressions over those).

    `ColumnError` names the first value that does not fit; `IntegerRangeError`, an OverflowError, if it is an integer beyond
    64 bits. Null in a field that may not be null does not fit either. Datetimes may be RFC 3339 text.

    >>> from streamkit.record.schema import Kind
    >>> column_of([Row(n=1), Row(n=None)], "n", Field(Kind.INT, nullable=True)).to_list()
    [1, None]
    >>> column_of([Row(t="2020-04-15T08:05:00Z")], "t", Field(Kind.DATETIME)).values.tolist()
    [1586937900000000]
    >>> column_of([Row(n=1), Row(n="x")], "n", Field(Kind.INT))
    Traceback (most recent call last):
    streamkit.record.column.ColumnError: field 'n' is 'x' (str), not int
    """
    return column_from(values_of(rows, name), name, field)


def rows_from_columns(columns: Mapping[str, Column | Constant], count: int) -> list[Row]:
    """``count`` rows with these fields, in this order.

    >>> from streamkit.record.schema import Kind
    >>> rows_from_columns({"item": Column(["A", "B"], None, Kind.STR), "n": Constant(1, Kind.INT)}, 2)
    [{'item': 'A', 'n': 1}, {'item': 'B', 'n': 1}]
    """
    if not columns:
        return [Row() for _ in range(count)]
    lists = (column.to_list(count) if isinstance(column, Constant) else column.to_list() for column in columns.values())
    return list(map(Row, map(zip, repeat(tuple(columns)), zip(*lists, strict=True))))
