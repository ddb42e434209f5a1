"""Whether rows fit a model or a topic: names and types, checked where the pipeline is declared."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from streamkit.errors import SchemaError
from streamkit.plan.names import near_names
from streamkit.plan.nodes import Node
from streamkit.plan.topic import Topic
from streamkit.plan.types import type_name
from streamkit.record.model import Row
from streamkit.record.schema import Field, Kind, Schema, field_of, schema_of

_ALSO_FITS = {(Kind.INT, Kind.FLOAT), (Kind.INT, Kind.DECIMAL)}
_LENIENT = (Kind.ANY, Kind.OBJECT)  # checked record by record: what they hold is not known before


def check_fits(schema: Schema, model: Any, *, where: str) -> None:
    """`SchemaError` listing every field that is missing, left over, or of another type. Open schemas are checked at run time."""
    if schema.open or schema.type is model:
        return
    wanted = schema_of(model)
    optional = _with_default(model)
    wrong = [
        f"field '{name}' ({field}) is missing"
        for name, field in wanted.fields.items()
        if name not in schema.fields and name not in optional
    ]
    wrong += [
        f"'{name}' ({field}) is not a field of {type_name(model)}"
        for name, field in schema.fields.items()
        if name not in wanted.fields
    ]
    wrong += [
        f"'{name}' is {field}, {type_name(model)} has {wanted.fields[name]}{_null_hint(field, wanted.fields[name])}"
        for name, field in schema.fields.items()
        if name in wanted.fields and not _fits(field, wanted.fields[name])
    ]
    if wrong:
        raise SchemaError(f"{where}: the rows do not fit {type_name(model)}: {'; '.join(wrong)}. The rows are {schema}")


def check_sink(node: Node, topic: Topic[Any, Any], key: str | None) -> None:
    """Whether a stream's values and keys can be written to a topic."""
    where = f"to({topic.name})"
    _check_value(node.schema, topic, where)
    if key is not None:
        _check_key_column(node.schema, topic, key, where)
    elif topic.key_declared:
        have, want = field_of(node.key_type), field_of(topic.key_serde.type)
        if node.key_type is not None and have.kind not in _LENIENT and want.kind not in _LENIENT and have.kind is not want.kind:
            raise SchemaError(
                f"{where}: the key of the records is {have.kind.value}, the topic's is {want.kind.value}; declare the topic with "
                f"key={have.kind.value}, or name the column that is the key: to(topic, key=...)"
            )


def _check_value(schema: Schema, topic: Topic[Any, Any], where: str) -> None:
    wanted = topic.value_serde.schema.type
    if wanted is Row or wanted is None or wanted is schema.type:
        return
    if schema.type is Row:
        if _is_model(wanted):
            check_fits(schema, wanted, where=where)
        elif not schema.open:
            raise SchemaError(
                f"{where}: the topic takes {type_name(wanted)}, the stream has rows {schema}; make it one with map()"
            )
    elif schema.type is not None:
        raise SchemaError(
            f"{where}: the topic takes {type_name(wanted)}, the stream has {type_name(schema.type)}; convert it with "
            f"into({type_name(wanted)}) or map()"
        )


def _check_key_column(schema: Schema, topic: Topic[Any, Any], key: str, where: str) -> None:
    field = schema.field(key)
    if field is None:
        raise SchemaError(f"{where}: key='{key}' names no column; {near_names(key, schema.names)}")
    want = field_of(topic.key_serde.type)
    if topic.key_declared and field.kind not in _LENIENT and want.kind not in _LENIENT and field.kind is not want.kind:
        raise SchemaError(f"{where}: key='{key}' is {field}, the topic's key is {want.kind.value}")
    if field.kind in (Kind.DECIMAL, Kind.OBJECT):
        raise SchemaError(
            f"{where}: key='{key}' is {field}, which cannot be a key; write it as text with select() or map() first"
        )


def _fits(have: Field, want: Field) -> bool:
    if have.kind in _LENIENT or want.kind in _LENIENT:
        return True
    if have.nullable and not want.nullable:
        return False
    return have.kind is want.kind or (have.kind, want.kind) in _ALSO_FITS


def _null_hint(have: Field, want: Field) -> str:
    if have.nullable and not want.nullable:
        return f": it may be null, so declare it '{want.kind.value} | None' or fill it with fill_null()"
    return ""


def _is_model(row_type: Any) -> bool:
    return isinstance(row_type, type) and (issubclass(row_type, msgspec.Struct) or dataclasses.is_dataclass(row_type))


def _with_default(model: Any) -> frozenset[str]:
    if issubclass(model, msgspec.Struct):
        return frozenset(field.name for field in msgspec.structs.fields(model) if not field.required)
    missing = dataclasses.MISSING
    fields = dataclasses.fields(model)
    return frozenset(field.name for field in fields if field.default is not missing or field.default_factory is not missing)
