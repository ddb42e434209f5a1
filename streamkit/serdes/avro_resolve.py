"""Whether a schema fits a model, and how bytes of it are read as one.

Avro's rules hold (specification, "Schema Resolution"): fields are matched by name or alias, what the model does not name is
skipped, int becomes long, float and double, bytes and string become each other, a field that the writer has not takes its
default. Beyond them: the names of records need not match; a field that may be null fits only a field that may be None; a
datetime wants a logical type, so that a count of milliseconds is not taken for one of microseconds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro

from streamkit.errors import SchemaError
from streamkit.record.schema import is_row_type
from streamkit.serdes.avro_derive import Hint, hint_of
from streamkit.serdes.avro_schema import AvroSchema, Node
from streamkit.serdes.projection import ModelField, fields_of

# What each type of Python is read from, and as which Avro type (None: as it was written).
_READ: dict[Any, tuple[frozenset[str], str | None]] = {
    bool: (frozenset({"boolean"}), "boolean"),
    int: (frozenset({"int", "long"}), "long"),
    float: (frozenset({"int", "long", "float", "double"}), "double"),
    str: (frozenset({"string", "bytes", "enum"}), "string"),
    bytes: (frozenset({"bytes", "string", "fixed"}), "bytes"),
}
# Promotions that need no resolving: what fastavro gives for the first is made the second with the row.
_BY_CONVERSION = {("int", "long"), ("int", "double"), ("long", "double"), ("float", "double")}
_SKIPPED_AS = {"string": "bytes", "enum": "int"}  # the same on the wire, without a check of what is in them
_LOGICAL: dict[Any, frozenset[str]] = {
    datetime: frozenset({"timestamp-millis", "timestamp-micros"}),
    date: frozenset({"date"}),
    Decimal: frozenset({"decimal"}),
    UUID: frozenset({"uuid"}),
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """How to read: the writer's schema without the logical types that the model does not want, and the reader's."""

    writer: Node
    reader: Node
    recursive: bool

    @property
    def direct(self) -> bool:
        """Whether the writer's values fit as they are, but for fields too many: then nothing need be resolved."""
        return _fits_as_it_is(self.writer, self.reader)


def own_fields(model: type, schema: AvroSchema) -> dict[type, dict[str, Any]]:
    """Of each record type in the model the fields of its own schema by name: aliases and defaults stand there.

    `SchemaError` if the model could not be written with the schema.
    """
    walk = _Writing(schema)
    walk.record(model, schema.root, model.__name__)
    return walk.found


def resolve(model: type, own: Mapping[type, dict[str, Any]], writer: AvroSchema, only: frozenset[str] | None = None) -> Resolved:
    """How the model, or the fields ``only`` of it, is read from what the writer wrote. `SchemaError` names the field."""
    walk = _Reading(own, writer)
    return Resolved(*walk.record(model, writer.resolved(writer.root), model.__name__, only), writer.recursive)


@dataclass(slots=True)
class _Writing:
    """A walk over a model and the schema that it is written with."""

    schema: AvroSchema
    found: dict[type, dict[str, Any]] = field(default_factory=dict)

    def record(self, model: type, node: Node, path: str) -> None:
        if model in self.found:
            return
        parts = {part.wire_name: (name, part) for name, part in fields_of(model).items()}
        theirs = {part["name"]: part for part in node["fields"]}
        self.found[model] = theirs
        for name, their in theirs.items():
            if name in parts:
                self.value(hint_of(parts[name][1].type), their["type"], f"{path}.{parts[name][0]}")
            elif "default" not in their:
                raise SchemaError(
                    f"{path} has no field '{name}', which its schema asks for without a default; it has: {', '.join(parts)}"
                )
        if missing := [name for name in parts if name not in theirs]:
            raise SchemaError(f"{path}.{parts[missing[0]][0]} is not in its schema, which has: {', '.join(theirs)}")

    def value(self, hint: Hint, node: Node, path: str) -> None:
        node = self.schema.resolved(node)
        branches = [self.schema.resolved(part) for part in node] if isinstance(node, list) else [node]
        nullable = any(part["type"] == "null" for part in branches)
        if hint.nullable and not nullable:
            raise SchemaError(f"{path} may be None, but its schema has no null there")
        rest = [part for part in branches if part["type"] != "null"]
        for part in rest:
            self._branch(hint, part, path)
        _check_some(rest, hint, path)

    def _branch(self, hint: Hint, node: Node, path: str) -> None:
        if node["type"] == "record" and is_row_type(hint.type):
            self.record(hint.type, node, path)
        elif node["type"] == "array" and hint.items is not None:
            self.value(hint_of(hint.items), node["items"], f"{path}[]")
        elif node["type"] == "map" and hint.values is not None:
            self.value(hint_of(hint.values), node["values"], f"{path}{{}}")
        elif (hint.type is float and node["type"] in ("int", "long")) or (hint.type is str and node["type"] == "bytes"):
            raise _misfit(node, hint, path)  # readable, but not what such a value is written as
        elif node["type"] == "enum" and (unknown := set(hint.symbols or ()) - set(node["symbols"])):
            raise SchemaError(f"{path}: the schema's enum has no symbol '{min(unknown)}'; it has: {', '.join(node['symbols'])}")


