"""The Avro schema of a model.

| Python                         | Avro                                  |
|--------------------------------|---------------------------------------|
| bool, int, float, str, bytes   | boolean, long, double, string, bytes  |
| datetime                       | long, timestamp-micros                |
| date                           | int, date                             |
| UUID                           | string, uuid                          |
| Decimal with precision, scale  | bytes, decimal                        |
| Enum of names                  | enum                                  |
| Literal of text                | string                                |
| list, set, tuple[X, ...]       | array                                 |
| dict[str, X]                   | map                                   |
| Model, Struct, dataclass       | record                                |
| X or None                      | union with null, default null         |

``Annotated[X, msgspec.Meta(extra={"avro": {...}})]`` adds: ``precision`` and ``scale`` of a Decimal, ``aliases`` of a field,
``type`` (any Avro type instead of the one above, such as ``"float"``).
"""

from __future__ import annotations

import enum
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from streamkit.errors import SchemaError
from streamkit.record.instants import micros_of
from streamkit.record.schema import is_row_type
from streamkit.serdes.projection import ModelField, fields_of

_LEAVES: dict[Any, Any] = {
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "bytes",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
    date: {"type": "int", "logicalType": "date"},
    UUID: {"type": "string", "logicalType": "uuid"},
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_NONE = object()


@dataclass(frozen=True, slots=True)
class Hint:
    """An annotation taken apart: the type without None, and what ``Meta(extra={"avro": ...})`` says."""

    type: Any
    nullable: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def items(self) -> Any:
        """X of a list[X], set[X] or tuple[X, ...]; None for other types."""
        origin, arguments = typing.get_origin(self.type), typing.get_args(self.type)
        if origin in (list, set, frozenset) and arguments:
            return arguments[0]
        return arguments[0] if origin is tuple and len(arguments) == 2 and arguments[1] is ... else None

    @property
    def values(self) -> Any:
        """X of a dict[str, X]; None for other types."""
        arguments = typing.get_args(self.type)
        return arguments[1] if typing.get_origin(self.type) is dict and arguments[0] is str else None

    @property
    def symbols(self) -> list[str] | None:
        """The values of an Enum, if Avro can name them; of other types None."""
        if not (isinstance(self.type, type) and issubclass(self.type, enum.Enum)):
            return None
        symbols = [member.value for member in self.type]
        return symbols if all(isinstance(symbol, str) and _NAME.match(symbol) for symbol in symbols) else None

    @property
    def literal(self) -> bool:
        """Whether it is a Literal of texts."""
        return typing.get_origin(self.type) is typing.Literal and all(isinstance(v, str) for v in typing.get_args(self.type))

    def __str__(self) -> str:
        shown = self.type.__name__ if isinstance(self.type, type) and not typing.get_args(self.type) else str(self.type)
        return f"{shown} | None" if self.nullable else shown


def hint_of(annotation: Any) -> Hint:
    """An annotation taken apart.

    >>> hint_of(int | None)
    Hint(type=<class 'int'>, nullable=True, extra={})
    """
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metas = typing.get_args(annotation)
        found = hint_of(inner)
        extra = dict(found.extra)
        for meta in metas:
            if isinstance(meta, msgspec.Meta) and meta.extra:
                extra |= meta.extra.get("avro", {})
        return Hint(found.type, found.nullable, extra)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        if len(rest) == 1:
            found = hint_of(rest[0])
            return Hint(found.type, nullable=True, extra=found.extra)
    return Hint(annotation)


def derived(model: type) -> dict[str, Any]:
    """The Avro schema of a model; `SchemaError` names the field that has none.

    >>> from streamkit.record.model import Model
    >>> class Bid(Model):
    ...     item: str
    ...     price: float | None = None
    >>> derived(Bid)["fields"]
    [{'name': 'item', 'type': 'string'}, {'name': 'price', 'type': ['null', 'double'], 'default': None}]
    """
    made: dict[str, Any] = _Derivation().record(model, model.__name__)
    return made


class _Derivation:
    """One walk over a model; a type that is met again is referred to by its name."""

    def __init__(self) -> None:
        self._known: dict[str, type] = {}

    def record(self, model: type, path: str) -> Any:
        if self._name_taken(model, path):
            return model.__name__
        fields = [self._field(part, f"{path}.{name}") for name, part in fields_of(model).items()]
        return {"type": "record", "name": model.__name__, "fields": fields}

    def _field(self, part: ModelField, path: str) -> dict[str, Any]:
        if not _NAME.match(part.wire_name):
            raise SchemaError(f"{path}: '{part.wire_name}' cannot be the name of a field in Avro")
        hint = hint_of(part.type)
        inner = hint.extra.get("type") or self._type(Hint(hint.type, extra=hint.extra), path)
        default = _default(part)
        made: dict[str, Any] = {"name": part.wire_name, "type": inner}
        if hint.nullable:
            first = default is _NONE or default is None  # a default is of the first type of its union
            made["type"] = ["null", inner] if first else [inner, "null"]
            default = None if first else default
        if default is not _NONE:
            made["default"] = default
        if aliases := hint.extra.get("aliases"):
            made["aliases"] = list(aliases)
        return made

    def _type(self, hint: Hint, path: str) -> Any:
        if "type" in hint.extra:
            made = hint.extra["type"]
        elif isinstance(hint.type, type) and hint.type in _LEAVES:
            made = _LEAVES[hint.type]
        elif hint.type is Decimal:
            made = _decimal(hint, path)
        elif hint.symbols is not None:
            made = hint.type.__name__
            if not self._name_taken(hint.type, path):
                made = {"type": "enum", "name": made, "symbols": hint.symbols}
        elif hint.literal:
            made = "string"
        elif hint.items is not None:
            made = {"type": "array", "items": self._type(hint_of(hint.items), f"{path}[]")}
        elif hint.values is not None:
            made = {"type": "map", "values": self._type(hint_of(hint.values), f"{path}{{}}")}
        elif is_row_type(hint.type) and not issubclass(hint.type, dict):
            made = self.record(hint.type, path)
        else:
            raise SchemaError(
                f"{path}: {hint} has no Avro type; choose bool, int, float, str, bytes, datetime, date, UUID, Decimal with a "
                f"precision, an Enum of names, list[...], dict[str, ...] or another model, each of them or None"
            )
        return ["null", made] if hint.nullable else made

    def _name_taken(self, type_: type, path: str) -> bool:
        if type_.__name__ not in self._known:
            self._known[type_.__name__] = type_
            return False
        if self._known[type_.__name__] is not type_:
            raise SchemaError(f"{path}: two types are called {type_.__name__}; in an Avro schema a name has one meaning")
        return True


def _decimal(hint: Hint, path: str) -> dict[str, Any]:
    precision, scale = hint.extra.get("precision"), hint.extra.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision or precision < 1:
        raise SchemaError(
            f"{path}: Avro wants to know the digits of a Decimal; write "
            f'Annotated[Decimal, msgspec.Meta(extra={{"avro": {{"precision": 12, "scale": 2}}}})]'
        )
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def _default(part: ModelField) -> Any:
    """The default in the JSON of a schema; `_NONE` where there is none, or none that a schema could say."""
    if part.factory in (list, dict, set, frozenset, tuple):
        return {} if part.factory is dict else []
    default = part.default
    if hint_of(part.type).extra.get("type") is not None and default is not None:
        return _NONE
    if isinstance(default, enum.Enum):
        return default.value
    if isinstance(default, datetime):
        return micros_of(default if default.tzinfo else default.replace(tzinfo=UTC))
    if isinstance(default, date):
        return default.toordinal() - _EPOCH_DAY
    if isinstance(default, float) and not math.isfinite(default):
        return _NONE
    if isinstance(default, int) and not isinstance(default, bool) and hint_of(part.type).type is float:
        return float(default)
    return default if default is None or isinstance(default, (bool, int, float, str)) else _NONE
