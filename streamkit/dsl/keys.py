"""Keys and names of repartitions: what key_by() groups by and what its topic is called."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from streamkit.dsl.columns import is_named, named_column
from streamkit.errors import DeclarationError, SchemaError
from streamkit.plan.expressions import expression_field, expression_text
from streamkit.plan.names import checked_name, kebab
from streamkit.plan.nodes import KeyBy, Late, Merge, Node, OnClose, OnUpdate, Source
from streamkit.plan.types import returned_type
from streamkit.record.schema import ANY_FIELD, Field, Kind, field_of

_INSTEAD = {
    Kind.DATETIME: 'group by a part of it, pl.col("at").dt.strftime("%Y-%m-%d").alias("day"), or let a window group by time',
    Kind.DATE: 'use its text: pl.col("day").cast(pl.String).alias("day")',
    Kind.DECIMAL: "use a function that returns its text: key_by(lambda row: str(row.amount), name=...)",
    Kind.OBJECT: "use a function that returns a str or an int of it: key_by(lambda row: ..., name=...)",
}


def key_by_columns(stream: Node, keys: tuple[str | pl.Expr, ...], name: str | None) -> KeyBy:
    """A KeyBy node on columns or expressions."""
    where = "key_by"
    columns: dict[str, pl.Expr] = {}
    fields: list[Field] = []
    for key in keys:
        column, expr = named_column(key, where=where)
        if column in columns:
            raise DeclarationError(f"{where}: column '{column}' is named twice")
        if name is None and not is_named(key):
            raise DeclarationError(
                f"{where}({expression_text(expr)}): the repartition topic is named after the columns, and this expression has no "
                'name of its own. Give it one with .alias("..."), or name the topic with name="..."'
            )
        field = expression_field(expr, stream.schema)
        _refuse_kind(field, f"{where}: column '{column}'", composite=len(keys) > 1)
        columns[column] = expr
        fields.append(field)
    if name is None:
        name = f"{source_name(stream)}-by-{'-'.join(kebab(column) for column in columns)}"
    return KeyBy(stream, checked_name(name, what=where), columns, None, tuple(fields))


def key_by_function(stream: Node, fn: Callable[[Any], Any], name: str | None) -> KeyBy:
    """A KeyBy node on a function; the type of its keys is what the function is annotated to return."""
    if name is None:
        raise DeclarationError(
            'key_by: with a function the repartition topic needs a name, as in key_by(fn, name="orders-by-band")'
        )
    annotation = returned_type(fn)
    field = _field_of_key(annotation)
    _refuse_kind(field, f"key_by: what {getattr(fn, '__qualname__', fn)} returns", composite=False)
    return KeyBy(stream, checked_name(name, what="key_by"), None, fn, (field,))


def source_name(node: Node) -> str:
    """What the records are called where they come from: the topic or topics, or the aggregate."""
    match node:
        case Source():
            return kebab(node.topic.name)
        case OnClose():
            return node.input.name
        case OnUpdate():
            return f"{node.input.name}-updates"
        case Late():
            return f"{node.input.name}-late"
        case Merge():
            return "-".join(dict.fromkeys(source_name(stream) for stream in node.streams))
        case _:
            return source_name(node.inputs[0])


def _field_of_key(annotation: Any) -> Field:
    if annotation in (datetime, date, Decimal):
        return field_of(annotation)
    found = field_of(annotation)
    if found.kind is not Kind.OBJECT:
        return found
    if getattr(annotation, "__origin__", annotation) is tuple:
        return Field(Kind.ANY, nullable=True, type=annotation)
    return found if isinstance(annotation, type) else ANY_FIELD


def _refuse_kind(field: Field, what: str, *, composite: bool) -> None:
    if field.kind in _INSTEAD:
        raise SchemaError(f"{what} is {field.kind.value}, which cannot be a key; {_INSTEAD[field.kind]}")
    if composite and field.kind is Kind.BYTES:
        raise SchemaError(f"{what} is bytes, which has no place in a key of several columns (a JSON array); use text or a number")