def _check_some(rest: list[Node], hint: Hint, path: str) -> None:
    if not rest:
        raise SchemaError(f"{path} is {hint}, but its schema has only null there")


@dataclass(slots=True)
class _Reading:
    """A walk over a model and another writer's schema. Records get names of our own: the writer's need not match."""

    own: Mapping[type, dict[str, Any]]
    schema: AvroSchema
    names: dict[tuple[str, type | None], str] = field(default_factory=dict)
    made: int = 0

    def record(self, model: type, node: Node, path: str, only: frozenset[str] | None = None) -> tuple[Node, Node]:
        known = self.names.get((node["name"], model))
        if known is not None:
            return known, known
        name = self.names[node["name"], model] = self._name()
        parts = fields_of(model)
        wanted = {part.wire_name: (key, part) for key, part in parts.items() if only is None or key in only}
        sources = self._sources(model, [part.wire_name for part in parts.values()], node)
        writer, reader = [], []
        for field_ in node["fields"]:
            wire_name = sources.get(field_["name"])
            if wire_name not in wanted:
                writer.append({"name": field_["name"], "type": self._plain(field_["type"])})
                continue
            key, part = wanted.pop(wire_name)
            theirs, ours = self._value(hint_of(part.type), field_["type"], f"{path}.{key}")
            writer.append({"name": field_["name"], "type": theirs})
            reader.append({"name": wire_name, "type": ours, "aliases": [field_["name"]]})
        for wire_name, (key, part) in wanted.items():
            reader.extend(self._absent(model, wire_name, part, f"{path}.{key}"))
        made = {"type": "record", "name": name}
        return made | {"fields": writer}, made | {"fields": reader}

    def _sources(self, model: type, ours: Sequence[str], node: Node) -> dict[str, str]:
        """The writer's name of a field -> ours: the same, or one of our aliases. A projection changes nothing in this."""
        theirs = [part["name"] for part in node["fields"]]
        found = {name: name for name in theirs if name in ours}
        for name in ours:
            if name in found:
                continue
            for alias in self.own.get(model, {}).get(name, {}).get("aliases", ()):
                if alias in theirs and alias not in found:
                    found[alias] = name
                    break
        return found

    def _absent(self, model: type, wire_name: str, part: ModelField, path: str) -> list[Node]:
        """How a field comes to its value that the writer does not write: no part of what is read if the model knows it."""
        if not part.required:
            return []
        our = self.own.get(model, {}).get(wire_name, {})
        if "default" not in our:
            if hint_of(part.type).nullable:
                return [{"name": wire_name, "type": "null", "default": None}]
            raise SchemaError(
                f"{path} is not in writer schema '{self.schema.name}' and has no default; that schema has: "
                f"{', '.join(their['name'] for their in self.schema.root['fields'])}"
            )
        return [{"name": wire_name, "type": "null", "default": None, "value": _default(our, path)}]

    def _value(self, hint: Hint, node: Node, path: str) -> tuple[Node, Node]:
        node = self.schema.resolved(node)
        if not isinstance(node, list):
            return self._branch(hint, node, path)
        pairs = [self._branch(hint, self.schema.resolved(part), path) for part in node]
        _check_some([theirs for theirs, _ in pairs if theirs != "null"], hint, path)
        readers: list[Node] = []
        for _, ours in pairs:
            if ours not in readers:  # int and long are both read as long, and a union has each type once
                readers.append(ours)
        return [theirs for theirs, _ in pairs], readers

    def _branch(self, hint: Hint, node: Node, path: str) -> tuple[Node, Node]:
        kind = node["type"]
        if kind == "null" and hint.nullable:
            return "null", "null"
        if kind == "record" and is_row_type(hint.type) and not issubclass(hint.type, dict):
            return self.record(hint.type, node, path)
        if kind == "array" and hint.items is not None:
            theirs, ours = self._value(hint_of(hint.items), node["items"], f"{path}[]")
            return {"type": "array", "items": theirs}, {"type": "array", "items": ours}
        if kind == "map" and hint.values is not None:
            theirs, ours = self._value(hint_of(hint.values), node["values"], f"{path}{{}}")
            return {"type": "map", "values": theirs}, {"type": "map", "values": ours}
        return self._leaf(hint, node, path)

    def _leaf(self, hint: Hint, node: Node, path: str) -> tuple[Node, Node]:
        kind, logical = node["type"], node.get("logicalType")
        of_text = hint.symbols is not None or hint.literal
        kinds, target = _READ.get(str if of_text or hint.type is UUID else hint.type, (frozenset[str](), None))
        if logical is not None and logical in _LOGICAL.get(hint.type, ()):
            details = {name: node[name] for name in ("precision", "scale") if name in node}
            theirs = {**self._named(node), "logicalType": logical, **details}
            return theirs, theirs
        if kind not in kinds:
            raise _misfit(node, hint, path)
        theirs = self._named(node)
        return theirs, theirs if kind in ("enum", "fixed") else target

    def _named(self, node: Node) -> dict[str, Any]:
        """A leaf without its logical type, and under a name of our own if it must have one."""
        made: dict[str, Any] = {"type": node["type"]}
        if node["type"] in ("enum", "fixed"):
            made["name"] = self._name()
            made |= {name: node[name] for name in ("symbols", "size") if name in node}
        return made

    def _plain(self, node: Node) -> Node:
        """A part that is skipped: as the least that has its bytes, so that nothing in it is looked at."""
        node = self.schema.resolved(node)
        if isinstance(node, list):
            return [self._plain(part) for part in node]
        if node["type"] == "array":
            return {"type": "array", "items": self._plain(node["items"])}
        if node["type"] == "map":  # on the wire an array of keys and values
            pair = [{"name": "key", "type": "bytes"}, {"name": "value", "type": self._plain(node["values"])}]
            return {"type": "array", "items": {"type": "record", "name": self._name(), "fields": pair}}
        if node["type"] not in ("record", "error"):
            return {"type": _SKIPPED_AS[node["type"]]} if node["type"] in _SKIPPED_AS else self._named(node)
        if (known := self.names.get((node["name"], None))) is not None:
            return known
        name = self.names[node["name"], None] = self._name()
        fields = [{"name": part["name"], "type": self._plain(part["type"])} for part in node["fields"]]
        return {"type": "record", "name": name, "fields": fields}

    def _name(self) -> str:
        self.made += 1
        return f"T{self.made}"


