"""Rows written from columns: byte for byte what the serde writes for each row by itself, or an error where it has one."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import SchemaError
from streamkit.record.columns import Column, Constant, column_from, rows_from_columns
from streamkit.record.model import Model, Row
from streamkit.record.schema import Field, Kind, Schema
from streamkit.serdes.json import JsonSerde, RowsJson, UntypedJson, encode_columns
from streamkit.serdes.serde import ENCODE_ERRORS, ColumnarSerde

NOON = datetime(2020, 4, 15, 12, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001 - hypothesis wants naive bounds
instants = st.datetimes(FIRST, LAST, timezones=st.just(UTC)) | st.just(NOON)
anything = st.none() | st.integers() | st.text() | st.lists(instants, max_size=2) | st.decimals(allow_nan=False) | instants
OF_KIND = {
    Kind.INT: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT: st.floats(),
    Kind.BOOL: st.booleans(),
    Kind.STR: st.text(),
    Kind.BYTES: st.binary(),
    Kind.DATETIME: instants,
    Kind.DATE: st.dates(),
    Kind.ANY: anything,
}


class Result(Model):
    item: str
    window_start: datetime
    total: float
    n: int | None = None
    mean: float | None = None
    seen: bool = False
    note: Any = "none"


@dataclass
class PlainResult:
    item: str
    window_start: datetime
    total: float
    n: int | None = None
    mean: float | None = None
    seen: bool = False
    note: Any = "none"


class Renamed(Result, rename="camel"):
    pass


class Brief(Result, omit_defaults=True):
    pass


class Tagged(Result, tag=True):
    pass


class Bounded(Result):
    total: Annotated[float, msgspec.Meta(gt=0)]


class Adjusted(Result):
    def __post_init__(self):
        self.item = self.item.upper()


@st.composite
def some_column(draw, count, kinds=tuple(OF_KIND)):
    kind = draw(st.sampled_from(kinds))
    if draw(st.booleans()):
        value = draw(st.none() | OF_KIND[kind])
        micros = value is not None and kind is Kind.DATETIME
        return Constant(column_from([value], "x", Field(kind)).values[0].item() if micros else value, kind)
    values = draw(st.lists(OF_KIND[kind] | st.none() if draw(st.booleans()) else OF_KIND[kind], min_size=count, max_size=count))
    return column_from(values, "x", Field(kind, nullable=True))


@st.composite
def some_columns(draw, names):
    count = draw(st.integers(0, 5))
    return {name: draw(some_column(count)) for name in names}, count


def one_by_one(serde, columns, count):
    encode = serde.encoder()
    return [encode(row) for row in rows_from_columns(columns, count)]


def outcome(write):
    try:
        return write()
    except ENCODE_ERRORS:
        return "refused"


@given(st.lists(st.text(), unique=True, max_size=4).flatmap(some_columns))
def test_untyped(given):
    columns, count = given
    for serde in (UntypedJson(), RowsJson(Schema({}))):
        written = serde.columns_encoder(list(columns))(list(columns.values()), count)
        assert written == one_by_one(serde, columns, count)
    assert encode_columns(list(columns), list(columns.values()), count) == written


@pytest.mark.parametrize("model", [Result, PlainResult, Renamed, Brief, Tagged, Bounded, Adjusted])
@given(data=st.data())
def test_typed(model, data):
    count = data.draw(st.integers(1, 4))
    likely = {
        "item": (Kind.STR,),
        "window_start": (Kind.DATETIME,),
        "total": (Kind.FLOAT, Kind.INT),
        "n": (Kind.INT, Kind.FLOAT),
        "mean": (Kind.FLOAT, Kind.INT),
        "seen": (Kind.BOOL, Kind.INT),
        "note": tuple(OF_KIND),
    }
    optional = data.draw(st.sets(st.sampled_from(["n", "mean", "seen", "note"])))
    names = data.draw(st.permutations(["item", "window_start", "total", *sorted(optional)]))
    columns = {name: data.draw(some_column(count, likely[name])) for name in names}
    serde = JsonSerde(model)
    write = serde.columns_encoder(names)
    assert outcome(lambda: write(list(columns.values()), count)) == outcome(lambda: one_by_one(serde, columns, count))


def result_columns(**changed):
    return {
        "item": Column(["A", "B"], None, Kind.STR),
        "window_start": Constant(1_586_952_000_000_000, Kind.DATETIME),
        "total": Column(np.array([1.0, 2.0]), None, Kind.FLOAT),
    } | changed


class TestTyped:
    def write(self, **changed):
        columns = result_columns(**changed)
        return JsonSerde(Result).columns_encoder(list(columns))(list(columns.values()), 2)

    def test_order_and_defaults_of_the_model(self):
        columns = result_columns()
        names = ["total", "window_start", "item"]
        written = JsonSerde(Result).columns_encoder(names)([columns[name] for name in names], 2)
        start = b'"window_start":"2020-04-15T12:00:00Z"'
        assert written[0] == b'{"item":"A",' + start + b',"total":1.0,"n":null,"mean":null,"seen":false,"note":"none"}'

    def test_integers_become_floats_where_declared(self):
        written = self.write(total=Column(np.array([1, 2]), None, Kind.INT), mean=Constant(3, Kind.INT))
        assert b'"total":1.0,"n":null,"mean":3.0,' in written[0]

    @pytest.mark.parametrize(
        "total",
        [
            Column(["1", "2"], None, Kind.STR),
            Column([1.0, None], None, Kind.ANY),
            Column(np.array([1.0, 0.0]), np.array([True, False]), Kind.FLOAT),
            Column(np.array([1.0, math.nan]), None, Kind.FLOAT),
            Constant(None, Kind.FLOAT),
            Constant(math.inf, Kind.FLOAT),
        ],
    )
    def test_values_that_the_model_refuses(self, total):
        with pytest.raises(ENCODE_ERRORS):
            self.write(total=total)

    def test_names_that_do_not_fit(self):
        with pytest.raises(SchemaError, match="Result has no field 'prise'"):
            JsonSerde(Result).columns_encoder(["item", "window_start", "total", "prise"])
        with pytest.raises(SchemaError, match="Result needs field 'total'"):
            JsonSerde(Result).columns_encoder(["item", "window_start"])


def test_instants_in_runs_and_nulls():
    micros = np.array([0, 0, 1, 0, 0, 2])
    column = Column(micros, np.array([True, True, True, False, True, True]), Kind.DATETIME)
    written = encode_columns(["t"], [column], 6)
    epoch = b'{"t":"1970-01-01T00:00:00Z"}'
    assert written[:2] + written[3:5] == [epoch, epoch, b'{"t":null}', epoch]
    assert written[5] == b'{"t":"1970-01-01T00:00:00.000002Z"}'


def test_datetimes_among_objects():
    tallinn = NOON.astimezone(timezone(timedelta(hours=3)))
    written = encode_columns(["x"], [Column([tallinn, [tallinn], Decimal("1.5"), "a"], None, Kind.ANY)], 4)
    assert written == [b'{"x":"2020-04-15T12:00:00Z"}', b'{"x":["2020-04-15T12:00:00Z"]}', b'{"x":"1.5"}', b'{"x":"a"}']


def test_no_columns():
    assert encode_columns([], [], 2) == [b"{}", b"{}"] == [UntypedJson().encoder()(Row())] * 2


def test_protocol():
    for serde in (UntypedJson(), JsonSerde(Result), RowsJson(Schema({}))):
        assert isinstance(serde, ColumnarSerde)
