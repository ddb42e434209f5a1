"""JSON values: `JsonSerde` of a model, `UntypedJson` of rows without one; `serde_for` chooses.

Numbers are never changed in silence: an integer of any size stays an integer, a number too large for a float is refused, and
so are NaN and Infinity, which JSON has not. On the way out NaN and infinity become null, as JSON.stringify has it, except in a
model's float field that may not be null: there they are refused. Datetimes are written as RFC 3339 in UTC with ``Z``.
Duplicate names in an object: the last one counts.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from streamkit.errors import SchemaError
from streamkit.record.columns import Column, Constant
from streamkit.record.model import Row
from streamkit.record.schema import OPEN, Kind, Schema, is_row_type, schema_of
from streamkit.serdes.json_blocks import columns_decoder
from streamkit.serdes.json_columns import columns_to_json, columns_to_model
from streamkit.serdes.json_text import encode, encode_object
from streamkit.serdes.projection import fields_of, projected, projected_untyped
from streamkit.serdes.rows_json import RowsJson
from streamkit.serdes.scalars import SCALARS
from streamkit.serdes.serde import ColumnsDecoder, ColumnsEncoder, Serde
from streamkit.serdes.utc import fields_in_utc, names_with_instants

__all__ = ["JsonSerde", "RowsJson", "UntypedJson", "encode_columns", "serde_for"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class JsonSerde(Generic[V]):
    """JSON objects of one type: a `Model`, another msgspec Struct, or a dataclass.

    Reading: unknown fields are ignored (unless the Struct forbids them, and the whole value is read); integers are taken for
    floats, no other conversion; Decimals come as text or number; datetimes as RFC 3339, in UTC in the row. Writing: rows of
    the model, or a Row or dict with its field names and types (missing fields take their defaults); TypeError for others.

    >>> from streamkit.record.model import Model
    >>> class Bid(Model):
    ...     item: str
    ...     price: float
    >>> serde = JsonSerde(Bid)
    >>> serde.encoder()(Row(item="A", price=2))
    b'{"item":"A","price":2.0}'
    >>> serde.decoder(frozenset({"item"}))(b'{"item":"A","price":"not read"}').item
    'A'
    """

    model: type[V]
    schema: Schema = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "schema", schema_of(self.model))
            msgspec.json.Decoder(self.model)
        except (TypeError, NameError) as error:  # a NameError: an annotation that is not known in the model's module
            raise SchemaError(f"{self.model.__name__} cannot be read from JSON: {error}") from None

    @property
    def name(self) -> str:
        return f"json({self.model.__name__})"

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        if fields is not None and (projection := projected(self.model, fields)) is not None:
            return msgspec.json.Decoder(projection).decode
        decode = msgspec.json.Decoder(self.model).decode
        instants = names_with_instants(self._hints(), untyped=False)
        return (lambda data: fields_in_utc(decode(data), instants)) if instants else decode

    def encoder(self) -> Callable[[Any], bytes]:
        model, convert = self.model, self._converter()
        instants = names_with_instants(self._hints(), untyped=True)
        floats = self._finite()
        # A default that a dataclass was read with stands in its class only, where msgspec does not look.
        names = () if issubclass(model, msgspec.Struct) else self.schema.names

        def encode_row(row: Any) -> bytes:
            if not isinstance(row, model):
                row = convert(row)
            if instants:
                row = fields_in_utc(row, instants)
            for name in floats:
                if not math.isfinite(getattr(row, name)):
                    raise ValueError(f"field '{name}' of {model.__name__} is {getattr(row, name)}, which JSON has not")
            return encode({name: getattr(row, name) for name in names} if names else row)

        return encode_row

    def columns_decoder(self, fields: frozenset[str]) -> ColumnsDecoder | None:
        """`BlockSerde`; `SchemaError` for a field that the model has not."""
        return columns_decoder(self.model, fields)

    def columns_encoder(self, names: Sequence[str]) -> ColumnsEncoder:
        """`ColumnarSerde`; `SchemaError` for names that do not fit the model."""
        _check_names(self.model, names)
        return columns_to_model(self.model, names, self._finite(), self.encoder())

    def _converter(self) -> Callable[[Any], Any]:
        model, fields = self.model, fields_of(self.model)
        wire_names = {name: part.wire_name for name, part in fields.items()}
        renamed = any(name != wire for name, wire in wire_names.items())

        def convert(row: Any) -> Any:
            if not isinstance(row, dict):
                raise TypeError(f"a row of type {type(row).__name__} cannot be written as {model.__name__}")
            if unknown := row.keys() - wire_names.keys():
                names = ", ".join(fields)
                raise TypeError(f"a row with field '{min(unknown)}' cannot be written as {model.__name__}, which has: {names}")
            if renamed or any(isinstance(value, np.generic) for value in row.values()):
                row = {wire_names[name]: _native(value) for name, value in row.items()}
            try:
                return msgspec.convert(row, model)
            except msgspec.ValidationError as error:
                raise TypeError(f"a {type(row).__name__} cannot be written as {model.__name__}: {error}") from None

        return convert

    def _hints(self) -> dict[str, Any]:
        return {name: part.type for name, part in fields_of(self.model).items()}

    def _finite(self) -> tuple[str, ...]:
        """Fields in which null, all that JSON has for NaN, could not be read back."""
        return tuple(name for name, part in self.schema.fields.items() if part.kind is Kind.FLOAT and not part.nullable)


@dataclass(frozen=True, slots=True)
class UntypedJson:
    """JSON objects of any fields, as `Row`; anything but an object at the top is refused, reading and writing.

    Writing takes rows, dicts, Structs and dataclasses.

    >>> from datetime import datetime
    >>> serde = UntypedJson()
    >>> serde.decoder()(b'{"item": "A", "price": 2.0}')
    {'item': 'A', 'price': 2.0}
    >>> serde.encoder()(Row(item="A", at=datetime(2020, 4, 15, 8, 5)))
    b'{"item":"A","at":"2020-04-15T08:05:00Z"}'
    """

    name = "json"
    schema = OPEN

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        """A projection gives objects with these attributes, None for a missing field."""
        if fields is not None and (projection := projected_untyped(fields)) is not None:
            return msgspec.json.Decoder(projection).decode
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        return lambda data: Row(decode(data))

    def encoder(self) -> Callable[[Any], bytes]:
        return encode_object

    def columns_encoder(self, names: Sequence[str]) -> ColumnsEncoder:
        return columns_to_json(names)


def serde_for(value: Any) -> Serde[Any]:
    """The serde for values of this type; a serde is returned as it is.

    >>> serde_for(Row), serde_for(str)
    (UntypedJson(), StringSerde())
    >>> serde_for(list)
    Traceback (most recent call last):
    streamkit.errors.SchemaError: list cannot be the type of a value; choose a sk.Model, a dataclass, ...
    """
    if not isinstance(value, type) and hasattr(value, "decoder") and hasattr(value, "encoder"):
        return value  # type: ignore[no-any-return]
    if value is None or value in (Row, dict) or typing.get_origin(value) is dict:
        return UntypedJson()
    if isinstance(value, type) and value in SCALARS:
        return SCALARS[value]()
    if is_row_type(value):
        return JsonSerde(value)
    raise SchemaError(
        f"{getattr(value, '__name__', value)} cannot be the type of a value; choose a sk.Model, a dataclass, sk.Row or nothing "
        f"(untyped JSON), str, int, float, bytes, or give a serde"
    )


def encode_columns(names: Sequence[str], columns: Sequence[Column | Constant], count: int) -> Sequence[bytes]:
    """The JSON of ``count`` rows without a model, from their columns: exactly what `UntypedJson` writes for each Row.

    >>> list(encode_columns(["item", "n"], [Column(["A", "B"], None, Kind.STR), Constant(1, Kind.INT)], 2))
    [b'{"item":"A","n":1}', b'{"item":"B","n":1}']
    """
    return UntypedJson().columns_encoder(names)(columns, count)


def _check_names(model: type, names: Sequence[str]) -> None:
    fields = fields_of(model)
    missing = [name for name, part in fields.items() if part.required and name not in names]
    for name in names:
        if name not in fields:
            raise SchemaError(f"{model.__name__} has no field '{name}'; it has: {', '.join(fields)}")
    if missing:
        raise SchemaError(f"{model.__name__} needs field '{missing[0]}', which the rows have not; they have: {', '.join(names)}")


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
