"""Avro schemas as text, file or dict: parsed once, with their named types and their fingerprint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro.schema

from streamkit.errors import SchemaError

Node = Any
"""A part of a parsed schema: the name of a type, a dict, or a list (a union)."""

SchemaSource = str | Path | Mapping[str, Any]
"""A path of an .avsc file, the text of a schema (a str that starts with a brace), or a dict."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """The schema of a record. Two are equal if they say the same, documentation and layout included.

    >>> schema = AvroSchema.of({"type": "record", "name": "Bid", "fields": [{"name": "item", "type": "string"}]})
    >>> schema.name, schema.fingerprint.hex()
    ('Bid', '5d83aa790dbbe4d9')
    """

    text: str
    root: Node = field(init=False, compare=False, repr=False)
    named: dict[str, Node] = field(init=False, compare=False, repr=False)
    fingerprint: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        raw, named = json.loads(self.text), dict[str, Node]()
        try:
            root = fastavro.schema.parse_schema(raw, named)
            canonical = fastavro.schema.to_parsing_canonical_form(raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, *_PARSE_ERRORS) as error:
            raise SchemaError(f"not an Avro schema: {_reason(error)}") from None
        if not isinstance(root, dict) or root.get("type") != "record":
            raise SchemaError("the schema of a topic's values must be an Avro record")
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "named", named)
        # The bytes as they stand on the wire, little-endian.
        print_ = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
        object.__setattr__(self, "fingerprint", print_)

    @classmethod
    def of(cls, source: SchemaSource) -> AvroSchema:
        """The schema from a file, text or dict; `SchemaError` says what is wrong, and in which file."""
        if isinstance(source, Mapping):
            return cls(json.dumps(source))
        if isinstance(source, str) and source.lstrip().startswith("{"):
            return cls(_checked_json(source, "schema"))
        if not isinstance(source, (str, Path)):
            raise SchemaError(f"a schema is a path, text or a dict, not {type(source).__name__}")
        try:
            return cls(_checked_json(Path(source).read_text(encoding="utf-8"), str(source)))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SchemaError(f"schema file {str(source)!r} cannot be read: {reason} (looked up from {Path.cwd()})") from None
        except SchemaError as error:
            raise SchemaError(f"schema file {str(source)!r}: {error}") from None

    @property
    def name(self) -> str:
        return str(self.root["name"])

    def resolved(self, node: Node) -> Node:
        """A dict, or a list for a union: names are looked up, ``"long"`` is ``{"type": "long"}``."""
        while True:
            if isinstance(node, list):
                return node
            if isinstance(node, str):
                if node in PRIMITIVES:
                    return {"type": node}
                node = self.named[node]
            elif isinstance(node["type"], (dict, list)):
                node = node["type"] if isinstance(node["type"], list) else {**node, **node["type"]}
            elif node["type"] in self.named and "fields" not in node:
                node = self.named[node["type"]]
            else:
                return node

    @property
    def recursive(self) -> bool:
        """Whether a record may hold itself, so that a value has no greatest depth."""
        return self._holds_itself(self.root, frozenset())

    def _holds_itself(self, node: Node, above: frozenset[str]) -> bool:
        node = self.resolved(node)
        if isinstance(node, list):
            return any(self._holds_itself(part, above) for part in node)
        if node["type"] != "record":
            return any(self._holds_itself(node[name], above) for name in ("items", "values") if name in node)
        within = above | {node["name"]}
        return node["name"] in above or any(self._holds_itself(part["type"], within) for part in node["fields"])

    def uses(self, kind: str) -> bool:
        """Whether any part of the schema is of this primitive type, without a logical type."""
        return any(part == kind for part in _plain_types(self.root))


def _plain_types(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for part in node:
            yield from _plain_types(part)
    elif "logicalType" not in node:
        for part in (node["type"], node.get("items", []), node.get("values", [])):
            yield from _plain_types(part)
        for part in node.get("fields", ()):
            yield from _plain_types(part["type"])


def _checked_json(text: str, what: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{what} is not JSON: {error}") from None
    return text


_PARSE_ERRORS = (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)


def _reason(error: BaseException) -> str:
    if isinstance(error, fastavro.schema.UnknownType):
        return f"unknown type '{error.name}'"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
