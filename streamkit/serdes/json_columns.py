"""JSON objects from columns, without a Python object per row: 40 ns a row where a Row and its encoding take 700.

The compiled module puts the text of columns together; of integers it makes the text as well. Without it, and for columns of
objects, a Struct with the names of the result is filled and encoded inside `map` (250 ns). What repeats (constants, the few
distinct datetimes of a column) is encoded once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise, repeat
from types import NoneType
from typing import Any

import msgspec
import numpy as np

from streamkit.record.columns import Column, Constant, rows_from_columns
from streamkit.record.instants import datetime_of, datetimes_of
from streamkit.record.joined import JoinedBytes
from streamkit.record.schema import Kind
from streamkit.serdes.compiled import COLUMNS, Columns
from streamkit.serdes.json_text import encode, encode_object
from streamkit.serdes.projection import ModelField, fields_of, named_struct
from streamkit.serdes.serde import ColumnsEncoder
from streamkit.serdes.utc import PLAIN, in_utc

_FEW = 64
_AS_TYPED: dict[Any, Kind] = {int: Kind.INT, float: Kind.FLOAT, bool: Kind.BOOL, str: Kind.STR, datetime: Kind.DATETIME}


def columns_to_json(names: Sequence[str], compiled: Columns | None = COLUMNS) -> ColumnsEncoder:
    """For rows without a model: the columns in the order of the names."""
    if not all(map(_can_be_renamed, names)):
        return lambda columns, count: list(map(encode_object, rows_from_columns(dict(zip(names, columns, strict=True)), count)))
    struct = named_struct(tuple(names))
    labels = [b",%s:" % encode(name) for name in names]

    def encode_columns(columns: Sequence[Column | Constant], count: int) -> Sequence[bytes]:
        if not columns or not count:
            return [b"{}"] * count
        if compiled is not None and all(map(_can_be_spliced, columns)):
            return _spliced(compiled, labels, columns, count)
        return list(map(encode, map(struct, *(_items(column, count) for column in columns))))

    return encode_columns


def _can_be_spliced(column: Column | Constant) -> bool:
    """Whether its text is made for a whole column; of a column of objects it would be one call per value."""
    return isinstance(column, Constant) or column.kind is Kind.STR or not isinstance(column.values, list)


def _spliced(compiled: Columns, labels: Sequence[bytes], columns: Sequence[Column | Constant], count: int) -> Sequence[bytes]:
    """The text of each column between labels. What is the same in every row becomes part of those."""
    parts: list[tuple[bytes, str, Any]] = []
    before = b"{"
    for place, (label, column) in enumerate(zip(labels, columns, strict=True)):
        before += label if place else label[1:]
        if isinstance(column, Constant):
            before += encode(in_utc(column.to_list(1)[0]))
        else:
            parts.append((before, *_text(column)))
            before = b""
    return JoinedBytes(compiled.splice(tuple(parts), before + b"}", count, lambda value: encode(in_utc(value))))


def _text(column: Column) -> tuple[str, Any]:
    """The values as `Columns.splice` takes them."""
    if column.kind is Kind.STR:
        return "s", column.values
    if column.kind is Kind.DATETIME:
        return "b", _of_instants(column, bytes, b"null")
    if column.kind is Kind.INT and column.valid is None:
        return "q", np.ascontiguousarray(column.values)
    return "b", encode(column.to_list())[1:-1].split(b",")  # of numbers and booleans: no comma is in one


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

    def encode_columns(columns: Sequence[Column | Constant], count: int) -> Sequence[bytes]:
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
        return _of_instants(column, msgspec.Raw, None)
    values = column.to_list()
    if isinstance(column.values, list) and not PLAIN.issuperset(map(type, values)):
        return map(in_utc, values)
    return values


@lru_cache(maxsize=1_024)
def _text_of(micros: int) -> bytes:
    return encode(datetime_of(micros))


def _of_instants(column: Column, make: Callable[[bytes], Any], null: Any) -> list[Any]:
    """What ``make`` gives for the text of each; it is called once for each instant that occurs, or each run of few."""
    micros = np.asarray(column.values)
    if column.valid is not None:
        micros = np.where(column.valid, micros, 0)
    # Windows come in runs: only the first of each run is sorted.
    inner: list[int] = ((micros[1:] != micros[:-1]).nonzero()[0] + 1).tolist()
    if column.valid is None and 2 * len(inner) < len(micros) and len(inner) < _FEW:
        # Bounds of the few windows that close together. They are the same in every partition, so their texts are kept.
        bounds = [0, *inner, len(micros)]
        texts = map(make, map(_text_of, micros[bounds[:-1]].tolist()))
        return [text for text, (start, end) in zip(texts, pairwise(bounds), strict=True) for _ in range(start, end)]
    starts = np.array([0, *inner] if len(micros) else [], np.int64)
    distinct, places = np.unique(micros[starts], return_inverse=True)
    places = np.repeat(places, np.diff(starts, append=len(micros)))
    made = list(map(make, map(encode, datetimes_of(distinct))))
    if column.valid is not None:
        places = np.where(column.valid, places, len(made))
        made.append(null)
    return list(map(made.__getitem__, places.tolist()))


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
