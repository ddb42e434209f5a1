"""What every serde promises, for every one of them: see the protocols in serde.py."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from streamkit.errors import SchemaError
from streamkit.record.column import column_from
from streamkit.record.columns import column_of
from streamkit.record.model import Model, Row
from streamkit.record.schema import field_of
from streamkit.serdes.avro import AvroSerde, avro
from streamkit.serdes.compiled import COLUMNS
from streamkit.serdes.json import JsonSerde, UntypedJson
from streamkit.serdes.keys import (
    BoolKey,
    BytesKey,
    DateKey,
    DatetimeKey,
    DynamicKey,
    FloatKey,
    IntKey,
    NullKey,
    StringKey,
    TupleKey,
)
from streamkit.serdes.scalars import BytesSerde, FloatSerde, IntSerde, StringSerde
from streamkit.serdes.serde import DECODE_ERRORS, ENCODE_ERRORS, BlockSerde, ColumnarSerde

NOON = datetime(2020, 4, 15, 12, tzinfo=UTC)


class Bid(Model):
    item: str
    price: float
    at: datetime
    count: int | None = None


@dataclass
class PlainBid:
    item: str
    price: float
    at: datetime
    count: int | None = None


class Other(Model):
    name: str


BIDS = [
    Bid("A", 2.0, NOON, 3),
    Bid("", -1.5, NOON.replace(year=1969, microsecond=7), None),
    Bid("küla\n\0", 1e300, NOON, -(2**63)),
]
FIELDS = {"item": str, "price": float, "at": datetime, "count": int | None}
OLD = {"type": "record", "name": "Old", "fields": [{"name": "item", "type": "string"}, {"name": "price", "type": "double"},
       {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}  # fmt: skip


def as_plain(bid):
    return PlainBid(bid.item, bid.price, bid.at, bid.count)


def as_row(bid):
    return Row(item=bid.item, price=bid.price, count=bid.count)


@dataclass(frozen=True)
class Case:
    """A serde, made anew each time, with values that it takes and some that it does not."""

    make: Any
    values: list[Any]
    wrong: list[Any]
    garbage: list[bytes]
    others: list[Any] = field(default_factory=list)
    fields: tuple[str, ...] = ()
    empty: Any = None  # what the empty payload is; None: refused

    def __str__(self) -> str:
        return self.make().name


SCALARS = [StringSerde(), BytesSerde(), IntSerde(), FloatSerde()]
NOT_AN_OBJECT = [None, 1, "A", b"A", [1], Bid, object()]
BROKEN_JSON = [
    b"{",
    b'{"item":"A","price":1',
    b"\xff",
    b"1",
    b"[]",
    b"null",
    b'{"item":"\xff"}',
    b"{}x",
    b"\xc3\x01" + b"\0" * 20,
]
WRONG_BIDS = [*NOT_AN_OBJECT, Row(), Row(item=1, price=1.0, at=NOON), Row(item="A", price=1.0, at=NOON, more=1), Other("A")]
BROKEN_AVRO = [b"{}", b"\xc3", b"\xc3\x01", b"\xc3\x01" + b"\0" * 8, b"\xff" * 30, avro(Other).encoder()(Other("A"))]
CASES = [
    Case(lambda: JsonSerde(Bid), BIDS, WRONG_BIDS, BROKEN_JSON, [JsonSerde(PlainBid), avro(Bid)], tuple(FIELDS)),
    Case(lambda: JsonSerde(PlainBid), [as_plain(bid) for bid in BIDS], WRONG_BIDS, BROKEN_JSON, [JsonSerde(Bid)], tuple(FIELDS)),
    Case(UntypedJson, [as_row(bid) for bid in BIDS], NOT_AN_OBJECT, BROKEN_JSON, [JsonSerde(Bid)], ("item", "price", "count")),
    Case(StringSerde, ["A", "küla", "", "\0"], [None, 1, b"A", Row()], [b"\xff", b"\xed\xa0\x80"], SCALARS, empty=""),
    Case(IntSerde, [0, -7, 2**70], [None, 1.0, "1", True, Row()], [b"x", b"1.5", b'"1"', b"1 2", b"null"], SCALARS),
    Case(FloatSerde, [0.5, -1e300], [None, "1", True, Row()], [b"x", b"NaN", b"1e999", b'"1"', b"null"], SCALARS),
    Case(BytesSerde, [b"A", b"", b"\xff\0"], [None, "A", 1, Row()], [], SCALARS, empty=b""),
    Case(
        lambda: avro(Bid), BIDS, WRONG_BIDS, BROKEN_AVRO,
        [JsonSerde(Bid), avro(PlainBid), avro(Bid, framing="none"), avro(Bid, writers=[OLD])], tuple(FIELDS),
    ),
    Case(lambda: avro(PlainBid), [as_plain(bid) for bid in BIDS], WRONG_BIDS, BROKEN_AVRO, [avro(Bid)], tuple(FIELDS)),
    Case(lambda: avro(Bid, writers=[OLD]), BIDS, WRONG_BIDS, BROKEN_AVRO, [avro(Bid)], tuple(FIELDS)),
    Case(lambda: avro(Bid, framing="none"), BIDS, WRONG_BIDS, [b"\xff" * 30, b"\x02A"], [avro(Bid)], tuple(FIELDS)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
class TestValues:
    def test_round_trip(self, case):
        serde = case.make()
        encode, decode = serde.encoder(), serde.decoder()
        for value in case.values:
            data = encode(value)
            assert type(data) is bytes
            back = decode(data)
            assert back == value
            assert type(back) is type(value)
            assert encode(back) == data

    def test_instants_come_back_in_utc(self, case):
        serde = case.make()
        decode = serde.decoder()
        for value in case.values:
            at = getattr(decode(serde.encoder()(value)), "at", None) if "at" in case.fields else None
            assert at is None or at.tzinfo is UTC

    def test_a_projection_is_the_whole_cut_down(self, case):
        serde = case.make()
        for names in [case.fields[:1], case.fields[1:], case.fields, ()]:
            decode = serde.decoder(frozenset(names))
            rows = [decode(serde.encoder()(value)) for value in case.values]
            for name in names:
                kind = field_of(FIELDS[name])
                values = [getattr(row, name) for row in rows]  # datetimes may be text, which a column parses
                expected = [getattr(value, name) for value in case.values]
                assert column_from(values, name, kind).to_list() == column_from(expected, name, kind).to_list() == expected

    def test_a_decoder_and_an_encoder_can_be_used_side_by_side(self, case):
        first, second = case.make().decoder(), case.make().decoder()
        data = [case.make().encoder()(value) for value in case.values]
        assert [first(each) for each in data] == [second(each) for each in data]

    def test_serdes_are_values(self, case):
        serde = case.make()
        assert serde == case.make()
        assert hash(serde) == hash(case.make())
        for other in case.others:
            assert other == serde if type(other) is type(serde) and other.name == serde.name else other != serde
        assert serde.name == case.make().name

    def test_wrong_values(self, case):
        encode = case.make().encoder()
        for value in case.wrong:
            with pytest.raises(ENCODE_ERRORS):
                encode(value)

    def test_garbage(self, case):
        serde = case.make()
        for decode in [serde.decoder(), serde.decoder(frozenset(case.fields))]:
            for data in case.garbage:
                with pytest.raises(DECODE_ERRORS):
                    decode(data)

    def test_the_empty_payload(self, case):
        if case.empty is not None:
            assert case.make().decoder()(b"") == case.empty
            return
        for decode in [case.make().decoder(), case.make().decoder(frozenset(case.fields[:1]))]:
            with pytest.raises(DECODE_ERRORS):
                decode(b"")

    def test_the_schema_is_that_of_the_rows(self, case):
        schema = case.make().schema
        assert schema.type is type(case.values[0])
        assert schema.open or schema.names == case.fields


@pytest.mark.parametrize("case", [case for case in CASES if case.fields], ids=str)  # a piece of a text is a text
def test_cut_bytes_never_give_the_value(case):
    serde = case.make()
    data = serde.encoder()(case.values[0])
    for length in range(len(data)):
        with pytest.raises(DECODE_ERRORS):
            serde.decoder()(data[:length])


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.make(), ColumnarSerde)], ids=str)
def test_columns_are_written_as_rows_are(case):
    serde = case.make()
    rows = [Row({name: getattr(value, name) for name in case.fields}) for value in case.values]
    columns = [column_from([row[name] for row in rows], name, field_of(FIELDS[name])) for name in case.fields]
    encode = serde.encoder()
    assert serde.columns_encoder(case.fields)(columns, len(rows)) == [encode(row) for row in rows]


def takes(decode, data):
    try:
        decode(data)
    except DECODE_ERRORS:
        return False
    return True


def reads_blocks(case):
    serde = case.make()
    return isinstance(serde, BlockSerde) and serde.columns_decoder(frozenset(case.fields)) is not None


BLOCK_CASES = list(filter(reads_blocks, CASES))


@pytest.mark.parametrize("case", BLOCK_CASES, ids=str)
class TestBlocks:
    """A block of values gives the columns that their rows give, or leaves them to the reader of rows."""

    def test_columns_are_those_of_rows(self, case):
        serde = case.make()
        data = [serde.encoder()(value) for value in case.values]
        for names in [case.fields[:1], case.fields[1:], case.fields, ()]:
            decode = serde.columns_decoder(frozenset(names))
            for values in (data, data * 100, data[:1], []):
                rows = list(map(serde.decoder(frozenset(names)), values))
                found = decode(values)
                assert set(found) == set(names)
                for name in names:
                    expected = column_of(rows, name, serde.schema.fields[name])
                    assert found[name].kind is expected.kind
                    assert found[name].to_list() == expected.to_list()
                    assert len(found[name]) == len(values)

    def test_what_is_wrong_among_others(self, case):
        serde = case.make()
        good = [serde.encoder()(value) for value in case.values]
        cut = [good[0][:length] for length in range(len(good[0]))]
        for names in (case.fields, case.fields[:1], ()):
            decode, decode_one = serde.columns_decoder(frozenset(names)), serde.decoder(frozenset(names))
            for wrong in [*case.garbage, *cut, None, b""]:
                if wrong is not None and takes(decode_one, wrong):  # of JSON fields that nobody wants only the form is looked at
                    continue
                with pytest.raises((*DECODE_ERRORS, TypeError)):
                    decode([*good, wrong, *good])

    def test_an_unknown_field(self, case):
        with pytest.raises(SchemaError, match="has no field 'itme'"):
            case.make().columns_decoder(frozenset({"itme"}))


def test_every_serde_of_a_model_is_read_in_blocks():
    kinds = (AvroSerde,) if COLUMNS is None else (AvroSerde, JsonSerde)
    assert [str(case) for case in BLOCK_CASES] == [str(case) for case in CASES if isinstance(case.make(), kinds)]


KEYS = [
    (StringKey(), ["a", "küla", ""], [1, b"a"], [b"\xff"]),
    (IntKey(), [7, -(2**70)], ["7", 7.0, True], [b"", b"x", b"07", b"+7", b"7 "]),
    (BytesKey(), [b"a", b"", b"\xff"], ["a", 1], []),
    (FloatKey(), [0.5, -2.0], ["1", True], [b"", b"x", b"NaN", b'"1"']),
    (BoolKey(), [True, False], [1, "true"], [b"", b"1", b"x"]),
    (DatetimeKey(), [NOON], ["2020-04-15T12:00:00Z", 1], [b"", b"1", b'"x"']),
    (DateKey(), [date(2020, 4, 15)], ["2020-04-15"], [b"", b'"x"']),
    (TupleKey(tuple[str, int]), [("a", 1)], [("a",), ("a", "1"), "a1"], [b"", b"[]", b'["a"]', b'["a",1']),
    (NullKey(), [None], ["a", 0], [b"", b"null"]),
    (DynamicKey(), ["a", ""], [object(), [1], {}], [b"\xff"]),
]


def as_list(keys):
    return keys.tolist() if isinstance(keys, np.ndarray) else keys


@pytest.mark.parametrize("serde,keys,wrong,garbage", KEYS, ids=lambda value: getattr(value, "name", ""))
class TestKeys:
    def test_round_trip_by_column_and_one_by_one(self, serde, keys, wrong, garbage):  # noqa: ARG002 - given to the class
        for given in (keys, [*keys, None], [None], []):
            wire = serde.encode(given)
            assert wire == [serde.encode_one(key) for key in given]
            assert as_list(serde.decode(wire)) == given == [serde.decode_one(data) for data in wire]

    def test_null_is_null(self, serde, keys, wrong, garbage):  # noqa: ARG002 - given to the class
        assert serde.encode_one(None) is None
        assert serde.decode_one(None) is None

    def test_wrong_keys(self, serde, keys, wrong, garbage):  # noqa: ARG002 - given to the class
        for key in wrong:
            for encode in (serde.encode_one, lambda key: serde.encode([key]), lambda key: serde.encode([None, key])):
                with pytest.raises(ENCODE_ERRORS):
                    encode(key)

    def test_garbage(self, serde, keys, wrong, garbage):  # noqa: ARG002 - given to the class
        for data in garbage:
            for decode in (serde.decode_one, lambda data: serde.decode([data]), lambda data: serde.decode([None, data])):
                with pytest.raises(DECODE_ERRORS):
                    decode(data)

    def test_equal_keys_are_equal_bytes(self, serde, keys, wrong, garbage):  # noqa: ARG002 - given to the class
        for key in keys:
            data = serde.encode_one(key)
            assert serde.encode_one(serde.decode_one(data)) == data

    def test_serdes_are_values(self, serde, keys, wrong, garbage):  # noqa: ARG002 - given to the class
        alike = [other for other, *_ in KEYS if other == serde]
        assert alike == [serde]
        assert hash(serde) == hash(alike[0])
