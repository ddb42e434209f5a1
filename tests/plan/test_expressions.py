"""Which expressions a stream runs, which columns they read, and what they give."""

from __future__ import annotations

import ast
from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest

from streamkit.errors import ExpressionError
from streamkit.plan.expressions import (
    DTYPES,
    bare_column,
    check_elementwise,
    evaluate,
    expression_field,
    expression_text,
    root_names,
)
from streamkit.record.model import Model
from streamkit.record.schema import ANY_FIELD, OPEN, Field, Kind, Schema, schema_of
from tests.plan.expression_cases import ALLOWED, NOT_EXPRESSIONS, REFUSED, build, frame

FRAME = frame()
KINDS = {
    "i": Kind.INT, "j": Kind.INT, "x": Kind.FLOAT, "y": Kind.FLOAT, "s": Kind.STR, "u": Kind.STR, "f": Kind.BOOL, "g": Kind.BOOL,
    "t": Kind.DATETIME, "v": Kind.DATETIME, "d": Kind.DATE, "k": Kind.BYTES, "n": Kind.INT, "m": Kind.STR,
}  # fmt: skip
SCHEMA = Schema({name: Field(kind, nullable=name in "nm") for name, kind in KINDS.items()})


class Bid(Model):
    item: str
    price: float
    supplier: str | None
    at: datetime
    fee: Decimal
    tags: list[str]


BIDS = schema_of(Bid)


def evaluated(expr, frame):
    """The values for each record; an expression that reads no column has one for all."""
    values = evaluate(frame, [expr.alias("result")])["result"]
    return values if len(values) == len(frame) else pl.concat([values] * len(frame))


@pytest.mark.parametrize("text", ALLOWED)
def test_an_allowed_expression_gives_each_record_the_same_alone_as_among_others(text):
    expr = build(text)
    check_elementwise(expr)
    whole = evaluated(expr, FRAME)
    alone = pl.concat([evaluated(expr, FRAME[n : n + 1]) for n in range(len(FRAME))])
    halves = pl.concat([evaluated(expr, FRAME[:5]), evaluated(expr, FRAME[5:])])
    assert alone.dtype == whole.dtype
    assert alone.equals(whole, null_equal=True), (alone.to_list(), whole.to_list())
    assert halves.equals(whole, null_equal=True)


@pytest.mark.parametrize("text", ALLOWED)
def test_the_derived_field_is_what_comes_out(text):
    expr = build(text)
    field = expression_field(expr, SCHEMA)
    values = evaluated(expr, FRAME)
    if field.kind in DTYPES and not isinstance(values.dtype, (pl.Enum, pl.Categorical)):
        value_types = {Kind.INT: pl.Int64, Kind.FLOAT: pl.Float64}
        values.cast(value_types.get(field.kind, DTYPES[field.kind]) if field.kind is not Kind.DATETIME else values.dtype)
        assert (field.kind is Kind.INT) == values.dtype.is_integer()
        assert (field.kind is Kind.STR) == (values.dtype == pl.String)
    if not field.nullable:
        assert values.null_count() == 0, values.to_list()


@pytest.mark.parametrize("text", REFUSED)
def test_an_expression_over_several_records_is_refused(text):
    with pytest.raises(ExpressionError, match=r"\S"):
        expression_field(build(text), SCHEMA)


def methods_in(texts):
    """Namespace -> methods that the texts call."""
    found = defaultdict(set)
    spaces = set(NOT_EXPRESSIONS[""])
    for text in texts:
        for node in ast.walk(ast.parse(text, mode="eval")):
            if isinstance(node, ast.Attribute):
                inner = node.value.attr if isinstance(node.value, ast.Attribute) and node.value.attr in spaces else ""
                found[inner].add(node.attr)
    return found


@pytest.mark.skipif(not pl.__version__.startswith("2.1."), reason="the cases list the methods of Polars 2.1")
@pytest.mark.parametrize("space", ["", "str", "dt", "list", "arr", "struct", "bin", "cat", "name", "ext"])
def test_every_method_of_polars_is_a_case(space):
    owner = pl.col("a") if not space else getattr(pl.col("a"), space)
    methods = {name for name in dir(owner) if not name.startswith("_")}
    missing = methods - methods_in(ALLOWED + REFUSED)[space] - NOT_EXPRESSIONS.get(space, set())
    assert not missing


