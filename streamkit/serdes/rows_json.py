"""JSON of rows whose fields are known but have no model: results on their way through a repartition topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypedDict

import msgspec

from streamkit.record.model import Row
from streamkit.record.schema import Field, Kind, Schema
from streamkit.serdes.json_columns import columns_to_json
from streamkit.serdes.json_text import encode_object
from streamkit.serdes.serde import ColumnsEncoder
from streamkit.serdes.utc import in_utc

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
    """Writes what `UntypedJson` writes and reads it back as `Row` with the kinds of the schema: a datetime is one again.

    NaN and infinity are written as null, so a float is read as null or a number whatever the schema says. ValueError for bytes
    that do not fit the schema; a missing field does not.

    >>> serde = RowsJson(Schema({"at": Field(Kind.DATETIME), "total": Field(Kind.DECIMAL)}))
    >>> serde.decoder()(serde.encoder()(Row(at=datetime(2020, 4, 15, 8, 5), total=Decimal("1.50"))))
    {'at': datetime.datetime(2020, 4, 15, 8, 5, tzinfo=datetime.timezone.utc), 'total': Decimal('1.50')}
    """

    schema: Schema

    name = "json(Row)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowsJson) and dict(other.schema.fields) == dict(self.schema.fields)

    def __hash__(self) -> int:
        return hash(tuple(self.schema.fields))

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        wanted = {name: field for name, field in self.schema.fields.items() if fields is None or name in fields}
        if fields is not None and all(name.isidentifier() and not name.startswith("__") for name in wanted):
            parts = [(name, _in_projection(field)) for name, field in wanted.items()]
            return msgspec.json.Decoder(msgspec.defstruct("RowProjection", parts, gc=False)).decode
        shape = TypedDict("shape", {name: _type(field) for name, field in wanted.items()})  # type: ignore[misc] # at run time
        decode = msgspec.json.Decoder(shape).decode
        return lambda data: Row(in_utc(decode(data)))

    def encoder(self) -> Callable[[Any], bytes]:
        return encode_object

    def columns_encoder(self, names: Sequence[str]) -> ColumnsEncoder:
        return columns_to_json(names)


def _type(field: Field) -> Any:
    # Of an OBJECT the annotation is known, if anything is.
    known = _TYPES.get(field.kind, field.type if field.kind is Kind.OBJECT else Any)
    return known | None if known is not Any and (field.nullable or field.kind is Kind.FLOAT) else known


def _in_projection(field: Field) -> Any:
    if field.kind is Kind.DATETIME:  # left as text, to be parsed as a column
        return str | None if field.nullable else str
    return _type(field)
