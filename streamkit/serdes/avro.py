"""Avro values: `avro` makes the serde of a model.

On the wire a value is, by default, in Avro's *single-object encoding*: C3 01, the 8 bytes of the CRC-64-AVRO fingerprint of the
schema that it was written with, and the binary value. So bytes of another schema are recognised, and those of a schema that is
listed are read by Avro's rules of evolution. The schema comes from `avro_derive.py` or from a file, `avro_resolve.py` holds the
model and schemas against each other, fastavro reads and writes; `avro_columns.py` reads many values at once.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar
from uuid import UUID

import fastavro
import fastavro.validation
import msgspec
from fastavro import _read_py

from streamkit.errors import SchemaError
from streamkit.record.schema import Schema, is_row_type, schema_of
from streamkit.serdes.avro_columns import columns_decoder
from streamkit.serdes.avro_derive import derived
from streamkit.serdes.avro_resolve import Resolved, own_fields, resolve, with_defaults
from streamkit.serdes.avro_schema import AvroSchema, SchemaSource
from streamkit.serdes.json import JsonSerde
from streamkit.serdes.projection import fields_of
from streamkit.serdes.serde import ColumnsDecoder, Serde
from streamkit.serdes.utc import fields_in_utc, names_with_instants

V = TypeVar("V")
Framing = Literal["single-object", "none"]

MARKER = b"\xc3\x01"
_HEADER = len(MARKER) + 8
_AS_THEY_ARE = (datetime, date, Decimal, bytes, bytearray, UUID)
_UNTAGGED: Any = {"disable_tuple_notation": True}  # else ("null", "a") in a union would be taken for null
# What fastavro raises for bytes that are cut off or of another schema.
_BROKEN = (EOFError, struct.error, IndexError, KeyError, TypeError, OverflowError, MemoryError, ArithmeticError)


def avro(
    model: type[V],
    *,
    schema: SchemaSource | None = None,
    writers: Sequence[SchemaSource] = (),
    writer_schema: SchemaSource | None = None,
    framing: Framing = "single-object",
) -> AvroSerde[V]:
    """A serde for values of ``model`` in Avro: ``sk.Topic("bids", value=sk.avro(Bid))``.

    Values are written with the schema of the model, or with ``schema``: the path of an .avsc file (from the working directory),
    text, or a dict. What other schemas wrote, given in ``writers``, is read as the model by Avro's rules: fields that the model
    has not are skipped, those that the writer has not take their default (the model's, else the one in ``schema``; else None if
    they may be None), int is read as a long or a float, and a field may have ``aliases`` in its schema.

    ``framing``: "single-object" puts the fingerprint of its schema before each value, so bytes of an unlisted schema are
    refused with both fingerprints. "none" is bare binary, of which nothing can be checked, and which only one schema can have
    written: the model's, or ``writer_schema``; with that the serde only reads. Else ``writer_schema`` is one more of ``writers``.

    `SchemaError`, where it is called: a type without an Avro type (a Decimal without ``precision``), a file that is missing or
    is no schema, a schema that does not fit the model, with the name of the field. Datetimes are UTC, in microseconds unless the
    schema says otherwise. Specification: Avro 1.12, "Schema Resolution" and "Single object encoding".

    >>> import streamkit as sk
    >>> class Bid(sk.Model):
    ...     item: str
    ...     price: float
    ...     currency: str = "EUR"
    >>> serde = sk.avro(Bid)
    >>> data = serde.encoder()(Bid("A", 2.0))
    >>> data[:2].hex(), data[10:]
    ('c301', b'\\x02A\\x00\\x00\\x00\\x00\\x00\\x00\\x00@\\x06EUR')
    >>> serde.decoder()(data)
    Bid(item='A', price=2.0, currency='EUR')
    >>> class OldBid(sk.Model):
    ...     item: str
    ...     price: int
    >>> old = sk.avro(OldBid)
    >>> sk.avro(Bid, writers=[old.avro_schema]).decoder()(old.encoder()(OldBid("A", 2)))
    Bid(item='A', price=2.0, currency='EUR')
    """
    if not is_row_type(model) or issubclass(model, dict):
        raise SchemaError(f"{getattr(model, '__name__', model)!s} cannot be written as Avro: give a sk.Model or a dataclass")
    if framing not in ("single-object", "none"):
        raise SchemaError(f"framing={framing!r} is unknown; choose 'single-object' or 'none'")
    if framing == "none" and writers:
        raise SchemaError("bare binary does not say who wrote it: give its one schema as writer_schema=, or leave framing= out")
    own = AvroSchema.of(derived(model) if schema is None else schema)
    others = [*writers] if writer_schema is None else [*writers, writer_schema]
    return AvroSerde(model, own, tuple(map(AvroSchema.of, others)), framing, derived=schema is None)


@dataclass(frozen=True, slots=True)
class AvroSerde(Serde[V]):
    """Avro records as values of one model. See `avro`, which makes it."""

    model: type[V]
    own: AvroSchema
    writers: tuple[AvroSchema, ...] = ()
    framing: Framing = "single-object"
    derived: bool = field(default=False, compare=False, repr=False)
    schema: Schema = field(init=False, compare=False, repr=False)
    _own_fields: Mapping[type, dict[str, Any]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if getattr(getattr(self.model, "__struct_config__", None), "array_like", False):
            raise SchemaError(f"{self.model.__name__} is array_like: in Avro fields have names")
        object.__setattr__(self, "schema", schema_of(self.model))
        object.__setattr__(self, "_own_fields", own_fields(self.model, self.own))
        self._check_defaults()
        resolve(self.model, self._own_fields, self.own)
        self._readers(None)

    @property
    def name(self) -> str:
        details = [] if self.derived else [self.own.fingerprint.hex()]
        details += [f"from {writer.fingerprint.hex()}" for writer in self.writers]
        details += ["bare"] if self.framing == "none" else []
        return f"avro({', '.join([self.model.__name__, *details])})"

    @property
    def avro_schema(self) -> dict[str, Any]:
        """The schema that values are written with: for ``json.dump`` into an .avsc file, or as a writer of a later model."""
        made: dict[str, Any] = msgspec.json.decode(self.own.text)
        return made

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        """A projection gives objects with these attributes; the other fields are skipped, not validated."""
        rows = self._row_type(fields)
        fields = None if rows is self.model else fields
        readers = {fingerprint: _reader(resolved, rows, self.framing) for fingerprint, resolved in self._readers(fields).items()}
        if self.framing == "none":
            return next(iter(readers.values()))
        known = readers.get

        def decode(data: bytes) -> Any:
            read = known(data[:_HEADER])
            if read is None:
                raise ValueError(self._unknown(data))
            return read(data)

        return decode

    def columns_decoder(self, fields: frozenset[str]) -> ColumnsDecoder | None:
        """`BlockSerde`. None for models with ``__post_init__``, and where a field holds other values in itself or has bounds."""
        if self._row_type(fields) is self.model:
            return None
        start = _HEADER if self.framing == "single-object" else 0
        return columns_decoder(self.model, self.schema, fields, self._readers(fields), start)

    def encoder(self) -> Callable[[Any], bytes]:
        """It takes rows of the model, or a Row or dict with its field names and types."""
        if self.framing == "none" and self.writers:
            return self._read_only
        datum_of, parsed = self._datum(), fastavro.parse_schema(msgspec.json.decode(self.own.text))
        header = MARKER + self.own.fingerprint if self.framing == "single-object" else b""
        narrow = self.own.uses("int")  # fastavro alone would write more than 32 bits, which nobody else reads

        def encode(row: Any) -> bytes:
            datum = datum_of(row)
            out = io.BytesIO()
            out.write(header)
            try:
                if narrow:
                    fastavro.validation.validate(datum, parsed, **_UNTAGGED)
                fastavro.schemaless_writer(out, parsed, datum, **_UNTAGGED)
            except (fastavro.validation.ValidationError, KeyError, AttributeError) as error:
                raise ValueError(f"a value cannot be written as {self.own.name}: {error}") from None
            return out.getvalue()

        return encode

    def _read_only(self, _: Any) -> bytes:
        raise TypeError(
            f"{self.name} only reads: bare binary that another schema wrote; write with a serde without writer_schema="
        )

    def _datum(self) -> Callable[[Any], Any]:
        """From a row to what fastavro takes, checked: fastavro itself would write 1.5 as the integer 1."""
        model, to_model = self.model, JsonSerde(self.model)._converter()
        instants = names_with_instants({name: part.type for name, part in fields_of(model).items()}, untyped=False)

        def datum(row: Any) -> Any:
            if not isinstance(row, model):
                row = to_model(row)
            if instants:
                row = fields_in_utc(row, instants)
            made = msgspec.to_builtins(row, builtin_types=_AS_THEY_ARE)
            msgspec.convert(made, model, builtin_types=_AS_THEY_ARE)
            return made

        return datum

    def _readers(self, fields: frozenset[str] | None) -> dict[bytes, Resolved]:
        """By the first bytes of a value."""
        schemas = (self.own, *self.writers) if self.framing == "single-object" else (self.writers or (self.own,))
        found: dict[bytes, Resolved] = {}
        for schema in schemas:
            resolved = resolve(self.model, self._own_fields, schema, fields)
            # Fingerprints do not tell logical types apart.
            if found.setdefault(MARKER + schema.fingerprint, resolved) != resolved:
                raise SchemaError(
                    f"two schemas of {self.model.__name__} have the fingerprint {schema.fingerprint.hex()} and differ only in "
                    f"what it does not cover, such as logical types: their bytes cannot be told apart"
                )
        return found

    def _row_type(self, fields: frozenset[str] | None) -> type:
        """The model, or a Struct of these fields of it."""
        parts = fields_of(self.model)
        if fields is not None and (unknown := sorted(fields - parts.keys())):
            raise SchemaError(f"{self.model.__name__} has no field '{unknown[0]}'; it has: {', '.join(parts)}")
        if fields is None or hasattr(self.model, "__post_init__"):  # it may change or check them
            return self.model
        chosen = []
        for name, part in parts.items():
            if name in fields:
                extra = {"default": part.default} if part.factory is msgspec.NODEFAULT else {"default_factory": part.factory}
                chosen.append((name, part.type, msgspec.field(name=part.wire_name, **extra)))
        return msgspec.defstruct(f"{self.model.__name__}Projection", chosen, kw_only=True, gc=False)

    def _check_defaults(self) -> None:
        """A field that is left out in writing becomes the default of the schema: it must be the model's."""
        for model, theirs in self._own_fields.items():
            ours = derived(model)["fields"] if getattr(getattr(model, "__struct_config__", None), "omit_defaults", False) else ()
            for part in ours:
                if "default" in theirs[part["name"]] and theirs[part["name"]]["default"] != part.get("default", part):
                    raise SchemaError(
                        f"{model.__name__}.{part['name']} has another default in its schema, and omit_defaults leaves it out"
                    )

    def _unknown(self, data: bytes) -> str:
        known = ", ".join(schema.fingerprint.hex() for schema in (self.own, *self.writers))
        if data[:2] != MARKER or len(data) < _HEADER:
            return f"not an Avro single object, which starts with c301 and a fingerprint: {data[:_HEADER].hex()!r}"
        return f"the bytes were written with schema {data[2:_HEADER].hex()}, not with {known}; list that schema in writers="


def _reader(resolved: Resolved, row_type: type, framing: Framing) -> Callable[[bytes], Any]:
    """A function from the bytes of one value to a row."""
    direct = resolved.direct and not getattr(getattr(row_type, "__struct_config__", None), "forbid_unknown_fields", False)
    writer = fastavro.parse_schema(resolved.writer)
    reader = None if direct else with_defaults(fastavro.parse_schema(resolved.reader))
    start = _HEADER if framing == "single-object" else 0
    # A few thousand records within each other overflow the stack of the compiled reader, which ends the process.
    read = _read_py.schemaless_reader if resolved.recursive else fastavro.schemaless_reader
    convert, open_ = msgspec.convert, io.BytesIO

    def decode(data: bytes) -> Any:
        stream = open_(data)
        stream.seek(start)
        try:
            record = read(stream, writer, reader)
        except _BROKEN as error:
            raise ValueError(f"broken Avro, cut off or of another schema: {str(error) or type(error).__name__}") from None
        if stream.tell() != len(data):
            raise ValueError(f"{len(data) - stream.tell()} bytes after the end of the Avro value")
        return convert(record, row_type, builtin_types=_AS_THEY_ARE)

    return decode
