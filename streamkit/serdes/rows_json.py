"""JSON of rows whose fields are known but have no model: results of select and of aggregates, on their way through an internal topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypedDict

import msgspec

from streamkit.record.model import Row
from streamkit.record.schema import Field, Kind, Schema
from streamkit.serdes.json import UntypedJson
from streamkit.serdes.json_columns import ColumnsEncoder

_TYPES: dict[Kind, Any] = {
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.BOOL: bool,
    Kind.STR: str,
    Kind.BYTES: bytes,
    Kind.DATETIME: datetime,
    Kind.DATE: date,
    Kind.DECIMAL: Decimal,
}


@dataclass(frozen=True, slots=True, eq=False)
class RowsJson:
    """Writes what `UntypedJson` writes and reads it back with the kinds of the schema, so that a datetime is one again.

    ValueError for bytes that do not fit the schema.
    """

    schema: Schema

    @property
    def name(self) -> str:
        return "json(Row)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowsJson) and dict(other.schema.fields) == dict(self.schema.fields)

    def __hash__(self) -> int:
        return hash(tuple(self.schema.fields))

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        names = self.schema.names if fields is None else [name for name in self.schema.names if name in fields]
        shape = TypedDict("Shape", {name: _type(self.schema.fields[name]) for name in names})  # type: ignore[misc]  # at run time
        decode = msgspec.json.Decoder(shape).decode
        return lambda data: Row(decode(data))

    def encoder(self) -> Callable[[Any], bytes]:
        return UntypedJson().encoder()

    def columns_encoder(self, names: Sequence[str]) -> ColumnsEncoder:
        return UntypedJson().columns_encoder(names)


def _type(field: Field) -> Any:
    known = _TYPES.get(field.kind, Any)
    return known | None if field.nullable and known is not Any else known
