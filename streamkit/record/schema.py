"""The fields of a row type, their kinds, and how each kind is held in a column.

| kind     | Python type         | numpy column        | polars dtype         |
|----------|---------------------|---------------------|----------------------|
| INT      | int                 | int64               | Int64                |
| FLOAT    | float               | float64             | Float64              |
| BOOL     | bool                | bool                | Boolean              |
| STR      | str                 | object              | String               |
| BYTES    | bytes               | object              | Binary               |
| DATETIME | datetime (UTC)      | int64, microseconds | Datetime("us","UTC") |
| DATE     | date                | object              | Date                 |
| DECIMAL  | Decimal             | object              | not in expressions   |
| OBJECT   | anything else       | object              | not in expressions   |
| ANY      | not known (untyped) | object              | from the values      |
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from streamkit.errors import SchemaError
from streamkit.record.model import Row


class Kind(enum.Enum):
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STR = "str"
    BYTES = "bytes"
    DATETIME = "datetime"
    DATE = "date"
    DECIMAL = "decimal"
    OBJECT = "object"
    ANY = "any"

    @property
    def numeric(self) -> bool:
        return self in (Kind.INT, Kind.FLOAT, Kind.DECIMAL, Kind.ANY)


_KINDS: dict[type, Kind] = {
    int: Kind.INT,
    float: Kind.FLOAT,
    bool: Kind.BOOL,
    str: Kind.STR,
    bytes: Kind.BYTES,
    datetime: Kind.DATETIME,
    date: Kind.DATE,
    Decimal: Kind.DECIMAL,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its kind, whether it may be null, and the annotation it came from."""

    kind: Kind
    nullable: bool = False
    type: Any = Any

    def __str__(self) -> str:
        return f"{self.kind.value}{' | null' if self.nullable else ''}"


ANY_FIELD = Field(Kind.ANY, nullable=True)


@dataclass(frozen=True, slots=True)
class Schema:
    """What is known of the rows of a stream.

    ``fields`` maps names to fields in order. An *open* schema (untyped JSON rows, the result of an unannotated function)
    may hold any further field; asking for one gives `ANY_FIELD`. ``type`` is the Python class of a row: a Model or
    dataclass, `Row`, or None where a function's result is not annotated.
    """

    fields: Mapping[str, Field]
    open: bool = False
    type: Any = Row

    def field(self, name: str) -> Field | None:
        """The field of that name; None if the schema is closed and has none."""
        found = self.fields.get(name)
        return found if found is not None or not self.open else ANY_FIELD

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.fields)

    def __str__(self) -> str:
        inside = ", ".join(f"{name}: {field}" for name, field in self.fields.items())
        return "{" + ", ".join(part for part in (inside, "..." if self.open else "") if part) + "}"


OPEN = Schema({}, open=True, type=Row)
UNKNOWN = Schema({}, open=True, type=None)


def field_of(annotation: Any) -> Field:
    """The field that an annotation describes: ``int | None`` is a nullable INT."""
    inner, nullable = _without_none(annotation)
    if typing.get_origin(inner) is typing.Annotated:
        inner = typing.get_args(inner)[0]
    if inner is Any:
        return ANY_FIELD
    kind = _KINDS.get(inner, Kind.OBJECT) if isinstance(inner, type) else Kind.OBJECT
    return Field(kind, nullable, annotation)


def schema_of(row_type: Any) -> Schema:
    """The schema of a Model, msgspec Struct, dataclass, TypedDict-free `Row`/`dict`; `SchemaError` for anything else.

    Of a ``Record`` (what `Stream.records` gives) and of scalars nothing is known of fields: an open schema.
    """
    if row_type is Row or row_type is dict or typing.get_origin(row_type) is dict:
        return OPEN
    if isinstance(row_type, type) and issubclass(row_type, msgspec.Struct):
        hints = typing.get_type_hints(row_type, include_extras=True)
        return Schema({name: field_of(hints[name]) for name in row_type.__struct_fields__}, type=row_type)
    if isinstance(row_type, type) and dataclasses.is_dataclass(row_type):
        hints = typing.get_type_hints(row_type, include_extras=True)
        return Schema({f.name: field_of(hints[f.name]) for f in dataclasses.fields(row_type)}, type=row_type)
    raise SchemaError(f"{row_type!r} is not a row type: use a sk.Model, a dataclass, or leave the type out for untyped JSON rows")


def is_row_type(annotation: Any) -> bool:
    """Whether `schema_of` knows the fields of this annotation."""
    if annotation is Row:
        return True
    return isinstance(annotation, type) and (issubclass(annotation, msgspec.Struct) or dataclasses.is_dataclass(annotation))


def _without_none(annotation: Any) -> tuple[Any, bool]:
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        rest = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(rest) < len(typing.get_args(annotation)):
            return (rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]), True  # noqa: UP007 - built at run time
    return annotation, False
