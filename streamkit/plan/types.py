"""What annotations say: of functions, row types and keys."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from streamkit.plan.expressions import expression_text
from streamkit.record.schema import UNKNOWN, Field, Kind, Schema, field_of, is_row_type, schema_of


def describe(step: Any) -> str:
    """An expression or a function as a user would recognise it."""
    if isinstance(step, pl.Expr):
        return expression_text(step)
    name: str = getattr(step, "__qualname__", type(step).__name__).rpartition("<locals>.")[2]
    return "lambda" if name == "<lambda>" else name


_TYPES: dict[Kind, Any] = {Kind.INT: int, Kind.FLOAT: float, Kind.BOOL: bool, Kind.STR: str, Kind.BYTES: bytes}


def python_type(field: Field) -> Any:
    """The Python type of a key of this kind."""
    return _TYPES.get(field.kind, Any)


def type_name(row_type: Any) -> str:
    """A row type as messages call it; None is what nothing is known of."""
    return "unknown" if row_type is None else str(getattr(row_type, "__name__", row_type))


def field_of_key(key_type: Any) -> Field:
    """A key may always be null: a null key is a group of its own."""
    found = field_of(key_type)
    kind = found.kind if found.kind in _TYPES else Kind.ANY
    return Field(kind, nullable=True, type=key_type)


def common_field(fields: list[Field]) -> Field:
    """What a field is that is one of these; ANY if they differ in kind."""
    nullable = any(field.nullable for field in fields)
    if len({field.kind for field in fields}) > 1:
        return Field(Kind.ANY, nullable=True)
    return Field(fields[0].kind, nullable, fields[0].type)


def returned_type(fn: Callable[..., Any]) -> Any:
    """The return annotation of a function, or Any; a class returns itself."""
    if inspect.isclass(fn):
        return fn
    try:
        return typing.get_type_hints(fn if inspect.isroutine(fn) else type(fn).__call__).get("return", Any)
    except (NameError, TypeError, AttributeError):  # annotations that cannot be resolved here say nothing
        return Any


def returned_schema(fn: Callable[..., Any], *, element: bool = False) -> Schema:
    """The rows that a function returns, or the elements of what it returns, by its annotation."""
    annotation = returned_type(fn)
    if element:
        arguments = typing.get_args(annotation)
        annotation = arguments[0] if arguments else Any
    return schema_of(annotation) if is_row_type(annotation) else UNKNOWN


def has_default(row_type: Any, name: str) -> bool:
    """Whether a field of a Model or dataclass may be left out."""
    if isinstance(row_type, type) and issubclass(row_type, msgspec.Struct):
        return not next(info for info in msgspec.structs.fields(row_type) if info.name == name).required
    if dataclasses.is_dataclass(row_type):
        info = next(info for info in dataclasses.fields(row_type) if info.name == name)
        return info.default is not dataclasses.MISSING or info.default_factory is not dataclasses.MISSING
    return False
