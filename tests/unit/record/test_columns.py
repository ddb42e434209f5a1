"""From rows to columns and back: exact values, nulls, and the place of the first value that does not fit."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record.columns import (
    Column,
    ColumnError,
    Constant,
    IntegerRangeError,
    column_from,
    column_of,
    columns_from_frame,
    frame_of,
    groups_of_kinds,
    rows_from_columns,
    values_of,
)
from streamkit.record.model import Model, Row
from streamkit.record.schema import ANY_FIELD, Field, Kind

INSTANT = datetime(2020, 4, 15, 8, 5, 0, 1, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001 - hypothesis wants naive bounds
int64s = st.integers(-(2**63), 2**63 - 1)
instants = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))
OF_KIND = {
    Kind.INT: int64s,
    Kind.FLOAT: st.floats(allow_nan=False),
    Kind.BOOL: st.booleans(),
    Kind.STR: st.text(),
    Kind.BYTES: st.binary(),
    Kind.DATETIME: instants,
    Kind.DATE: st.dates(),
}


class Bid(Model):
    price: float
    n: int | None = None


@dataclass
class Plain:
    price: float


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(sorted(OF_KIND, key=str)))
    return kind, draw(st.lists(st.none() | OF_KIND[kind], max_size=6))


class TestRows:
    def test_attributes_of_models_and_dataclasses(self):
        assert column_of([Bid(1.5), Bid(2.5)], "price", Field(Kind.FLOAT)).values.tolist() == [1.5, 2.5]
        assert column_of([Plain(1.5)], "price", Field(Kind.FLOAT)).values.dtype == np.float64

    def test_missing_field_of_a_row_is_null(self):
        column = column_of([Row(n=1), Row(), Row(n=None)], "n", Field(Kind.INT, nullable=True))
        assert column.to_list() == [1, None, None]
        assert column.valid.tolist() == [True, False, False]

    def test_rows_of_different_types(self):
        assert values_of([Row(price=1.0), Bid(2.0), 7, {}], "price") == [1.0, 2.0, None, None]
        assert values_of([Bid(2.0), Row(price=1.0)], "price") == [2.0, 1.0]

    def test_no_rows(self):
        for kind in Kind:
            assert column_of([], "x", Field(kind)).to_list() == []

    def test_any_keeps_objects_as_they_are(self):
        values = [1, "x", None, [1], 2**70]
        assert column_of([Row(x=value) for value in values], "x", ANY_FIELD).values == values

    def test_field_names_that_are_no_identifiers(self):
        assert values_of([Row({"event time": 1, "a.b": 2})], "a.b") == [2]


class TestValues:
    @given(columns())
    def test_round_trip(self, kind_values):
        kind, values = kind_values
        column = column_from(values, "x", Field(kind, nullable=True))
        assert column.to_list() == values
        assert len(column) == len(values)

    @pytest.mark.parametrize(
        "kind,value",
        [
            (Kind.INT, "1"),
            (Kind.INT, 1.0),
            (Kind.INT, Decimal(1)),
            (Kind.FLOAT, "1.0"),
            (Kind.FLOAT, [1.0]),
            (Kind.BOOL, 1),
            (Kind.BOOL, "true"),
            (Kind.STR, b"x"),
            (Kind.STR, 1),
            (Kind.BYTES, "x"),
            (Kind.DATETIME, 1586937900),
            (Kind.DATETIME, "yesterday"),
            (Kind.DATETIME, date(2020, 4, 15)),
            (Kind.DATE, INSTANT),
            (Kind.DATE, "2020-04-15"),
            (Kind.DECIMAL, 1.5),
        ],
    )
    @pytest.mark.parametrize("nullable", [True, False])
    def test_wrong_type_is_found(self, kind, value, nullable):
        good = {
            Kind.INT: 1,
            Kind.FLOAT: 1.0,
            Kind.BOOL: True,
            Kind.STR: "a",
            Kind.BYTES: b"a",
            Kind.DATETIME: INSTANT,
            Kind.DATE: date(2020, 4, 15),
            Kind.DECIMAL: Decimal("1.5"),
        }[kind]
        with pytest.raises(ColumnError, match=r"field 'x' is .*, not ") as caught:
            column_from([good, good, value, good], "x", Field(kind, nullable=nullable))
        assert (caught.value.index, caught.value.column) == (2, "x")
        assert not isinstance(caught.value, OverflowError)

    @pytest.mark.parametrize("kind", [Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.STR, Kind.DATETIME, Kind.DATE])
    def test_null_where_it_may_not_be(self, kind):
        with pytest.raises(ColumnError, match="is null, but may not be") as caught:
            column_from([None], "x", Field(kind))
        assert caught.value.index == 0

    @pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**70, pytest.param(10**5000, id="huge")])
    def test_integers_beyond_64_bits(self, value):
        for field, before in ((Field(Kind.INT), 1), (Field(Kind.INT, nullable=True), None)):
            with pytest.raises(IntegerRangeError, match="beyond 64 bits") as caught:
                column_from([before, value], "x", field)
            assert caught.value.index == 1
            assert isinstance(caught.value, OverflowError)

    def test_integer_too_large_for_a_float(self):
        with pytest.raises(ColumnError, match="beyond what a float can hold"):
            column_from([1.0, 10**400], "x", Field(Kind.FLOAT))

    def test_ints_in_a_float_field(self):
        assert column_from([1, 2.5], "x", Field(Kind.FLOAT)).values.tolist() == [1.0, 2.5]

    def test_numpy_scalars_fit(self):
        assert column_from([np.int64(1), 2], "x", Field(Kind.INT)).to_list() == [1, 2]
        assert column_from([np.bool_(True)], "x", Field(Kind.BOOL)).to_list() == [True]

    def test_text_and_datetimes_in_one_column(self):
        column = column_from(["2020-04-15T10:05:00.000001+02:00", INSTANT, None], "t", Field(Kind.DATETIME, nullable=True))
        assert column.to_list() == [INSTANT, INSTANT, None]


class TestColumn:
    @given(columns(), st.data())
    def test_take_and_concat(self, kind_values, data):
        kind, values = kind_values
        column = column_from(values, "x", Field(kind, nullable=True))
        chosen = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
        mask = np.array(chosen, bool)
        kept = column.take(mask)
        assert kept.to_list() == [value for value, keep in zip(values, chosen, strict=True) if keep]
        assert column.take(np.flatnonzero(mask)).to_list() == kept.to_list()
        both = Column.concat([column, kept])
        assert (both.to_list(), both.kind) == (values + kept.to_list(), kind)

    def test_concat_of_different_kinds(self):
        both = Column.concat([Column(np.array([1]), None, Kind.INT), Column(["a"], None, Kind.STR)])
        assert (both.values, both.kind) == ([1, "a"], Kind.ANY)

    def test_what_an_array_holds_for_null_is_never_seen(self):
        column = Column(np.array([2**62, 0]), np.array([False, True]), Kind.DATETIME)
        assert column.to_list() == [None, datetime(1970, 1, 1, tzinfo=UTC)]

    def test_rows(self):
        t = Constant(1_000_000, Kind.DATETIME)
        rows = rows_from_columns({"a b": Column([1, None], None, Kind.ANY), "t": t, "none": Constant(None, Kind.DATETIME)}, 2)
        second = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
        assert rows == [{"a b": 1, "t": second, "none": None}, {"a b": None, "t": second, "none": None}]
        assert all(type(row) is Row for row in rows)
        assert rows_from_columns({}, 2) == [{}, {}]
        assert rows_from_columns({"a": Column([], None, Kind.ANY)}, 0) == []


class TestFrames:
    @given(columns())
    def test_round_trip(self, kind_values):
        kind, values = kind_values
        column = column_from(values, "x", Field(kind, nullable=True))
        back = columns_from_frame(frame_of({"x": column}, len(values)), len(values))["x"]
        assert (back.kind, back.to_list()) == (kind, values)

    def test_dtypes(self):
        frame = frame_of(
            {
                "i": column_from([1], "i", Field(Kind.INT)),
                "t": column_from([INSTANT], "t", Field(Kind.DATETIME)),
                "null": Column([None], None, Kind.ANY),
            },
            1,
        )
        assert frame.schema == {"i": pl.Int64(), "t": pl.Datetime("us", "UTC"), "null": pl.Null()}

    @pytest.mark.parametrize("kind", [Kind.DECIMAL, Kind.OBJECT, Kind.ANY])
    def test_kinds_that_expressions_do_not_take(self, kind):
        with pytest.raises(ValueError, match=r"field 'x' .* use a function"):
            frame_of({"x": Column([object()], None, kind)}, 1)

    def test_literals_alone(self):
        frame = frame_of({}, 3)
        assert columns_from_frame(frame.select(pl.lit(1).alias("one")), 3)["one"].to_list() == [1, 1, 1]
        assert columns_from_frame(frame.select(pl.lit(1).alias("one")), 0)["one"].to_list() == []

    def test_narrow_and_unsigned_numbers(self):
        frame = pl.DataFrame({"i": pl.Series([1, None], dtype=pl.UInt8), "f": pl.Series([0.5, 1.0], dtype=pl.Float32)})
        out = columns_from_frame(frame, 2)
        assert [(column.kind, column.to_list()) for column in out.values()] == [(Kind.INT, [1, None]), (Kind.FLOAT, [0.5, 1.0])]

    def test_unsigned_beyond_int64(self):
        with pytest.raises(IntegerRangeError) as caught:
            columns_from_frame(pl.DataFrame({"x": pl.Series([1, None, 2**63], dtype=pl.UInt64)}), 3)
        assert caught.value.index == 2

    def test_declared_floats(self):
        frame = pl.DataFrame({"x": [1, None]})
        column = columns_from_frame(frame, 2, {"x": Field(Kind.FLOAT, nullable=True)})["x"]
        assert (column.kind, column.to_list()) == (Kind.FLOAT, [1.0, None])

    def test_other_units_and_zones(self):
        naive = pl.Series("x", [INSTANT.replace(microsecond=0, tzinfo=None)], dtype=pl.Datetime("ms"))
        zoned = naive.dt.replace_time_zone("Europe/Tallinn").alias("y")
        out = columns_from_frame(pl.DataFrame([naive, zoned]), 1)
        assert out["x"].to_list() == [datetime(2020, 4, 15, 8, 5, tzinfo=UTC)]
        assert out["y"].to_list() == [datetime(2020, 4, 15, 5, 5, tzinfo=UTC)]

    def test_other_dtypes(self):
        frame = pl.DataFrame({"l": [[1, 2]], "c": pl.Series(["a"], dtype=pl.Categorical), "n": [None], "d": [Decimal("1.5")]})
        out = columns_from_frame(frame, 1)
        assert {name: column.kind for name, column in out.items()} == {
            "l": Kind.OBJECT,
            "c": Kind.STR,
            "n": Kind.ANY,
            "d": Kind.DECIMAL,
        }
        assert [column.to_list() for column in out.values()] == [[[1, 2]], ["a"], [None], [Decimal("1.5")]]


def any_column(*values):
    return Column(list(values), None, Kind.ANY)


class TestKinds:
    plain = st.none() | st.booleans() | int64s | st.floats(allow_nan=False) | st.text() | st.binary() | instants | st.dates()

    @given(st.lists(st.tuples(plain, plain), max_size=12))
    def test_every_record_is_in_one_group_with_its_own_types(self, pairs):
        given = {"a": any_column(*(a for a, _ in pairs)), "b": any_column(*(b for _, b in pairs))}
        groups = groups_of_kinds(given, len(pairs))
        seen = {}
        for at, typed in groups:
            frame_of(typed, len(at))  # can be an exact frame
            for place, a, b in zip(at.tolist(), typed["a"].to_list(), typed["b"].to_list(), strict=True):
                seen[place] = (a, b)
        assert [(type(v), v) for place in sorted(seen) for v in seen[place]] == [(type(v), v) for pair in pairs for v in pair]
        signatures = [tuple(column.kind for column in typed.values()) for _, typed in groups]
        assert len(set(signatures)) == len(signatures)
        assert [at[0] for at, _ in groups] == sorted(at[0] for at, _ in groups)

    def test_typed_columns_are_taken_along(self):
        given = {"a": any_column(1, "x", 2), "n": Column(np.array([1, 2, 3]), np.array([True, True, False]), Kind.INT)}
        (first, ints), (second, texts) = groups_of_kinds(given, 3)
        assert (first.tolist(), ints["n"].to_list(), second.tolist(), texts["n"].to_list()) == ([0, 2], [1, None], [1], [2])

    def test_only_typed_columns(self):
        ((at, typed),) = groups_of_kinds({"n": Column(np.array([1, 2]), None, Kind.INT)}, 2)
        assert (at.tolist(), typed["n"].to_list()) == ([0, 1], [1, 2])

    def test_bool_is_not_int_and_subclasses_count_as_their_base(self):
        class Code(int):
            pass

        groups = groups_of_kinds({"x": any_column(True, 1, np.float64(1.0), Code(2))}, 4)
        assert [(typed["x"].kind, at.tolist()) for at, typed in groups] == [
            (Kind.BOOL, [0]),
            (Kind.INT, [1, 3]),
            (Kind.FLOAT, [2]),
        ]

    @pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), Decimal(1), object()])
    def test_nested_values(self, value):
        with pytest.raises(ColumnError, match="plain values only") as caught:
            groups_of_kinds({"a": any_column(1, 2, 3), "x": any_column(1, value, value)}, 3)
        assert (caught.value.index, caught.value.column) == (1, "x")

    @pytest.mark.parametrize("value", [2**63, 2**70, -(2**63) - 1])
    def test_integers_beyond_64_bits_are_found_in_the_batch(self, value):
        with pytest.raises(IntegerRangeError) as caught:
            groups_of_kinds({"x": any_column("a", 1, "b", value, value)}, 5)
        assert caught.value.index == 3
