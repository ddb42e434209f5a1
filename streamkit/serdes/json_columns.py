"""JSON objects from columns, without a Python object per row: 250 ns a row where a Row and its encoding take 700.

A Struct with the names of the result is filled and encoded inside `map`; what repeats (constants, the few distinct datetimes of
a column) is encoded once and spliced in as it is.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import repeat
from types import NoneType
from typing import Any

import msgspec
import numpy as np

from streamkit.record.columns import Column, Constant, rows_from_columns
from streamkit.record.instants import datetimes_of
from streamkit.record.schema import Kind
from streamkit.serdes.json_text import encode, encode_object
from streamkit.serdes.projection import ModelField, fields_of, named_struct
from streamkit.serdes.serde import ColumnsEncoder
from streamkit.serdes.utc import PLAIN, in_utc

_AS_TYPED: dict[Any, Kind] = {int: Kind.INT, float: Kind.FLOAT, bool: Kind.BOOL, str: Kind.STR, datetime: Kind.DATETIME}


def columns_to_json(names: Sequence[str]) -> ColumnsEncoder:
    """For rows without a model: the columns in the order of the names."""
    if not all(map(_can_be_renamed, names)):
        return lambda columns, count: list(map(encode_object, rows_from_columns(dict(zip(names, columns, strict=True)), count)))
    struct = named_struct(tuple(names))

    def encode_columns(columns: Sequence[Column | Constant], count: int) -> list[bytes]:
        if not columns:
            return [b"{}"] * count
        return list(map(encode, map(struct, *(_items(column, count) for column in columns))))

    return encode_columns


def columns_to_model(
    model: type[Any], names: Sequence[str], finite: Sequence[str], encode_row: Callable[[Any], bytes]
) -> ColumnsEncoder:
    """For rows of a model: in its order, with its wire names and defaults.

    Columns whose kind is exactly that of their field (or INT in a FLOAT field) need no further check. Everything else takes
    the way through rows and ``encode_row``, which converts and refuses.
    """
    fields = fields_of(model)
    plain = _is_plain(model) and all(name in names or part.default is not msgspec.NODEFAULT for name, part in fields.items())
    write = columns_to_json([part.wire_name for part in fields.values()])

    def encode_columns(columns: Sequence[Column | Constant], count: int) -> list[bytes]:
        given = dict(zip(names, columns, strict=True))
        if plain and all(_fits(column, fields[name], finite=name in finite) for name, column in given.items()):
            ordered = [
                _widened(given[name], part) if name in given else Constant(part.default, Kind.ANY)
                for name, part in fields.items()
            ]
            return write(ordered, count)
        return list(map(encode_row, rows_from_columns(given, count)))

    return encode_columns


def _can_be_renamed(name: str) -> bool:
    """Whether msgspec can write this wire name: it takes none that would have to be escaped."""
    return not any(char in '"\\' or char < " " for char in name)


def _items(column: Column | Constant, count: int) -> Iterable[Any]:
    """The values for one field of the Struct."""
    if isinstance(column, Constant):
        value = column.to_list(1)[0]
        return repeat(msgspec.Raw(encode(in_utc(value))), count)
    if column.kind is Kind.DATETIME:
        return _encoded_instants(column)
    values = column.to_list()
    if isinstance(column.values, list) and not PLAIN.issuperset(map(type, values)):
        return map(in_utc, values)
    return values


def _encoded_instants(column: Column) -> list[Any]:
    micros = np.asarray(column.values)
    if column.valid is not None:
        micros = np.where(column.valid, micros, 0)
    # Windows come in runs: only the first of each run is sorted.
    starts = np.flatnonzero(np.concatenate(([True], micros[1:] != micros[:-1]))) if len(micros) else micros
    distinct, places = np.unique(micros[starts], return_inverse=True)
    places = np.repeat(places, np.diff(starts, append=len(micros)))
    texts: list[Any] = [msgspec.Raw(encode(moment)) for moment in datetimes_of(distinct)]
    if column.valid is not None:
        places = np.where(column.valid, places, len(texts))
        texts.append(None)
    return list(map(texts.__getitem__, places.tolist()))


def _is_plain(model: type[Any]) -> bool:
    """Whether a row of the model is written as its fields, all of them, in order."""
    if hasattr(model, "__post_init__"):
        return False
    if issubclass(model, msgspec.Struct):
        config = model.__struct_config__
        return not (config.array_like or config.omit_defaults or config.tag is not None)
    return all(info.init for info in dataclasses.fields(model))


def _fits(column: Column | Constant, field: ModelField, *, finite: bool) -> bool:
    arguments = typing.get_args(field.type)
    nullable = NoneType in arguments
    rest = [argument for argument in arguments if argument is not NoneType]
    kind = _AS_TYPED.get(rest[0] if nullable and len(rest) == 1 else field.type)
    if kind is None or not (column.kind is kind or (column.kind is Kind.INT and kind is Kind.FLOAT)):
        return False
    if isinstance(column, Constant):
        return column.value is not None and kind is not Kind.FLOAT
    if finite and column.kind is Kind.FLOAT and not bool(np.isfinite(column.values).all()):
        return False
    return nullable or (column.valid is None and not (isinstance(column.values, list) and None in column.values))


def _widened(column: Column | Constant, field: ModelField) -> Column | Constant:
    """Integers in a float field are written as floats, as `msgspec.convert` makes them."""
    if column.kind is Kind.INT and isinstance(column, Column) and float in (field.type, *typing.get_args(field.type)):
        return Column(np.asarray(column.values).astype(np.float64), column.valid, Kind.FLOAT)
    return column
