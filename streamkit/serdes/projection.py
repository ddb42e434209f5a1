"""Row types cut down to the fields that a plan reads.

One msgspec call per record into a Struct of three fields takes 150-220 ns, into one of all fields 250-500, and a field that
is not named is not even parsed: it must be well-formed JSON, no more. So only the fields that are named are validated.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

import msgspec

from streamkit.errors import SchemaError

_NO_DEFAULT = msgspec.NODEFAULT


@dataclass(frozen=True, slots=True)
class ModelField:
    """One field of a Struct or dataclass, as JSON sees it."""

    wire_name: str
    type: Any
    default: Any = _NO_DEFAULT
    factory: Any = _NO_DEFAULT

    @property
    def required(self) -> bool:
        return self.default is _NO_DEFAULT and self.factory is _NO_DEFAULT


def fields_of(model: type[Any]) -> Mapping[str, ModelField]:
    """The fields of a Struct or dataclass by their Python names."""
    return _fields_of(cast("Hashable", model))


@lru_cache(maxsize=256)  # asked for twice by every task
def _fields_of(model: type[Any]) -> Mapping[str, ModelField]:
    if issubclass(model, msgspec.Struct):
        return {
            info.name: ModelField(info.encode_name, info.type, info.default, info.default_factory)
            for info in msgspec.structs.fields(model)
        }
    hints = typing.get_type_hints(model, include_extras=True)
    absent = dataclasses.MISSING
    return {
        info.name: ModelField(
            info.name,
            hints[info.name],
            _NO_DEFAULT if info.default is absent else info.default,
            _NO_DEFAULT if info.default_factory is absent else info.default_factory,
        )
        for info in dataclasses.fields(model)
    }


def projected(model: type[Any], names: frozenset[str]) -> type | None:
    """A Struct with these fields of the model, their wire names, types, defaults and the model's tag.

    A datetime is left as the text it is on the wire: it is parsed as a column, four times as fast. None for a model whose
    rows are more than their fields: with ``__post_init__`` (it may change or check them), as a JSON array, or with fields
    that are not arguments. `SchemaError` for a field that the model has not.
    """
    fields = fields_of(model)
    if unknown := sorted(names - fields.keys()):
        raise SchemaError(f"{model.__name__} has no field '{unknown[0]}'; it has: {', '.join(fields) or 'none'}")
    if hasattr(model, "__post_init__") or not _plainly_built(model):
        return None
    tag: dict[str, Any] = {}
    if issubclass(model, msgspec.Struct):
        config = model.__struct_config__
        if config.array_like:
            return None
        tag = {"tag": config.tag, "tag_field": config.tag_field}
    parts = [(name, _on_the_wire(field.type), _field(field)) for name, field in fields.items() if name in names]
    return msgspec.defstruct(f"{model.__name__}Projection", parts, kw_only=True, gc=False, **tag)


def projected_untyped(names: frozenset[str]) -> type | None:
    """A Struct with these fields of any type, None where they are missing. None for names that cannot be attributes."""
    if any(not name.isidentifier() or name.startswith("__") for name in names):
        return None
    return msgspec.defstruct("RowProjection", [(name, object, None) for name in sorted(names)], gc=False)


@lru_cache(maxsize=256)  # making a class takes 200 microseconds
def named_struct(names: tuple[str, ...]) -> type:
    """A Struct for writing: a field of any type for each name, in order; a name may be any text."""
    parts = [(f"f{place}", object, msgspec.field(name=name)) for place, name in enumerate(names)]
    return msgspec.defstruct("Out", parts, gc=False)


def _field(field: ModelField) -> Any:
    if field.factory is not _NO_DEFAULT:
        return msgspec.field(default_factory=field.factory, name=field.wire_name)
    return msgspec.field(default=field.default, name=field.wire_name)


def _on_the_wire(annotation: Any) -> Any:
    if annotation is datetime:
        return str
    if typing.get_origin(annotation) in (typing.Union, types.UnionType) and set(typing.get_args(annotation)) == {
        datetime,
        types.NoneType,
    }:
        return str | None
    return annotation


def _plainly_built(model: type[Any]) -> bool:
    return issubclass(model, msgspec.Struct) or all(info.init for info in dataclasses.fields(model))
