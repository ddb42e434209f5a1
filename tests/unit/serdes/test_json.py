"""JSON values: what is read, what is refused, and that every way of writing gives the same bytes."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import SchemaError
from streamkit.record.model import Model, Row
from streamkit.record.schema import ANY_FIELD, Field, Kind, Schema
from streamkit.serdes.json import JsonSerde, RowsJson, UntypedJson, serde_for
from streamkit.serdes.scalars import BytesSerde, FloatSerde, IntSerde, StringSerde
from streamkit.serdes.serde import DECODE_ERRORS, ENCODE_ERRORS

UTC_NOON = datetime(2020, 4, 15, 12, tzinfo=UTC)
NAIVE_NOON = UTC_NOON.replace(tzinfo=None)
TALLINN_NOON = UTC_NOON.astimezone(timezone(timedelta(hours=3)))
NOON = b'"2020-04-15T12:00:00Z"'


class Bid(Model):
    item: str
    price: float
    n: int = 0
    at: datetime | None = None


@dataclass
class PlainBid:
    item: str
    price: float
    at: datetime = field(default_factory=lambda: UTC_NOON)


class Renamed(Model, rename="camel"):
    item_id: str
    sold_at: datetime


class Strict(Model, forbid_unknown_fields=True):
    item: str


class Tagged(Model, tag="bid"):
    item: str
    n: int = 1


class Listed(Model, array_like=True):
    item: str
    n: int


class Checked(Model):
    item: str
    n: int

    def __post_init__(self):
        self.item = self.item.lower()
        if self.n < 0:
            raise ValueError("n is negative")


class Exact(Model):
    amount: Decimal


class Inner(Model):
    at: datetime


class Pair(NamedTuple):
    at: datetime


class Nested(Model):
    many: list[datetime] = msgspec.field(default_factory=list)
    inner: Inner | None = None
    named: dict[str, datetime] = msgspec.field(default_factory=dict)
    anything: Any = None
    pair: Pair | None = None


@dataclass(frozen=True)
class FrozenInstant:
    at: datetime


class FrozenStruct(msgspec.Struct, frozen=True):
    at: datetime


POISON = {
    "empty": b"",
    "space": b"  ",
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "array": b"[1]",
    "cut": b'{"item":"A","price":1',
    "trailing": b'{"item":"A","price":1}x',
    "two": b'{"item":"A","price":1}{"item":"A","price":1}',
    "utf-8": b'{"item":"\xff","price":1}',
    "surrogate": b'{"item":"\xed\xa0\x80","price":1}',
    "half a pair": b'{"item":"\\ud800","price":1}',
    "bom": b'\xef\xbb\xbf{"item":"A","price":1}',
    "nan": b'{"item":"A","price":NaN}',
    "infinity": b'{"item":"A","price":Infinity}',
    "too large": b'{"item":"A","price":1e400}',
    "deep": b'{"item":"A","price":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "single quotes": b"{'item':'A','price':1}",
}


@pytest.mark.parametrize("data", POISON.values(), ids=POISON)
@pytest.mark.parametrize("serde", [JsonSerde(Bid), JsonSerde(PlainBid), UntypedJson()], ids=lambda serde: serde.name)
def test_poison(serde, data):
    for decode in (serde.decoder(), serde.decoder(frozenset({"item", "price"}))):
        with pytest.raises(DECODE_ERRORS):
            decode(data)


class TestTypedReading:
    @pytest.mark.parametrize(
        "data",
        [
            b'{"price":1}',
            b'{"item":null,"price":1}',
            b'{"item":1,"price":1}',
            b'{"item":"A","price":"1"}',
            b'{"item":"A","price":null}',
            b'{"item":"A","price":true}',
            b'{"item":"A","price":1,"n":1.5}',
            b'{"item":"A","price":1,"n":"1"}',
            b'{"item":"A","price":1,"n":null}',
            b'{"item":"A","price":{"a":1}}',
        ],
    )
    def test_wrong_fields(self, data):
        for fields in (None, frozenset({"item", "price", "n"})):
            with pytest.raises(ValueError):
                JsonSerde(Bid).decoder(fields)(data)

    def test_datetimes_are_in_utc(self):
        decode = JsonSerde(Bid).decoder()
        for text in (NOON, b'"2020-04-15T12:00:00"', b'"2020-04-15T15:00:00+03:00"'):
            at = decode(b'{"item":"A","price":1,"at":' + text + b"}").at
            assert at == UTC_NOON
            assert at.tzinfo is UTC

    def test_datetimes_at_any_depth(self):
        text = b'"2020-04-15T15:00:00+03:00"'
        row = JsonSerde(Nested).decoder()(
            b'{"many":[%b],"inner":{"at":%b},"named":{"a":%b},"anything":%b,"pair":[%b]}' % ((text,) * 5)
        )
        assert row == Nested([UTC_NOON], Inner(UTC_NOON), {"a": UTC_NOON}, text.decode().strip('"'), Pair(UTC_NOON))
        assert (row.many[0].tzinfo, row.inner.at.tzinfo, row.named["a"].tzinfo, row.pair.at.tzinfo) == (UTC,) * 4

    @pytest.mark.parametrize("model", [FrozenInstant, FrozenStruct])
    def test_frozen_rows(self, model):
        row = JsonSerde(model).decoder()(b'{"at":"2020-04-15T12:00:00"}')
        assert row == model(UTC_NOON)
        given = model(NAIVE_NOON)
        assert JsonSerde(model).encoder()(given) == b'{"at":' + NOON + b"}"
        assert given.at is NAIVE_NOON  # a user's object is not changed

    def test_instant_outside_the_calendar(self):
        with pytest.raises(ValueError):
            JsonSerde(Inner).decoder()(b'{"at":"0001-01-01T00:00:00+01:00"}')

    def test_large_integers_stay_integers(self):
        assert JsonSerde(Bid).decoder()(b'{"item":"A","price":1,"n":1180591620717411303424}').n == 2**70

    def test_decimals_from_text_and_number(self):
        decode = JsonSerde(Exact).decoder()
        assert [str(decode(b'{"amount":%b}' % text).amount) for text in (b'"1.10"', b"1.10")] == ["1.10", "1.10"]
        assert JsonSerde(Exact).encoder()(Exact(Decimal("1.10"))) == b'{"amount":"1.10"}'

    def test_unknown_and_duplicate_names(self):
        decode = JsonSerde(Bid).decoder()
        assert decode(b'{"item":"A","x":[{}],"price":1,"item":"B"}') == Bid("B", 1.0)
        with pytest.raises(ValueError):
            JsonSerde(Strict).decoder()(b'{"item":"A","x":1}')


class TestProjection:
    def test_only_its_fields_are_there_and_validated(self):
        row = JsonSerde(Bid).decoder(frozenset({"item"}))(b'{"price":"not a number","item":"A"}')
        assert row.item == "A"
        assert not hasattr(row, "price")
        assert JsonSerde(Strict).decoder(frozenset({"item"}))(b'{"item":"A","x":1}').item == "A"

    def test_datetimes_stay_text(self):
        decode = JsonSerde(Bid).decoder(frozenset({"at"}))
        assert decode(b'{"at":"2020-04-15T12:00:00+01:00"}').at == "2020-04-15T12:00:00+01:00"
        assert decode(b'{"at":null}').at is None
        assert decode(b"{}").at is None
        with pytest.raises(ValueError):
            decode(b'{"at":1586937900}')

    def test_defaults(self):
        row = JsonSerde(PlainBid).decoder(frozenset({"item", "at"}))(b'{"item":"A"}')
        assert row.at == UTC_NOON
        assert JsonSerde(Bid).decoder(frozenset({"n"}))(b"{}").n == 0

    def test_no_fields(self):
        for serde in (JsonSerde(Bid), UntypedJson()):
            serde.decoder(frozenset())(b'{"x":1}')
            with pytest.raises(ValueError):
                serde.decoder(frozenset())(b"[]")

    def test_wire_names_and_tags(self):
        assert JsonSerde(Renamed).decoder(frozenset({"item_id"}))(b'{"itemId":"A"}').item_id == "A"
        assert JsonSerde(Tagged).decoder(frozenset({"n"}))(b'{"type":"bid","item":"A"}').n == 1
        with pytest.raises(ValueError):
            JsonSerde(Tagged).decoder(frozenset({"n"}))(b'{"type":"offer","item":"A"}')

    def test_models_whose_rows_are_more_than_their_fields_are_read_whole(self):
        assert JsonSerde(Listed).decoder(frozenset({"n"}))(b'["A",2]') == Listed("A", 2)
        decode = JsonSerde(Checked).decoder(frozenset({"item"}))
        assert decode(b'{"item":"A","n":1}').item == "a"
        with pytest.raises(ValueError):
            decode(b'{"item":"A","n":-1}')

    def test_unknown_field(self):
        with pytest.raises(SchemaError, match="Bid has no field 'prise'; it has: item, price, n, at"):
            JsonSerde(Bid).decoder(frozenset({"prise"}))

    def test_untyped(self):
        row = UntypedJson().decoder(frozenset({"a", "class", "missing"}))(
            b'{"a":[1,{"b":2}],"class":1180591620717411303424,"c":1}'
        )
        assert (row.a, getattr(row, "class"), row.missing) == ([1, {"b": 2}], 2**70, None)

    def test_untyped_names_that_cannot_be_attributes(self):
        row = UntypedJson().decoder(frozenset({"event time", "__class__"}))(b'{"event time":1,"__class__":2}')
        assert (row["event time"], row["__class__"]) == (1, 2)


class TestTypedWriting:
    def test_instants_are_written_in_utc(self):
        encode = JsonSerde(Bid).encoder()
        for at in (UTC_NOON, NAIVE_NOON, TALLINN_NOON):
            given = Bid("A", 1.0, at=at)
            assert encode(given) == b'{"item":"A","price":1.0,"n":0,"at":' + NOON + b"}"
            assert given.at is at
        nested = Nested([NAIVE_NOON], Inner(TALLINN_NOON), {"a": NAIVE_NOON}, {"x": (TALLINN_NOON,)}, Pair(NAIVE_NOON))
        assert JsonSerde(Nested).encoder()(nested).count(NOON) == 5
        assert nested.inner.at is TALLINN_NOON

    def test_rows_and_dicts_of_its_fields(self):
        encode = JsonSerde(Bid).encoder()
        for row in (Row(price=2, item="A"), {"item": "A", "price": np.float64(2)}):
            assert encode(row) == b'{"item":"A","price":2.0,"n":0,"at":null}'
        assert JsonSerde(Renamed).encoder()(Row(item_id="A", sold_at=NAIVE_NOON)) == b'{"itemId":"A","soldAt":' + NOON + b"}"
        assert JsonSerde(PlainBid).encoder()(Row(item="A", price=1)) == b'{"item":"A","price":1.0,"at":' + NOON + b"}"
        assert JsonSerde(Tagged).encoder()(Row(item="A")) == b'{"type":"bid","item":"A","n":1}'

    @pytest.mark.parametrize(
        "row",
        [
            Row(item="A"),
            Row(item="A", price=1.0, extra=1),
            Row(item="A", price="1"),
            Row(item=None, price=1.0),
            Row(item="A", price=1.0, n=1.0),
            PlainBid("A", 1.0),
            Strict("A"),
            "A",
            None,
            ["A", 1.0],
        ],
    )
    def test_rows_of_another_type(self, row):
        with pytest.raises(TypeError, match="cannot be written as Bid"):
            JsonSerde(Bid).encoder()(row)

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_floats_that_json_has_not(self, number):
        class Loose(Model):
            price: float | None

        for row in (Bid("A", number), Row(item="A", price=number)):
            with pytest.raises(ValueError, match="field 'price' of Bid"):
                JsonSerde(Bid).encoder()(row)
        assert JsonSerde(Loose).encoder()(Loose(number)) == b'{"price":null}'

    def test_text_that_utf_8_has_not(self):
        with pytest.raises(ENCODE_ERRORS):
            JsonSerde(Bid).encoder()(Bid("\ud800", 1.0))


class TestUntyped:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )

    @given(st.dictionaries(st.text(), values))
    def test_round_trip(self, given):
        wire = UntypedJson().encoder()(Row(given))
        back = UntypedJson().decoder()(wire)
        assert type(back) is Row
        assert repr(dict(back)) == repr(given)
        assert json.loads(wire) == given

    def test_large_integers_stay_integers(self):
        assert UntypedJson().decoder()(b'{"a":18446744073709551616,"b":[-1180591620717411303424]}') == {
            "a": 2**64,
            "b": [-(2**70)],
        }

    def test_duplicate_names(self):
        assert UntypedJson().decoder()(b'{"a":1,"a":2}') == {"a": 2}

    def test_what_can_be_written(self):
        encode = UntypedJson().encoder()
        assert encode({"at": TALLINN_NOON, "on": date(2020, 4, 15), "d": Decimal("1.50"), "b": b"x"}) == (
            b'{"at":' + NOON + b',"on":"2020-04-15","d":"1.50","b":"eA=="}'
        )
        assert (
            encode(Row(n=np.int64(1), f=np.float32(0.5), a=np.array([1, 2]), nan=math.nan))
            == b'{"n":1,"f":0.5,"a":[1,2],"nan":null}'
        )
        assert encode(Inner(NAIVE_NOON)) == b'{"at":' + NOON + b"}"
        assert encode(FrozenInstant(NAIVE_NOON)) == b'{"at":' + NOON + b"}"
        assert encode(Row(deep=[{"at": NAIVE_NOON}])) == b'{"deep":[{"at":' + NOON + b"}]}"

    def test_subclasses_of_plain_types(self):
        class Name(str):
            __slots__ = ()

        class Moment(datetime):
            pass

        row = Row(name=Name("x"), at=Moment(2020, 4, 15, 12, tzinfo=UTC), naive=Moment(2020, 4, 15, 12))
        assert UntypedJson().encoder()(row) == b'{"name":"x","at":' + NOON + b',"naive":' + NOON + b"}"

    @pytest.mark.parametrize("row", ["A", 1, None, [1], (1,), Listed("A", 1), Bid, Row(x=object()), Row(x=np.datetime64("now"))])
    def test_what_cannot(self, row):
        with pytest.raises(TypeError):
            UntypedJson().encoder()(row)


class TestRowsOfASchema:
    SCHEMA = Schema(
        {
            "key": Field(Kind.STR, nullable=True),
            "event time": Field(Kind.DATETIME),
            "total": Field(Kind.DECIMAL),
            "mean": Field(Kind.FLOAT),
            "raw": Field(Kind.BYTES),
            "on": Field(Kind.DATE),
            "any": ANY_FIELD,
            "list": Field(Kind.OBJECT, type=list[int]),
        }
    )
    ROW = Row(
        {
            "key": None,
            "event time": UTC_NOON,
            "total": Decimal("1.50"),
            "mean": 1.0,
            "raw": b"x",
            "on": date(2020, 4, 15),
            "any": [1],
            "list": [1],
        }
    )

    def test_types_come_back(self):
        serde = RowsJson(self.SCHEMA)
        back = serde.decoder()(serde.encoder()(self.ROW))
        assert back == self.ROW
        assert type(back) is Row
        assert back["event time"].tzinfo is UTC

    def test_projection(self):
        serde = RowsJson(self.SCHEMA)
        data = serde.encoder()(self.ROW)
        row = serde.decoder(frozenset({"total", "mean"}))(data)
        assert (row.total, row.mean) == (Decimal("1.50"), 1.0)
        assert serde.decoder(frozenset({"event time"}))(data) == {"event time": UTC_NOON}

    def test_nan_comes_back_as_null(self):
        serde = RowsJson(Schema({"mean": Field(Kind.FLOAT)}))
        assert serde.decoder()(serde.encoder()(Row(mean=math.nan))) == {"mean": None}

    def test_missing_and_wrong_fields(self):
        decode = RowsJson(Schema({"n": Field(Kind.INT)})).decoder()
        for data in (b"{}", b'{"n":"1"}', b'{"n":null}', b'{"n":1.5}', b"", b"[]"):
            with pytest.raises(ValueError):
                decode(data)

    def test_equality(self):
        assert RowsJson(self.SCHEMA) == RowsJson(Schema(dict(self.SCHEMA.fields)))
        assert RowsJson(self.SCHEMA) != RowsJson(Schema({"key": Field(Kind.STR)}))
        assert len({RowsJson(self.SCHEMA), RowsJson(Schema(dict(self.SCHEMA.fields)))}) == 1


class TestChoice:
    @pytest.mark.parametrize(
        "value,serde",
        [
            (None, UntypedJson()),
            (Row, UntypedJson()),
            (dict, UntypedJson()),
            (dict[str, Any], UntypedJson()),
            (Bid, JsonSerde(Bid)),
            (PlainBid, JsonSerde(PlainBid)),
            (FrozenStruct, JsonSerde(FrozenStruct)),
            (str, StringSerde()),
            (bytes, BytesSerde()),
            (int, IntSerde()),
            (float, FloatSerde()),
        ],
    )
    def test_of_type(self, value, serde):
        assert serde_for(value) == serde
        assert serde_for(serde) is serde
        assert hash(serde_for(value)) == hash(serde)

    @pytest.mark.parametrize("value", [list, object, bool, 7, "Bid", Annotated[Bid, 1], Bid | None, list[Bid]])
    def test_of_unsupported_type(self, value):
        with pytest.raises(SchemaError, match="choose"):
            serde_for(value)

    def test_serdes_of_different_models_differ(self):
        assert JsonSerde(Bid) != JsonSerde(Strict)
        assert JsonSerde(Bid).name == "json(Bid)"

    def test_model_that_json_cannot_hold(self):
        class Odd(Model):
            value: Inner | Exact

        class Unknown(Model):
            value: "NotThere"  # noqa: F821 - the case

        for model in (Odd, Unknown):
            with pytest.raises(SchemaError, match="cannot be read from JSON"):
                JsonSerde(model)


class TestScalars:
    @given(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
    def test_round_trip(self, text, data, number, real):
        for serde, value in ((StringSerde(), text), (BytesSerde(), data), (IntSerde(), number), (FloatSerde(), real)):
            back = serde.decoder()(serde.encoder()(value))
            assert (type(back), repr(back)) == (type(value), repr(value))

    @pytest.mark.parametrize(
        "serde,value",
        [(StringSerde(), 1), (BytesSerde(), "x"), (IntSerde(), "1"), (IntSerde(), 1.0), (IntSerde(), True), (FloatSerde(), "1")],
    )
    def test_wrong_type(self, serde, value):
        for wrong in (value, None):
            with pytest.raises(TypeError):
                serde.encoder()(wrong)

    @pytest.mark.parametrize(
        "serde,data",
        [(StringSerde(), b"\xff"), (IntSerde(), b""), (IntSerde(), b"1.5"), (FloatSerde(), b"NaN"), (FloatSerde(), b"x")],
    )
    def test_wrong_bytes(self, serde, data):
        with pytest.raises(ValueError):
            serde.decoder()(data)

    def test_nan(self):
        with pytest.raises(ValueError, match="JSON has no such number"):
            FloatSerde().encoder()(math.nan)
