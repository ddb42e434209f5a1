"""Avro read in blocks: the same columns as from rows for every type and writer, and never what the reader of rows refuses."""

import enum
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import fastavro
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit.record.columns import column_of
from streamkit.record.model import Model
from streamkit.serdes.avro import AvroSerde, avro
from streamkit.serdes.avro_schema import AvroSchema
from streamkit.serdes.serde import DECODE_ERRORS, BlockSerde

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
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


class Leaves(Model):
    """Every type that is read in blocks, and types that are only skipped."""

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
    numbers: list[int]
    named: dict[str, Part]
    part: Part
    some: Part | None = None
    maybe_text: str | None = None
    maybe_whole: int | None = None
    maybe_real: float | None = None
    maybe_flag: bool | None = None
    maybe_raw: bytes | None = None
    maybe_at: datetime | None = None
    maybe_day: date | None = None
    maybe_uid: UUID | None = None
    maybe_money: Money | None = None
    maybe_colour: Colour | None = None


BLOCKS = frozenset(Leaves.__struct_fields__) - {"numbers", "named", "part", "some"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
int64s = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-70, 70),
    st.sampled_from([(1 << bits) * sign - one for bits in range(64) for sign in (1, -1) for one in (0, 1)]).filter(
        lambda n: -(2**63) <= n < 2**63
    ),
)
instants = st.datetimes(timezones=st.just(UTC))
money = st.decimals(-(10**9), 10**9, places=2)
parts = st.builds(Part, texts, st.none() | instants)
leaves: dict[str, Any] = {
    "text": texts,
    "whole": int64s,
    "real": st.floats(allow_nan=False),
    "flag": st.booleans(),
    "raw": st.binary(max_size=5),
    "at": instants,
    "day": st.dates(),
    "uid": st.uuids(),
    "money": money,
    "colour": st.sampled_from(Colour),
}
everything = st.builds(
    Leaves,
    **leaves,
    numbers=st.lists(int64s, max_size=4),
    named=st.dictionaries(texts, parts, max_size=2),
    part=parts,
    some=st.none() | parts,
    **{f"maybe_{name}": st.none() | leaf for name, leaf in leaves.items()},
)
ALL = avro(Leaves)


def record(*fields: Any, name: str = "Writer") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [dict(zip(("name", "type", "default"), f, strict=False)) for f in fields]}


def written(schema: dict[str, Any], data: Any) -> bytes:
    out = io.BytesIO()
    out.write(b"\xc3\x01" + AvroSchema.of(schema).fingerprint)
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), data)
    return out.getvalue()


def columns_of_rows(serde: AvroSerde[Any], fields: frozenset[str], values: list[bytes]) -> dict[str, Any]:
    rows = list(map(serde.decoder(fields), values))
    return {name: column_of(rows, name, serde.schema.fields[name]) for name in fields}


def shown(columns: Any) -> dict[str, Any]:
    """What can be compared: values with their types (True is no 1, and NaN equals itself)."""
    return {
        name: (column.kind, isinstance(column.values, list), [(type(v), repr(v)) for v in column.to_list()])
        for name, column in columns.items()
    }


def assert_same(serde: AvroSerde[Any], fields: frozenset[str], values: list[bytes]) -> None:
    decode = serde.columns_decoder(fields)
    assert decode is not None
    assert shown(decode(values)) == shown(columns_of_rows(serde, fields, values))


def leaves_with(numbers: list[int], named: dict[str, Part]) -> Leaves:
    uid, money = UUID(int=1), Decimal("1.00")
    return Leaves("t", 2**40, 1.0, True, b"r", NOON, NOON.date(), uid, money, Colour.RED, numbers, named, Part("q"))


