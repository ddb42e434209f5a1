"""Windows, aggregates, and the rows that they give."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

import streamkit as sk
from streamkit.errors import DeclarationError, ExpressionError, SchemaError
from streamkit.eventtime.calendar import CalendarWindow
from streamkit.eventtime.windows import CumulatingWindow, HoppingWindow, TumblingWindow


class Order(sk.Model):
    shop: str
    number: int
    amount: float
    fee: Decimal
    at: datetime
    tags: list[str]
    discount: float | None = None


def newest(state, value):
    return value


COUNTED = sk.aggregator("counted", init=int, add=lambda state, _: state + 1, merge=lambda one, other: one + other)


@pytest.fixture
def orders():
    return sk.App("shop").stream(sk.Topic("orders", key=str, value=Order))


def row(keyed, **outputs):
    return str(keyed.window(sk.tumbling("1m")).aggregate("totals", **outputs)._node.schema)


def test_windows():
    assert sk.tumbling("1m") == TumblingWindow(size_ms=60_000, step_ms=60_000)
    assert sk.tumbling(timedelta(hours=1), offset="-5m", grace="10s") == TumblingWindow(
        size_ms=3_600_000, step_ms=3_600_000, offset_ms=-300_000, grace_ms=10_000
    )
    assert sk.cumulating("10m", "2m", grace="1s") == CumulatingWindow(size_ms=600_000, step_ms=120_000, grace_ms=1_000)
    assert sk.hopping("10m", hop="4m", offset="1m") == HoppingWindow(size_ms=600_000, step_ms=240_000, offset_ms=60_000)
    assert sk.calendar("week", tz="Europe/Tallinn", first_day="sunday", grace="1h") == CalendarWindow(
        unit="week", zone="Europe/Tallinn", first_day="sunday", grace_ms=3_600_000
    )


@pytest.mark.parametrize(
    "window,said",
    [
        (lambda: sk.tumbling("0s"), "size must be longer than 0"),
        (lambda: sk.tumbling("-1m"), "tumbling window: size: a duration must not be negative"),
        (lambda: sk.tumbling("1 minute"), "size: '1 minute' is not a duration"),
        (lambda: sk.tumbling(60), "size: 60 has no unit"),
        (lambda: sk.tumbling("1m", grace="-1s"), "grace: a duration must not be negative"),
        (lambda: sk.tumbling("1m", grace=None), "grace: None is not a duration"),
        (lambda: sk.cumulating("10m", step="3m"), r"size \(10m\) must be a multiple of step \(3m\)"),
        (lambda: sk.cumulating("10m", step="0s"), "step must be longer than 0"),
        (lambda: sk.cumulating("10m", step="20m"), "must be a multiple of step"),
        (lambda: sk.hopping("10m", hop="0s"), "hop must be longer than 0"),
        (lambda: sk.hopping("0s", hop="1s"), "size must be longer than 0"),
        (lambda: sk.hopping("10m", hop="11m"), r"hop \(11m\) must not be longer than size \(10m\)"),
        (lambda: sk.calendar("fortnight", tz="UTC"), "unit must be one of hour, day, .*, got 'fortnight'"),
        (lambda: sk.calendar("day", tz="Europe/Atlantis"), "'Europe/Atlantis' is not a time zone"),
        (lambda: sk.calendar("day", tz="../../etc/passwd"), "is not a time zone"),
        (lambda: sk.calendar("day", tz="localtime"), "'localtime' is not a time zone"),
        (lambda: sk.calendar("day", tz=None), "None is not a time zone"),
        (lambda: sk.calendar("week", tz="UTC", first_day="caturday"), "first_day must be one of monday, .*, got 'caturday'"),
        (lambda: sk.calendar("day", tz="UTC", grace="-1s"), "grace: a duration must not be negative"),
    ],
)
def test_wrong_windows(window, said):
    with pytest.raises(DeclarationError, match=said):
        window()


def test_a_result_row_has_key_window_and_outputs(orders):
    expected = "{shop: str, window_start: datetime, window_end: datetime, n: int}"
    assert row(orders.key_by("shop"), n=sk.count()) == expected


def test_key_columns_of_a_result_row(orders):
    window = "window_start: datetime, window_end: datetime, n: int}"
    assert row(orders.key_by("shop", "number"), n=sk.count()) == "{shop: str, number: int, " + window


@pytest.mark.parametrize(
    "keyed,key",
    [
        (lambda orders: orders.globally(), ""),
        (lambda orders: orders.by_record_key(), "key: str | null, "),
        (lambda orders: orders.key_by(lambda order: order.shop, name="by-shop"), "key: any | null, "),
        (lambda orders: orders.key_by("shop").by_record_key(), "shop: str, "),
    ],
)
def test_other_keys_of_a_result_row(orders, keyed, key):
    assert row(keyed(orders), n=sk.count()) == f"{{{key}window_start: datetime, window_end: datetime, n: int}}"


def test_a_window_over_results_keeps_the_name_of_the_key(orders):
    minutes = orders.key_by("shop").window(sk.tumbling("1m")).aggregate("minutes", n=sk.count())
    hours = minutes.on_close().filter(pl.col("n") > 1).by_record_key().window(sk.tumbling("1h")).aggregate("hours", n=sk.sum("n"))
    assert str(hours._node.schema) == "{shop: str, window_start: datetime, window_end: datetime, n: int}"


@pytest.mark.parametrize(
    "aggregator,field",
    [
        (sk.count(), "int"),
        (sk.count("discount"), "int"),
        (sk.sum("number"), "int"),
        (sk.sum("amount"), "float"),
        (sk.sum("fee"), "decimal"),
        (sk.sum("discount"), "float | null"),
        (sk.sum(pl.col("amount") * pl.col("number")), "float"),
        (sk.sum(pl.col("discount").fill_null(0)), "float"),
        (sk.mean("number"), "float"),
        (sk.mean("fee"), "decimal"),
        (sk.min("at"), "datetime"),
        (sk.max("shop"), "str"),
        (sk.approx_count_distinct("shop"), "int"),
        (sk.quantile("number", 0.5), "float"),
        (sk.median("discount"), "float | null"),
        (sk.quantiles("fee", [0, 1]), "object"),
        (sk.quantiles("discount", (0.5,)), "object | null"),
        (sk.top_k(3, by="amount"), "object"),
        (sk.top_k(3, by=-pl.col("amount"), x="tags"), "object"),
        (sk.reduce(max, "amount"), "float"),
        (sk.reduce(max, "discount"), "float | null"),
        (sk.reduce(lambda one, _: one), "object"),
        (COUNTED("shop"), "int"),
        (COUNTED(), "int"),
        (sk.aggregator("any", init=dict, add=newest, merge=newest, result=lambda s: s)("shop"), "any | null"),
    ],
)
def test_types_of_outputs(orders, aggregator, field):
    assert row(orders.globally(), out=aggregator).endswith(f"out: {field}}}")


@pytest.mark.parametrize(
    "outputs,error,said",
    [
        ({"total": sk.sum("prise")}, ExpressionError, "aggregate 'totals', output 'total': .*unknown column 'prise'"),
        ({"total": sk.sum("shop")}, SchemaError, r"output 'total': sum\(shop\) needs a number, but its input is str"),
        ({"total": sk.mean("at")}, SchemaError, "needs a number"),
        ({"most": sk.max("tags")}, SchemaError, "values that can be ordered"),
        ({"tags": sk.count_distinct("tags")}, SchemaError, "values that can be compared"),
        ({"tags": sk.approx_count_distinct("tags")}, SchemaError, "values that can be compared"),
        ({"middle": sk.median("shop")}, SchemaError, r"quantile\(shop, q=0.5, error=0.01\) needs a number, but its input is str"),
        ({"parts": sk.quantiles("at", [0.5])}, SchemaError, "needs a number"),
        ({"top": sk.top_k(2, by="tags")}, SchemaError, r"top_k\(k=2, by=tags\) needs values to rank by that can be ordered"),
        ({"top": sk.top_k(2, by="prise")}, ExpressionError, "unknown column 'prise'"),
        ({"all": sk.reduce(newest, "prise")}, ExpressionError, "unknown column 'prise'"),
        ({"own": COUNTED("prise")}, ExpressionError, "unknown column 'prise'"),
        ({"total": sk.sum(pl.col("fee") * 2)}, ExpressionError, "use map"),
        ({}, DeclarationError, r"no outputs: give at least one, such as n=sk.count\(\)"),
        ({"window_end": sk.count()}, SchemaError, "name of a key or window column"),
        ({"shop": sk.count()}, SchemaError, "name of a key or window column"),
        ({"n": 3}, DeclarationError, "expected an aggregator such as sk.sum"),
        ({"n": sk.count}, DeclarationError, "expected an aggregator"),
    ],
)
def test_wrong_outputs(orders, outputs, error, said):
    with pytest.raises(error, match=said):
        orders.key_by("shop").window(sk.tumbling("1m")).aggregate("totals", **outputs)


def test_what_an_aggregate_by_functions_cannot_be():
    def one(state):
        return state

    class Opaque:
        pass

    def typed() -> list[int]:
        return ["x"]

    def fails():
        return 1 / 0

    good = {"init": int, "add": newest, "merge": newest}
    for wrong, said in (
        ({"add": one}, r"sk.aggregator 'own': add is called as add\(state, value\), but one\(state\) cannot be"),
        ({"merge": one}, r"merge is called as merge\(state, other\)"),
        ({"result": newest}, r"result is called as result\(state\)"),
        ({"init": one}, r"init is called as init\(\)"),
        ({"init": 0}, r"init must be a function init\(\), got 0"),
        ({"init": fails}, r"init\(\) raises ZeroDivisionError: division by zero"),
        ({"init": lambda: None}, r"init\(\) gives None; a state is a value"),
        ({"init": Opaque}, r"what init\(\) gives cannot be a state: .*Opaque"),
        ({"init": typed}, r"what init\(\) gives cannot be a state: .*Expected `int`, got `str`"),
        ({"init": lambda: 2**70}, r"what init\(\) gives cannot be a state"),
        ({"version": 0}, "version must be a whole number of at least 1, got 0"),
    ):
        with pytest.raises(DeclarationError, match=said):
            sk.aggregator("own", **(good | wrong))
    with pytest.raises(DeclarationError, match="write it as 'my-own'"):
        sk.aggregator("my_own", **good)
    with pytest.raises(DeclarationError, match=r"sk.reduce: fn is called as fn\(one, other\), but one\(state\) cannot be"):
        sk.reduce(one, "amount")
    with pytest.raises(DeclarationError, match=r"sk\.reduce: fn must be a function"):
        sk.reduce("amount", max)


@pytest.mark.parametrize(
    "make,said",
    [
        (lambda: sk.approx_count_distinct("shop", error=0.001), "error must be a number from 0.005 to 0.1, got 0.001"),
        (lambda: sk.quantile("amount", 1.5), "q must be a number from 0 to 1, got 1.5"),
        (lambda: sk.quantile("amount", float("nan")), "q must be a number from 0 to 1, got nan"),
        (lambda: sk.quantile("amount", "0.5"), "q must be a number"),
        (lambda: sk.quantile("amount", True), "q must be a number"),
        (lambda: sk.quantile("amount", 0.5, error=0), "error must be a number from 0.0005 to 0.2, got 0"),
        (lambda: sk.quantiles("amount", 0.5), "qs must be a list of numbers"),
        (lambda: sk.quantiles("amount", []), "qs must be a list of numbers"),
        (lambda: sk.quantiles("amount", [0.5, 50]), "q must be a number from 0 to 1, got 50"),
        (lambda: sk.top_k(0, by="amount"), "k must be a whole number of at least 1, got 0"),
        (lambda: sk.top_k(2.0, by="amount"), "k must be a whole number"),
        (lambda: sk.top_k(2, by=3), "sk.top_k: by: expected the name of a column or an expression, got 3"),
    ],
)
def test_options_out_of_range(make, said):
    with pytest.raises(DeclarationError, match=said):
        make()


@pytest.mark.parametrize(
    "function",
    [sk.sum, sk.min, sk.max, sk.mean, sk.count, sk.approx_count_distinct, sk.median, lambda x: sk.top_k(2, by=x), COUNTED],
)
def test_inputs_are_elementwise_columns_or_expressions(function):
    with pytest.raises(ExpressionError, match="not elementwise"):
        function(pl.col("amount").sum())
    with pytest.raises(DeclarationError, match="name of a column or an expression"):
        function(3)


def test_the_name_is_kebab_case(orders):
    with pytest.raises(DeclarationError, match="write it as 'price-by-item'"):
        orders.globally().window(sk.tumbling("1m")).aggregate("price_by_item", n=sk.count())


def test_a_window_is_a_window(orders):
    with pytest.raises(DeclarationError, match=r'expected a window such as sk.tumbling\("1m"\)'):
        orders.globally().window("1m")


def test_late_records_are_the_records_themselves(orders):
    totals = orders.globally().window(sk.tumbling("1m")).aggregate("totals", n=sk.count())
    assert totals.late()._node.schema.type is Order
    totals.late().to(sk.Topic("late", key=str, value=Order))
    keyed = orders.key_by("number").window(sk.tumbling("1m")).aggregate("per-number", n=sk.count())
    assert keyed.late()._node.key_type is int
