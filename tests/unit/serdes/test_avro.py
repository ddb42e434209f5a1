"""Avro values: the wire format, evolution by Avro's rules, and what is refused."""

import enum
import io
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bids import app as bids
from streamkit.record.model import Model, Row
from streamkit.serdes.avro import avro
from streamkit.serdes.avro_resolve import own_fields, resolve
from streamkit.serdes.avro_schema import AvroSchema

NOON = datetime(2020, 4, 15, 12, 0, 0, 1, tzinfo=UTC)
Money = Annotated[Decimal, msgspec.Meta(extra={"avro": {"precision": 12, "scale": 2}})]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Part(Model):
    name: str
    at: datetime | None = None


class Node(Model):
    value: int
    next: "Node | None" = None


class Bid(Model):
    item: str
    price: float
    at: datetime


class Number(Model):
    n: int | None


class All(Model):
    text: str
    whole: int
    real: float
    flag: bool
    raw: bytes
    at: datetime
    day: date
    uid: UUID
    money: Money
    colour: Colour
    word: Literal["a", "b"]
    numbers: list[int]
    named: dict[str, Part]
    part: Part
    maybe: Part | None = None
    tree: Node | None = None
    price: Money | None = None


@dataclass
class PlainBid:
    item: str
    price: float
    tags: list[str] = field(default_factory=list)


class Renamed(Model, rename="camel"):
    item_id: str
    sold_at: datetime


def record(*fields, name="Bid"):
    return {"type": "record", "name": name, "fields": [dict(zip(("name", "type", "default"), f, strict=False)) for f in fields]}


MICROS = {"type": "long", "logicalType": "timestamp-micros"}
BID = record(("item", "string"), ("price", "double"), ("at", MICROS))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
int64s = st.integers(-(2**63), 2**63 - 1)
instants = st.datetimes(timezones=st.just(UTC))
money = st.decimals(-(10**9), 10**9, places=2)
parts = st.builds(Part, texts, st.none() | instants)
everything = st.builds(
    All,
    text=texts,
    whole=int64s,
    real=st.floats(allow_nan=False),
    flag=st.booleans(),
    raw=st.binary(max_size=5),
    at=instants,
    day=st.dates(),
    uid=st.uuids(),
    money=money,
    colour=st.sampled_from(Colour),
    word=st.sampled_from(["a", "b"]),
    numbers=st.lists(int64s, max_size=3),
    named=st.dictionaries(texts, parts, max_size=2),
    part=parts,
    maybe=st.none() | parts,
    tree=st.none() | st.builds(Node, int64s, st.none() | st.builds(Node, int64s)),
    price=st.none() | money,
)


def crc_64_avro(data):
    """The specification's program, as it stands there."""
    empty, table = 0xC15D213AA4D7A795, []
    for start in range(256):
        value = start
        for _ in range(8):
            value = (value >> 1) ^ (empty & -(value & 1))
        table.append(value)
    found = empty
    for byte in data:
        found = (found >> 8) ^ table[(found ^ byte) & 0xFF]
    return found