class TestSame:
    @given(rows=st.lists(everything, min_size=1, max_size=5), some=st.sets(st.sampled_from(sorted(BLOCKS)), max_size=3))
    def test_every_type(self, rows, some):
        values = list(map(ALL.encoder(), rows))
        assert_same(ALL, BLOCKS, values)
        assert_same(ALL, frozenset(some), values)
        found = ALL.columns_decoder(BLOCKS)(values)
        assert {name: column.to_list() for name, column in found.items()} == {
            name: [getattr(row, name) for row in rows] for name in BLOCKS
        }

    @given(value=int64s, neighbour=int64s)
    def test_numbers_of_all_lengths_side_by_side(self, value, neighbour):
        class Number(Model):
            n: int

        serde = avro(Number, framing="none")
        values = list(map(serde.encoder(), [Number(value), Number(neighbour), Number(0)]))
        assert serde.columns_decoder(frozenset({"n"}))(values)["n"].to_list() == [value, neighbour, 0]

    @pytest.mark.parametrize(
        "annotation,node,data",
        [
            (float, "int", [1, -(2**31)]),
            (float, "long", [2**53 + 1, -(2**63), 2**63 - 1]),
            (float, "float", [0.1, float("inf"), float("nan"), -0.0]),
            (float, ["null", "float"], [0.1, None]),
            (float, ["int"], [1]),
            (int, "int", [7]),
            (int, MILLIS, [7]),
            (str, "bytes", [b"a", "ü".encode()]),
            (str, {"type": "enum", "name": "E", "symbols": ["P", "Q"]}, ["P", "Q", "P"]),
            (str, {"type": "string", "logicalType": "uuid"}, ["no uuid"]),
            (bytes, {"type": "fixed", "name": "F", "size": 2}, [b"ab", b"\0\xff"]),
            (datetime, MILLIS, [NOON, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)]),
            (datetime, ["null", MILLIS], [None, NOON]),
            (Decimal, {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 9}, [Decimal(3)]),
            (date, ["null", {"type": "int", "logicalType": "date"}], [date(1, 1, 1), None, date(9999, 12, 31)]),
        ],
        ids=str,
    )
    def test_what_other_types_are_read_as(self, annotation, node, data):
        nullable = annotation | None if isinstance(node, list) and "null" in node else annotation
        hint = {Decimal: Annotated[Decimal, msgspec.Meta(extra={"avro": {"precision": 9}})]}.get(annotation, nullable)
        model = type("M", (Model,), {"__annotations__": {"field": hint}, "__module__": __name__})
        writer = record(("before", "string"), ("field", node), ("behind", ["null", "double"]))
        raw = {**node} if isinstance(node, dict) else node
        if annotation is int and isinstance(raw, dict):
            raw = "long"
        if annotation is str and isinstance(raw, dict) and raw["type"] == "string":
            raw = "string"
        values = [written(record(("before", "string"), ("field", raw), ("behind", ["null", "double"])), one)
                  for one in ({"before": "x", "field": value, "behind": None} for value in data)]  # fmt: skip
        assert_same(avro(model, writers=[writer]), frozenset({"field"}), values)


class TestWriters:
    class Now(Model):
        item: str
        price: float
        currency: str = "EUR"
        note: str | None = None
        rank: Annotated[int, msgspec.Meta(extra={"avro": {"aliases": ["place"]}})] = 7

    FIELDS = frozenset(Now.__struct_fields__)
    OLD = record(("price", "int"), ("item", "string"))
    OLDER = record(("place", "long"), ("gone", {"type": "map", "values": "string"}), ("item", "bytes"), ("price", "float"))

    @given(picks=st.lists(st.tuples(st.sampled_from(range(3)), texts, st.integers(-100, 100)), min_size=1, max_size=9))
    def test_several_in_one_batch(self, picks):
        serde = avro(self.Now, writers=[self.OLD, self.OLDER])
        encode = serde.encoder()
        values = []
        for writer, item, n in picks:
            if writer == 0:
                values.append(encode(self.Now(item, float(n), "USD", None if n % 2 else "n", n)))
            elif writer == 1:
                values.append(written(self.OLD, {"item": item, "price": n}))
            else:
                older = {"place": n, "gone": {"k": "v"} if n % 2 else {}, "item": item.encode(), "price": float(n)}
                values.append(written(self.OLDER, older))
        assert_same(serde, self.FIELDS, values)
        assert_same(serde, frozenset({"rank", "note"}), values)

    def test_defaults_of_a_schema(self):
        class Plain(Model):
            item: str
            at: datetime
            part: float

        own = record(("item", "string"), ("at", MICROS, 1586952000000001), ("part", "double", 2.5))
        old = record(("item", "string"))
        serde = avro(Plain, schema=own, writers=[old])
        values = [written(old, {"item": "A"}), serde.encoder()(Plain("B", NOON, 1.0))]
        assert_same(serde, frozenset({"at", "part"}), values)
        assert serde.columns_decoder(frozenset({"at"}))(values)["at"].to_list() == [NOON, NOON]

    def test_an_unlisted_one_is_left_to_the_reader_of_rows(self):
        serde = avro(self.Now)
        good = serde.encoder()(self.Now("A", 1.0))
        with pytest.raises(DECODE_ERRORS):
            serde.columns_decoder(self.FIELDS)([good, written(self.OLD, {"item": "A", "price": 1})])

    def test_skipped_parts_are_not_looked_at(self):
        """Alone or in a block: what becomes of a record must not hang on how many came with it."""

        class One(Model):
            n: int

        kinds = [
            "string", {"type": "enum", "name": "E", "symbols": ["P"]}, ["string", "bytes"], {"type": "map", "values": "string"},
            {"type": "array", "items": {"type": "record", "name": "In", "fields": [{"name": "x", "type": ["null", "string"]}]}},
        ]  # fmt: skip
        broken = [b"\x02\xff", b"\x08", b"\x02\x02\xff", b"\x02\x02\xff\x02\xff\0", b"\x02\x02\x02\xff\0"]
        for kind, body in zip(kinds, broken, strict=True):
            writer = record(("x", kind), ("n", "long"))
            serde = avro(One, writers=[writer])
            value = b"\xc3\x01" + AvroSchema.of(writer).fingerprint + body + b"\x0e"
            assert serde.decoder(frozenset({"n"}))(value).n == 7
            assert_same(serde, frozenset({"n"}), [value])