@pytest.mark.parametrize(
    "expr,said",
    [
        (pl.col("price") > pl.col("price").mean(), "mean(price) is not elementwise"),
        (pl.col("price").sum(), "sk.sum"),
        (pl.col("price").shift(1), "depends on its batch"),
        (pl.len(), "len() is not elementwise"),
        (pl.col("price").over("item"), "price.over(...) is not elementwise"),
        (pl.all() * 2, "Name the columns one by one"),
        (pl.col("item").map_elements(len), "give the function to map()"),
        (pl.col("item").str.to_datetime(), "guesses the format"),
        (pl.col("item").cast(pl.Datetime), "guesses the format"),
        (pl.col("item").is_in(pl.col("supplier")), "Give the values as a Python list"),
        (pl.col("price").fill_null(strategy="forward"), "fill_null(0)"),
        (pl.col("item").cast(pl.Categorical), "pl.String"),
        (pl.col("prise") > 1, "unknown column 'prise'; did you mean 'price'? There is: item, price"),
        (pl.col("fee") * 2, "column 'fee' is a decimal, which expressions cannot compute with; use map()"),
        (pl.col("tags").list.len(), "column 'tags' is an object"),
        (pl.col("price").str.to_uppercase(), "does not fit its columns (price: float)"),
        (pl.col("item") > 3, "does not fit its columns (item: str)"),
    ],
)
def test_the_error_says_which_part_and_what_to_do(expr, said):
    with pytest.raises(ExpressionError) as raised:
        expression_field(expr, BIDS)
    assert said in str(raised.value)


def test_a_single_record_is_computed_as_among_others():
    expr = pl.col("x") / 10
    alone = pl.DataFrame({"x": [3.0]})
    assert alone.select(expr)["x"][0] != pl.DataFrame({"x": [3.0, 4.0]}).select(expr)["x"][0], (
        "Polars does it alike: drop evaluate()"
    )
    assert evaluate(alone, [expr])["x"].to_list() == evaluate(pl.DataFrame({"x": [3.0, 4.0]}), [expr])["x"].to_list()[:1]
    assert alone["x"].to_list() == [3.0]


def test_what_is_not_an_expression_is_refused():
    with pytest.raises(ExpressionError, match="expected a Polars expression"):
        check_elementwise("price > 0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "expr,kind,nullable",
    [
        (pl.col("price") * 2, Kind.FLOAT, False),
        (pl.col("price") > 1, Kind.BOOL, False),
        (pl.col("supplier").str.to_uppercase(), Kind.STR, True),
        (pl.col("supplier").fill_null("none"), Kind.STR, False),
        (pl.col("supplier").is_null(), Kind.BOOL, False),
        (pl.coalesce("supplier", "item"), Kind.STR, False),
        (pl.col("item").str.len_chars() // pl.col("item").str.len_chars(), Kind.INT, True),
        (pl.col("item").str.len_chars() // 2, Kind.INT, False),
        (pl.when(pl.col("price") > 1).then(1), Kind.INT, True),
        (pl.when(pl.col("price") > 1).then(1).otherwise(2), Kind.INT, False),
        (pl.col("item").cast(pl.Int64, strict=False), Kind.INT, True),
        (pl.col("at").dt.date(), Kind.DATE, False),
        (pl.col("at").dt.truncate("1h"), Kind.DATETIME, False),
        (pl.col("item").str.split(","), Kind.OBJECT, False),
        (pl.col("at") - pl.col("at"), Kind.OBJECT, False),
        (pl.lit(None), Kind.ANY, True),
    ],
)
def test_kind_and_nullability(expr, kind, nullable):
    field = expression_field(expr, BIDS)
    assert (field.kind, field.nullable) == (kind, nullable)


def test_a_column_passes_through_with_its_own_type():
    assert expression_field(pl.col("fee"), BIDS) == Field(Kind.DECIMAL, nullable=False, type=Decimal)
    assert expression_field(pl.col("tags").alias("labels"), BIDS).type == list[str]
    assert bare_column(pl.col("tags").alias("labels")) == "tags"
    assert bare_column(pl.col("price") + 0) is None


def test_of_untyped_rows_nothing_is_known():
    assert expression_field(pl.col("price") * 2, OPEN) == ANY_FIELD
    assert expression_field(pl.lit(2), OPEN).kind is Kind.INT
    with pytest.raises(ExpressionError, match="guesses the format"):
        expression_field(pl.col("day").cast(pl.Date), OPEN)


def test_root_names_are_each_named_once():
    assert root_names(pl.when(pl.col("a") > 1).then(pl.col("b")).otherwise(pl.col("a"))) == ("a", "b")
    assert root_names(pl.concat_list("a", "b").list.filter(pl.element() > 1)) == ("a", "b")
    assert root_names(pl.lit(1)) == ()


@pytest.mark.parametrize(
    "expr,text",
    [
        (pl.col("price") * 2 > 10, "(price * 2) > 10"),
        ((pl.col("a") == "x") & ~pl.col("b"), '(a == "x") & not(b)'),
        (pl.col("a").is_in([1, 2]), "is_in(a, [...])"),
        (pl.when(pl.col("a")).then(None).otherwise(1.5), "when(a).then(null).otherwise(1.5)"),
        (pl.col("a").cast(pl.Datetime("us", "UTC")), "cast(a, Datetime)"),
        (pl.col("day") > date(2020, 4, 15), "day > 2020-04-15"),
        (pl.col("a").fill_null(0).alias("z"), "fill_null(a, 0)"),
        (pl.col("a").mean(), "mean(a)"),
        (pl.col("a").dt.truncate("1h"), 'truncate(a, "1h")'),
    ],
)
def test_expressions_are_shown_as_a_reader_would_write_them(expr, text):
    assert expression_text(expr) == text