class TestWire:
    def test_single_object(self):
        data = avro(Bid).encoder()(Bid("A", 2.0, NOON))
        canonical = (
            b'{"name":"Bid","type":"record","fields":[{"name":"item","type":"string"},{"name":"price","type":"double"},'
            b'{"name":"at","type":"long"}]}'
        )
        assert data[:2] == b"\xc3\x01"
        assert data[2:10] == crc_64_avro(canonical).to_bytes(8, "little")
        plain = fastavro.schemaless_reader(io.BytesIO(data[10:]), fastavro.parse_schema(BID))
        assert plain == {"item": "A", "price": 2.0, "at": NOON}

    def test_bare(self):
        serde = avro(Bid, framing="none")
        data = serde.encoder()(Bid("A", 2.0, NOON))
        assert avro(Bid).encoder()(Bid("A", 2.0, NOON))[10:] == data
        assert serde.decoder()(data) == Bid("A", 2.0, NOON)

    @given(value=everything)
    def test_round_trip_of_every_type(self, value):
        serde = avro(All)
        data = serde.encoder()(value)
        back = serde.decoder()(data)
        assert back == value
        assert serde.encoder()(back) == data
        assert back.at.tzinfo is UTC
        fields = frozenset({"money", "at", "tree", "named"})
        row = serde.decoder(fields)(data)
        assert all(getattr(row, name) == getattr(value, name) for name in fields)
        assert not hasattr(row, "text")

    def test_a_dataclass_and_names_on_the_wire(self):
        plain = avro(PlainBid)
        assert plain.decoder()(plain.encoder()(PlainBid("A", 1, ["x"]))) == PlainBid("A", 1.0, ["x"])
        renamed = avro(Renamed)
        assert [part["name"] for part in renamed.avro_schema["fields"]] == ["itemId", "soldAt"]
        data = renamed.encoder()(Row(item_id="A", sold_at=NOON))
        assert renamed.decoder()(data) == Renamed("A", NOON)
        assert renamed.decoder(frozenset({"sold_at"}))(data).sold_at == NOON

    @pytest.mark.parametrize("at", [NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=3)))])
    def test_instants_are_utc(self, at):
        serde = avro(Bid)
        assert serde.decoder()(serde.encoder()(Bid("A", 1.0, at))).at == NOON

    def test_a_naive_datetime_is_utc_wherever_we_are(self, monkeypatch):
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            serde = avro(Bid)
            assert serde.decoder()(serde.encoder()(Bid("A", 1.0, NOON.replace(tzinfo=None)))).at == NOON
        finally:
            monkeypatch.undo()
            time.tzset()

    def test_the_schema_of_a_model(self):
        class Item(Model):
            name: str
            count: int = 3
            at: datetime = NOON
            tags: list[str] = msgspec.field(default_factory=list)
            note: str | None = None
            rank: int | None = 7
            old: Annotated[str, msgspec.Meta(extra={"avro": {"aliases": ["older"]}})] = ""
            small: Annotated[float, msgspec.Meta(extra={"avro": {"type": "float"}})] = 0.0

        assert avro(Item).avro_schema["fields"] == [
            {"name": "name", "type": "string"},
            {"name": "count", "type": "long", "default": 3},
            {"name": "at", "type": MICROS, "default": 1586952000000001},
            {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "rank", "type": ["long", "null"], "default": 7},
            {"name": "old", "type": "string", "default": "", "aliases": ["older"]},
            {"name": "small", "type": "float"},
        ]