def mangled(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    out = bytearray(data)
    for kind, place, byte in changes:
        at = place % (len(out) + 1)
        if kind == "cut":
            del out[at:]
        elif kind == "drop":
            del out[at : at + 1]
        elif kind == "insert":
            out.insert(at, byte)
        elif at < len(out):
            out[at] = byte
    return bytes(out)


changes = st.lists(
    st.tuples(st.sampled_from(["cut", "drop", "insert", "set", "set", "set"]), st.integers(0, 200), st.integers(0, 255)),
    max_size=3,
)


class TestBroken:
    @given(
        rows=st.lists(st.tuples(everything, changes), min_size=1, max_size=3), framing=st.sampled_from(["single-object", "none"])
    )
    def test_never_reads_what_rows_refuse(self, rows, framing):
        """Mangled bytes: a block is refused, or gives exactly what the rows give."""
        serde = avro(Leaves, framing=framing)
        encode = serde.encoder()
        values = [mangled(encode(row), change) for row, change in rows]
        for fields in (BLOCKS, frozenset({"whole"})):
            decode = serde.columns_decoder(fields)
            try:
                found = decode(values)
            except (*DECODE_ERRORS, TypeError):
                continue
            assert shown(found) == shown(columns_of_rows(serde, fields, values))

    @given(data=st.lists(st.binary(max_size=30), min_size=1, max_size=3))
    @example(data=[b"\xff" * 9 + b"\x01"])
    @example(data=[b"\xff" * 9 + b"\x02"])
    def test_any_bytes(self, data):
        class Small(Model):
            n: int
            text: str | None
            flag: bool

        serde = avro(Small, framing="none")
        for fields in (frozenset(Small.__struct_fields__), frozenset({"flag"})):
            try:
                found = serde.columns_decoder(fields)(data)
            except (*DECODE_ERRORS, TypeError):
                continue
            assert shown(found) == shown(columns_of_rows(serde, fields, data))

    @pytest.mark.parametrize(
        "annotation,data",
        [
            (int | None, b"\x04"),  # a branch that the union has not: taken for null, the record would end here
            (int | None, b"\x04\x02"),
            (int | None, b"\x01"),  # the branch -1, which fastavro counts from the end
            (int | None, b"\x80\x00"),  # the branch 0 in more bytes than it needs
            (int, b"\xff" * 9 + b"\x02"),  # beyond 64 bits
            (int, b"\xff" * 10 + b"\x01"),  # in more than ten bytes
            (str, b"\x01"),  # a length of -1
            (str, b"\xfe" + b"\xff" * 8 + b"\x01"),  # a length that overflows with what lies before it
            (str, b"\x04\xc3"),
            (str, b"\x02\xff"),
            (bool, b"\x02"),
            (Colour, b"\x04"),
            (Colour, b"\x01"),
            (datetime, b"\xfe" + b"\xff" * 8 + b"\x01"),  # the year 292277
            (date, b"\xfe\xff\xff\xff\x0f"),
            (float, b"\0" * 7),
        ],
        ids=str,
    )
    def test_it_is_strict(self, annotation, data):
        model = type("M", (Model,), {"__annotations__": {"field": annotation}, "__module__": __name__})
        serde = avro(model, framing="none")
        for fields in ({"field"}, set()):
            decode = serde.columns_decoder(frozenset(fields))
            if fields or (annotation not in (bool, Colour, datetime, date) and data != b"\x02\xff"):  # those are well-formed
                with pytest.raises(DECODE_ERRORS):
                    decode([data])

    @pytest.mark.parametrize("length", [b"\x01", b"\xfe" + b"\xff" * 8 + b"\x01"])
    def test_a_length_moves_forward_and_not_beyond(self, length):
        """Back by one, the length itself would be the number behind it."""

        class One(Model):
            text: str
            n: int

        with pytest.raises(ValueError, match="broken Avro"):
            avro(One, framing="none").columns_decoder(frozenset({"n"}))([length])

    def test_a_symbol_that_the_model_has_not(self):
        class One(Model):
            colour: Colour

        writer = record(("colour", {"type": "enum", "name": "C", "symbols": ["red", "green"]}))
        decode = avro(One, framing="none", writer_schema=writer).columns_decoder(frozenset({"colour"}))
        assert decode([b"\0"])["colour"].to_list() == [Colour.RED]
        with pytest.raises(ValueError, match="broken Avro"):
            decode([b"\0", b"\x02"])

    def test_halves_of_a_character_are_not_joined(self):
        class One(Model):
            text: str

        decode = avro(One, framing="none").columns_decoder(frozenset({"text"}))
        assert decode(["\x04ü".encode(), b"\x02a"])["text"].to_list() == ["ü", "a"]
        with pytest.raises(UnicodeDecodeError):
            decode([b"\x02\xc3", b"\x02\xbc"])

    def test_arrays_with_their_size_in_bytes(self):
        class One(Model):
            n: int

        serde = avro(One, framing="none", writer_schema=record(("many", {"type": "array", "items": "long"}), ("n", "long")))
        decode = serde.columns_decoder(frozenset({"n"}))
        sized = b"\x03\x04\x0a\x0c\0\x0e"  # -2 items in 2 bytes, 5, 6, the end, 7
        assert serde.decoder(frozenset({"n"}))(sized).n == 7
        assert decode([sized, b"\x02\x0a\x02\x0c\0\x0e", b"\0\x0e"])["n"].to_list() == [7, 7, 7]

    def test_bytes_that_only_fit_together(self):
        """Cut where the next record begins: read one behind the other they would be as long as two."""

        class Pair(Model):
            a: int
            b: int

        serde = avro(Pair, framing="none")
        decode = serde.columns_decoder(frozenset({"a", "b"}))
        assert decode([b"\x02\x04", b"\x06\x08"])["b"].to_list() == [2, 4]
        for values in ([b"\x02", b"\x04\x06\x08"], [b"\x02\x04\x06", b"\x08"], [b"", b"\x02\x04\x06\x08"]):
            with pytest.raises(ValueError, match="broken Avro"):
                decode(values)

    def test_every_cut(self):
        row = leaves_with([1], {"k": Part("p")})
        data = ALL.encoder()(row)
        decode = ALL.columns_decoder(BLOCKS)
        assert decode([data, data])["text"].to_list() == ["t", "t"]
        for length in range(len(data)):
            with pytest.raises(DECODE_ERRORS):
                decode([data, data[:length], data])
        with pytest.raises(DECODE_ERRORS):
            decode([data, data + b"\0"])
        with pytest.raises(TypeError):
            decode([data, None])

    def test_long_arrays_are_left_to_the_reader_of_rows(self):
        row = leaves_with([], {})
        decode = ALL.columns_decoder(frozenset({"text"}))
        for length, read in ((32, True), (33, False)):
            row.numbers = [1] * length
            data = ALL.encoder()(row)
            if read:
                assert decode([data])["text"].to_list() == ["t"]
            else:
                with pytest.raises(ValueError, match="broken Avro"):
                    decode([data])


class TestRefused:
    """Where rows could give something else, there is no reader of blocks."""

    @pytest.mark.parametrize(
        "annotation",
        [
            Part, list[int], dict[str, int], Literal["a", "b"], Annotated[int, msgspec.Meta(ge=0)],
            Annotated[str, msgspec.Meta(max_length=3)] | None, Annotated[str, "an annotation of somebody else"],
        ],
        ids=str,
    )  # fmt: skip
    def test_types(self, annotation):
        model = type("M", (Model,), {"__annotations__": {"field": annotation, "n": int}, "__module__": __name__})
        serde = avro(model)
        assert serde.columns_decoder(frozenset({"field"})) is None
        assert serde.columns_decoder(frozenset({"n"})) is not None

    def test_models(self):
        class Checked(Model):
            n: int

            def __post_init__(self):
                self.n += 1

        assert avro(Node).columns_decoder(frozenset({"value"})) is None
        assert avro(Checked).columns_decoder(frozenset({"n"})) is None
        with pytest.raises(Exception, match="no field 'm'"):
            avro(Part).columns_decoder(frozenset({"m"}))

    def test_unions_of_several_types(self):
        class One(Model):
            n: float

        serde = avro(One, writers=[record(("n", ["int", "double"]))])
        assert serde.columns_decoder(frozenset({"n"})) is None
        assert serde.columns_decoder(frozenset()) is not None

    def test_a_default_that_is_made_anew(self):
        class Tagged(Model):
            n: int
            tags: bytes = msgspec.field(default_factory=bytes)

        serde = avro(Tagged, writers=[record(("n", "long"))])
        assert serde.columns_decoder(frozenset({"tags"})) is None
        assert serde.columns_decoder(frozenset({"n"})) is not None

    def test_it_is_a_block_serde(self):
        assert isinstance(ALL, BlockSerde)
