"""Columns as a Polars frame, for expressions, and the result back as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from streamkit.record.column import Column, IntegerRangeError
from streamkit.record.schema import Field, Kind

INSTANT = pl.Datetime("us", "UTC")
DTYPES: dict[Kind, pl.DataType] = {
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOL: pl.Boolean(),
    Kind.STR: pl.String(),
    Kind.BYTES: pl.Binary(),
    Kind.DATETIME: INSTANT,
    Kind.DATE: pl.Date(),
}
_FILL: dict[Kind, Any] = {Kind.INT: 0, Kind.FLOAT: 0.0, Kind.BOOL: False}


def frame_of(columns: Mapping[str, Column], count: int) -> pl.DataFrame:
    """A frame of ``count`` rows with these columns, of the dtypes in the table of schema.py.

    An ANY column must hold nulls only (dtype Null): untyped values are grouped by their kinds first (kinds.py), so that a
    dtype never depends on which records happen to be in a batch. ValueError for those, and for DECIMAL and OBJECT columns.

    >>> import numpy as np
    >>> frame_of({"n": Column(np.array([1, 0]), np.array([True, False]), Kind.INT)}, 2).to_dicts()
    [{'n': 1}, {'n': None}]
    """
    # An expression may read no column (`pl.lit(1)`): the nameless column keeps the number of rows.
    return pl.DataFrame([_series(name, column) for name, column in columns.items()] or [pl.Series("", [None] * count)])


def columns_from_frame(frame: pl.DataFrame, count: int, fields: Mapping[str, Field] | None = None) -> dict[str, Column]:
    """The columns of a frame of ``count`` rows, or of one row that stands for all (the result of literals alone).

    ``fields`` are the declared ones: integers in a FLOAT field become floats.

    Integers of any width become INT, floats of any width FLOAT, datetimes of any unit DATETIME (naive is UTC; digits beyond
    microseconds are cut), categoricals STR, lists and structs OBJECT, a column of nulls ANY. `IntegerRangeError` for an
    unsigned integer beyond int64.

    >>> columns_from_frame(pl.DataFrame({"n": [1, None]}), 2)["n"].to_list()
    [1, None]
    """
    fields = fields or {}
    every = frame.get_columns()
    if frame.height != count:
        every = [series.new_from_index(0, count) for series in every]
    return {series.name: _column(series, fields.get(series.name)) for series in every}


def _series(name: str, column: Column) -> pl.Series:
    if column.kind is Kind.ANY and all(value is None for value in column.values):
        return pl.Series(name, column.values, dtype=pl.Null)
    dtype = DTYPES.get(column.kind)
    if dtype is None:
        raise ValueError(f"field '{name}' ({column.kind.value}) cannot be used in an expression; use a function instead")
    if isinstance(column.values, list):
        return pl.Series(name, column.values, dtype=dtype)
    series = pl.Series(name, column.values)
    if column.kind is Kind.DATETIME:
        series = series.cast(INSTANT)
    return series if column.valid is None else series.set(pl.Series(~column.valid), None)


def _column(series: pl.Series, field: Field | None) -> Column:
    kind = _kind(series.dtype)
    if kind is Kind.INT and field is not None and field.kind is Kind.FLOAT:
        kind = Kind.FLOAT
    if kind is Kind.DATETIME:
        return _instants(series)
    if kind not in _FILL:
        plain = series.cast(pl.String) if kind is Kind.STR else series
        return Column(plain.to_list(), None, kind)
    if kind is Kind.INT and series.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        _check_range(series)
    exact = series.cast(DTYPES[kind])
    if not exact.null_count():
        return Column(exact.to_numpy(), None, kind)
    return Column(exact.fill_null(_FILL[kind]).to_numpy(), exact.is_not_null().to_numpy(), kind)


def _kind(dtype: pl.DataType) -> Kind:
    for kind, known in DTYPES.items():
        if dtype == known:
            return kind
    if dtype.is_integer():
        return Kind.INT
    if dtype.is_float():
        return Kind.FLOAT
    if isinstance(dtype, pl.Datetime):
        return Kind.DATETIME
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return Kind.STR
    if dtype.is_decimal():
        return Kind.DECIMAL
    return Kind.ANY if dtype == pl.Null else Kind.OBJECT


def _instants(series: pl.Series) -> Column:
    assert isinstance(series.dtype, pl.Datetime)  # noqa: S101 - for mypy; `_kind` said so
    zoned = series.dt.replace_time_zone("UTC") if series.dtype.time_zone is None else series
    micros = zoned.cast(INSTANT).to_physical()
    if not micros.null_count():
        return Column(micros.to_numpy(), None, Kind.DATETIME)
    return Column(micros.fill_null(0).to_numpy(), micros.is_not_null().to_numpy(), Kind.DATETIME)


def _check_range(series: pl.Series) -> None:
    beyond = (series.cast(pl.Int64, strict=False).is_null() & series.is_not_null()).arg_true()
    if len(beyond):
        index = int(beyond[0])
        raise IntegerRangeError(f"is {series[index]}, beyond 64 bits", column=series.name, index=index)
