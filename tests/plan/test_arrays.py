"""Expressions over arrays against Polars: the same values for whatever numbers there are, or they are left to Polars."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit.operators.evaluate import Evaluator
from streamkit.plan.arrays import array_expression
from streamkit.plan.expressions import evaluate, expression_field
from streamkit.record.batch import Batch
from streamkit.record.columns import Column, columns_from_frame, frame_of
from streamkit.record.schema import Field, Kind, Schema
from tests.support.examples import examples

SCHEMA = Schema({name: Field(kind, nullable=True) for name, kind in (("a", Kind.INT), ("b", Kind.INT), ("x", Kind.FLOAT))})
INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.sampled_from([-(2**63), 2**63 - 1, 0, -1])
FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 1e308, 5e-324])
ROWS = st.lists(st.tuples(INTS, INTS, FLOATS), min_size=1, max_size=20)

ints = st.deferred(
    lambda: (
        st.sampled_from([pl.col("a"), pl.col("b")])
        | st.builds(
            lambda op, one, other: getattr(one, op)(other), st.sampled_from(["__add__", "__sub__", "__mul__"]), ints, ints | INTS
        )
        | st.builds(lambda one, other: one - other, INTS, ints)
        | st.builds(
            lambda op, one, by: getattr(one, op)(by),
            st.sampled_from(["__mod__", "__floordiv__"]),
            ints,
            st.integers(1, 2**63 - 1),
        )
    )
)
floats = st.deferred(
    lambda: (
        st.just(pl.col("x"))
        | st.builds(
            lambda op, one, by: getattr(one, op)(by),
            st.sampled_from(["__add__", "__sub__", "__mul__"]),
            ints | floats,
            st.floats(-1e9, 1e9).filter(bool),
        )
        | st.builds(lambda one, other: one * other, floats, ints | INTS.filter(bool))
    )
)
truths = st.deferred(
    lambda: st.builds(
        lambda op, one, other: getattr(one, op)(other),
        st.sampled_from(["__eq__", "__ne__", "__gt__", "__ge__", "__lt__", "__le__"]), ints, ints | INTS,
    )
    | st.builds(lambda one, other: one & other, truths, truths)
    | st.builds(lambda one, other: one | other, truths, truths)
    | st.builds(lambda one: ~one, truths)
)  # fmt: skip


def columns_of(rows):
    a, b, x = zip(*rows, strict=True)
    return {
        "a": Column(np.array(a, np.int64), None, Kind.INT),
        "b": Column(np.array(b, np.int64), None, Kind.INT),
        "x": Column(np.array(x, np.float64), None, Kind.FLOAT),
    }


def by_polars(expr, columns, count):
    return columns_from_frame(evaluate(frame_of(columns, count), [expr.alias("out")]), count)["out"]


@settings(max_examples=examples(200))
@given(ROWS, ints | floats | truths)
@example([(-(2**63), -1, 0.0)], pl.col("a") * pl.col("b"))
@example([(-7, 3, 0.0), (7, 3, 0.0)], pl.col("a") % 3)
@example([(-7, 3, 0.0), (-(2**63), 3, 0.0)], pl.col("a") // 2)
@example([(2**53 + 1, 0, 0.1)], pl.col("a") * 0.908)
def test_the_same_as_polars(rows, expr):
    columns = columns_of(rows)
    found = array_expression(expr, SCHEMA)
    assert found is not None
    expected = by_polars(expr, columns, len(rows))
    column = found.column({name: one.values for name, one in columns.items()})
    assert column.kind is expected.kind is expression_field(expr, SCHEMA).kind
    assert column.values.dtype == expected.values.dtype
    np.testing.assert_array_equal(column.values, expected.values)
    if column.kind is Kind.FLOAT:  # to assert_array_equal 0.0 is -0.0
        real = ~np.isnan(column.values)
        np.testing.assert_array_equal(np.signbit(column.values)[real], np.signbit(expected.values)[real])


@pytest.mark.parametrize(
    "expr",
    [
        pl.col("a") / 2, pl.col("x") / 10, pl.col("a") % 0, pl.col("a") // 0, pl.col("a") % -3, pl.col("a") // pl.col("b"),
        pl.col("x") > 1, pl.col("x") % 2.0, pl.col("x") + 0.0,
        0 - pl.col("x"), pl.col("a") * 0.0, pl.col("a") > 1.5, pl.col("a") > 2**63, pl.lit(1), pl.lit(1) + 2,
        pl.lit(3, dtype=pl.Int64) + pl.col("a"), pl.col("a").abs(), pl.col("a").is_null(), pl.col("a").eq_missing(1),
        pl.col("a") & 1, (pl.col("a") > 1) ^ (pl.col("b") > 1), pl.col("a").cast(pl.Int8) + 1, -pl.col("a"),
        pl.when(pl.col("a") > 1).then(1).otherwise(2), pl.col("a").is_in([1, 2]), pl.col("nothing") > 1,
    ],
    ids=str,
)  # fmt: skip
def test_what_is_left_to_polars(expr):
    assert array_expression(expr, SCHEMA) is None


class Never:
    def reject(self, error):
        raise error


def evaluated(expressions, columns, count):
    batch = Batch(None, SCHEMA, np.zeros(count, np.int64), columns=columns)
    return Evaluator(expressions, SCHEMA, "select", Never()).columns(batch)[0]


def test_an_operator_takes_them_where_no_value_is_null(monkeypatch):
    columns = columns_of([(1, 2, 0.5), (3, 4, 1.5)])
    both = {"sum": pl.col("a") + pl.col("b"), "again": pl.col("a")}
    with monkeypatch.context() as without:
        without.setattr("streamkit.operators.evaluate.evaluate", None)
        assert {name: column.to_list() for name, column in evaluated(both, columns, 2).items()} == {
            "sum": [3, 7],
            "again": [1, 3],
        }
    columns["b"] = Column(columns["b"].values, np.array([True, False]), Kind.INT)
    assert evaluated(both, columns, 2)["sum"].to_list() == [3, None]
    half = {"half": pl.col("a") / 2, **both}
    assert {name: column.to_list() for name, column in evaluated(half, columns, 2).items()} == {
        "half": [0.5, 1.5], "sum": [3, None], "again": [1, 3],
    }  # fmt: skip