def read_as(model, writer, datum, **options):
    """The model's row from what another program wrote with its schema."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), datum)
    options.setdefault("writers", [writer])
    serde = avro(model, **options)
    data = b"\xc3\x01" + AvroSchema.of(writer).fingerprint + out.getvalue()
    row = serde.decoder()(data)
    for name in model.__struct_fields__:  # a projection is the whole, field by field
        assert getattr(serde.decoder(frozenset({name}))(data), name) == getattr(row, name)
    return row


class TestEvolution:
    def test_added_with_a_default(self):
        class Now(Bid):
            currency: str = "EUR"
            note: str | None = None
            tags: list[str] = msgspec.field(default_factory=list)

        assert read_as(Now, BID, {"item": "A", "price": 1.0, "at": NOON}) == Now("A", 1.0, NOON, "EUR", None, [])

    def test_added_and_may_be_null(self):
        class Now(Bid):
            note: str | None

        assert read_as(Now, BID, {"item": "A", "price": 1.0, "at": NOON}).note is None

    @pytest.mark.parametrize(
        "type_,default,value",
        [("string", "EUR", "EUR"), (["string", "null"], "EUR", "EUR"), (["null", "string"], None, None)],
    )
    def test_a_default_of_the_schema(self, type_, default, value):
        class Now(Bid):
            currency: str | None if isinstance(type_, list) else str

        own = {**BID, "fields": [*BID["fields"], {"name": "currency", "type": type_, "default": default}]}
        assert read_as(Now, BID, {"item": "A", "price": 1.0, "at": NOON}, schema=own).currency == value

    def test_a_default_with_a_logical_type(self):
        class Now(Model):
            at: datetime

        own = record(("at", MICROS, 1586952000000001))
        assert read_as(Now, record(("x", "string")), {"x": ""}, schema=own).at == NOON

    def test_removed(self):
        inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": MICROS}]}
        writer = record(
            ("a", inner), ("b", ["null", "Inner"]), ("item", "string"), ("c", {"type": "map", "values": "Inner"}),
            ("price", "double"), ("d", {"type": "enum", "name": "E", "symbols": ["P"]}), ("at", MICROS), ("e", ["null", "E"]),
        )  # fmt: skip
        datum = {"a": {"x": NOON}, "b": {"x": NOON}, "item": "A", "c": {"k": {"x": NOON}}, "price": 1.0, "d": "P", "at": NOON}
        assert read_as(Bid, writer, {**datum, "e": "P"}) == Bid("A", 1.0, NOON)

    def test_another_order_and_another_name(self):
        writer = record(("at", MICROS), ("price", "double"), ("item", "string"), name="Offer")
        assert read_as(Bid, writer, {"item": "A", "price": 1.0, "at": NOON}) == Bid("A", 1.0, NOON)

    @pytest.mark.parametrize("kind,value", [("int", 2), ("long", 2), ("float", 2.0), (["int", "double"], 2)])
    def test_promoted_to_a_float(self, kind, value):
        row = read_as(Bid, record(("item", "bytes"), ("price", kind), ("at", MICROS)), {"item": b"A", "price": value, "at": NOON})
        assert row == Bid("A", 2.0, NOON)
        assert type(row.price) is float

    def test_promoted_to_an_integer_text_and_bytes(self):
        class Now(Model):
            n: int
            many: list[int]
            raw: bytes
            symbol: str
            maybe: int | None

        enum_ = {"type": "enum", "name": "E", "symbols": ["P", "Q"]}
        writer = record(
            ("n", ["int", "long"]),
            ("many", {"type": "array", "items": "int"}),
            ("raw", "string"),
            ("symbol", enum_),
            ("maybe", "int"),
        )
        assert read_as(Now, writer, {"n": 1, "many": [2], "raw": "ü", "symbol": "Q", "maybe": 5}) == Now(
            1, [2], "ü".encode(), "Q", 5
        )

    def test_aliases_of_the_model_and_of_the_schema(self):
        class Now(Model):
            article: Annotated[str, msgspec.Meta(extra={"avro": {"aliases": ["thing", "item"]}})]

        class Plain(Model):
            article: str

        writer = record(("price", "double"), ("item", "string"))
        own = {"type": "record", "name": "P", "fields": [{"name": "article", "type": "string", "aliases": ["item"]}]}
        assert read_as(Now, writer, {"item": "A", "price": 1.0}).article == "A"
        assert read_as(Plain, writer, {"item": "A", "price": 1.0}, schema=own).article == "A"

    def test_a_name_goes_before_an_alias(self):
        class Now(Model):
            first: Annotated[str, msgspec.Meta(extra={"avro": {"aliases": ["item"]}})] = "none"
            second: Annotated[str, msgspec.Meta(extra={"avro": {"aliases": ["item"]}})] = "none"
            item: str = "none"

        assert read_as(Now, record(("item", "string")), {"item": "A"}) == Now("none", "none", "A")

        class Later(Model):
            first: Annotated[str, msgspec.Meta(extra={"avro": {"aliases": ["item"]}})] = "none"
            second: Annotated[str, msgspec.Meta(extra={"avro": {"aliases": ["item"]}})] = "none"

        assert read_as(Later, record(("item", "string")), {"item": "A"}) == Later("A", "none")

    def test_a_union_of_the_reader_has_each_type_once(self):
        serde, writer = avro(Number), AvroSchema.of(record(("n", ["null", "int", "long"])))
        assert resolve(Number, own_fields(Number, serde.own), writer).reader["fields"][0]["type"] == ["null", "long"]
        assert [read_as(Number, record(("n", ["null", "int", "long"])), {"n": n}).n for n in (None, 1, 2**40)] == [None, 1, 2**40]

    def test_nested_models_evolve(self):
        class Inner(Model):
            n: float
            unit: str = "kg"

        class Outer(Model):
            inner: Inner
            more: list[Inner]
            named: dict[str, Inner | None]

        inner = {"type": "record", "name": "space.In", "fields": [{"name": "x", "type": "string"}, {"name": "n", "type": "int"}]}
        writer = record(
            ("inner", inner),
            ("more", {"type": "array", "items": "space.In"}),
            ("named", {"type": "map", "values": ["null", "space.In"]}),
        )
        old = {"x": "", "n": 1}
        new = Inner(1.0, "kg")
        row = read_as(Outer, writer, {"inner": old, "more": [old], "named": {"k": old, "none": None}})
        assert row == Outer(new, [new], {"k": new, "none": None})

    def test_a_count_is_read_as_it_stands(self):
        class Raw(Model):
            at: int

        assert read_as(Raw, record(("at", {"type": "long", "logicalType": "timestamp-millis"})), {"at": NOON}).at == 1586952000000

    def test_milliseconds(self):
        row = read_as(
            Bid,
            record(("item", "string"), ("price", "double"), ("at", {"type": "long", "logicalType": "timestamp-millis"})),
            {"item": "A", "price": 1.0, "at": NOON},
            schema=record(("item", "string"), ("price", "double"), ("at", {"type": "long", "logicalType": "timestamp-millis"})),
        )
        assert row.at == NOON.replace(microsecond=0)

    def test_defaults_are_not_shared(self):
        class Now(Model):
            tags: list[str]

        serde = avro(Now, schema=record(("tags", {"type": "array", "items": "string"}, [])), writers=[record(("x", "int"))])
        data = b"\xc3\x01" + AvroSchema.of(record(("x", "int"))).fingerprint + b"\x02"
        decode = serde.decoder()
        decode(data).tags.append("mine")
        assert decode(data).tags == []

    def test_unknown_fields_of_a_strict_model(self):
        class Strict(Model, forbid_unknown_fields=True):
            item: str

        assert read_as(Strict, BID, {"item": "A", "price": 1.0, "at": NOON}) == Strict("A")

    def test_bare_bytes_of_another_writer(self):
        class Now(Bid):
            currency: str = "EUR"

        data = avro(Bid, framing="none").encoder()(Bid("A", 1.0, NOON))
        serde = avro(Now, framing="none", writer_schema=BID)
        assert serde.decoder()(data) == Now("A", 1.0, NOON, "EUR")
        with pytest.raises(TypeError, match="only reads"):
            serde.encoder()(Now("A", 1.0, NOON))


SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"


class TestFiles:
    @pytest.mark.parametrize("name,model", [("bids.avsc", bids.Bid), ("bid-totals-per-item.avsc", bids.ItemTotal)])
    def test_the_schemas_of_the_services_are_those_of_the_models(self, name, model):
        serde = avro(model, schema=SCHEMAS / name)
        assert serde.own.fingerprint == avro(model).own.fingerprint
        assert serde.avro_schema["fields"] == avro(model).avro_schema["fields"]

    def test_every_file_is_tested(self):
        assert {path.name for path in SCHEMAS.glob("*.avsc")} == {"bids.avsc", "bid-totals-per-item.avsc"}

    def test_from_the_working_directory(self, monkeypatch):
        monkeypatch.chdir(SCHEMAS.parent)
        assert avro(bids.Bid, schema="schemas/bids.avsc").own == AvroSchema.of(SCHEMAS / "bids.avsc")