def with_defaults(parsed: Node) -> Node:
    """A reader's schema with the defaults as Python has them, which fastavro would not let pass when it parses the schema."""
    if isinstance(parsed, list):
        for part in parsed:
            with_defaults(part)
    elif isinstance(parsed, dict):
        for part in parsed.get("fields", ()):
            if "value" in part:
                part["default"] = part["value"]
            with_defaults(part["type"])
        with_defaults(parsed.get("items"))
        with_defaults(parsed.get("values"))
    return parsed


def _default(our: Mapping[str, Any], path: str) -> Any:
    """The default of a field as Python has it; in a schema it is JSON of the first type of its union."""
    kind = our["type"][0] if isinstance(our["type"], list) else our["type"]
    record = {"type": "record", "name": "Default", "fields": [{"name": "value", "type": kind}]}
    try:
        read: Any = next(fastavro.json_reader(io.StringIO(json.dumps({"value": our["default"]})), record))
        return read["value"]
    except Exception as error:  # noqa: BLE001 - fastavro has no common error for a default of the wrong type
        raise SchemaError(f"{path}: the default {our['default']!r} of its schema cannot be used: {error}") from None


def _fits_as_it_is(writer: Node, reader: Node) -> bool:
    if isinstance(writer, dict) and isinstance(reader, dict) and writer["type"] == "record":
        theirs = {part["name"]: part["type"] for part in writer["fields"]}
        return all(part["name"] in theirs and _fits_as_it_is(theirs[part["name"]], part["type"]) for part in reader["fields"])
    if isinstance(writer, dict) and isinstance(reader, dict):
        inner = [name for name in ("items", "values") if name in writer]
        return all(_fits_as_it_is(writer[name], reader[name]) for name in inner) if inner else bool(writer == reader)
    if isinstance(writer, dict) and isinstance(reader, str):
        return writer == {"type": reader} or (writer["type"], reader) in _BY_CONVERSION
    if isinstance(writer, list) and isinstance(reader, list):
        return len(writer) == len(reader) and all(map(_fits_as_it_is, writer, reader))
    return bool(writer == reader)


def _misfit(node: Node, hint: Hint, path: str) -> SchemaError:
    shown = f"{node['type']} ({node['logicalType']})" if "logicalType" in node else node["type"]
    if hint.type in _LOGICAL:
        return SchemaError(f"{path} is {hint}, but {shown} in the schema; wanted: {', '.join(sorted(_LOGICAL[hint.type]))}")
    hint_text = "; write `| None` if it may be null" if node["type"] == "null" else ""
    return SchemaError(f"{path} is {hint}, but {shown} in the schema{hint_text}")
