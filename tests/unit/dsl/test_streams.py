"""What streams declare: nodes, schemas, keys and names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest

import streamkit as sk
from streamkit.errors import DeclarationError, ExpressionError, NameCollisionError, SchemaError
from streamkit.plan.nodes import KeyBy, Sink
from streamkit.record.schema import Kind


class Order(sk.Model):
    id: str
    shop: str
    number: int
    amount: float
    fee: Decimal
    at: datetime
    day: date
    tags: list[str]
    note: str | None = None


class Kpi(sk.Model):
    shop: str
    window_start: datetime
    window_end: datetime
    revenue: float
    orders: int


ORDERS = sk.Topic("orders", key=str, value=Order)


@pytest.fixture
def app():
    return sk.App("shop")


@pytest.fixture
def orders(app):
    return app.stream(ORDERS)


def node(stream):
    return stream._node


def schema(stream):
    return str(node(stream).schema)


# ---- keys


def key_by(stream) -> KeyBy:
    found = node(stream)
    assert isinstance(found, KeyBy)
    return found


@pytest.mark.parametrize(
    "keys,name,columns",
    [
        (("shop",), "orders-by-shop", ("shop",)),
        (("shop", "number"), "orders-by-shop-number", ("shop", "number")),
        ((pl.col("shop"),), "orders-by-shop", ("shop",)),
        ((pl.col("shop").alias("store"),), "orders-by-store", ("store",)),
        (((pl.col("number") % 10).alias("last_digit"), "shop"), "orders-by-last-digit-shop", ("last_digit", "shop")),
    ],
)
def test_key_by_columns_is_named_after_them(orders, keys, name, columns):
    found = key_by(orders.key_by(*keys))
    assert (found.name, found.key_columns) == (name, columns)


def test_the_type_of_a_key_is_that_of_its_columns(orders):
    assert key_by(orders.key_by("shop")).key_type is str
    assert key_by(orders.key_by("shop", "number")).key_type == tuple[str, int]
    assert key_by(orders.key_by("shop", "note")).key_type == tuple[str, str | None]
    assert key_by(orders.key_by(pl.col("amount").round().alias("band"))).key_type is float


def test_a_key_of_untyped_rows_is_known_at_run_time_only(app):
    rows = app.stream(sk.Topic("rows"))
    assert str(key_by(rows.key_by("a")).key_type) == "typing.Any"
    assert str(key_by(rows.key_by("a", "b")).key_type) == "typing.Any"


def band(order: Order) -> int:
    return order.number // 10


def when(order: Order) -> datetime:
    return order.at


def pair(order: Order) -> tuple[str, int]:
    return order.shop, order.number


def test_a_key_function_says_its_type_by_its_annotation(orders):
    assert key_by(orders.key_by(band, name="by-band")).fields[0].kind is Kind.INT
    assert key_by(orders.key_by(lambda order: order.shop, name="by-lambda")).fields[0].kind is Kind.ANY
    assert key_by(orders.key_by(pair, name="by-pair")).fields[0].kind is Kind.ANY
    assert key_by(orders.key_by(band, name="by-band")).key_columns == ("key",)


@pytest.mark.parametrize(
    "column,said", [("at", "strftime"), ("day", "cast"), ("fee", "str(row.amount)"), ("tags", "returns a str")]
)
def test_columns_that_cannot_be_keys(orders, column, said):
    with pytest.raises(SchemaError, match="cannot be a key") as raised:
        orders.key_by(column)
    assert said in str(raised.value)


def test_a_function_that_returns_what_cannot_be_a_key(orders):
    with pytest.raises(SchemaError, match="what when returns is datetime, which cannot be a key"):
        orders.key_by(when, name="by-time")


@pytest.mark.parametrize(
    "call,said",
    [
        (lambda orders: orders.key_by(lambda order: order.shop), "needs a name"),
        (lambda orders: orders.key_by(pl.col("number") * 2), r"key_by\(number \* 2\).*\.alias"),
        (lambda orders: orders.key_by("shop", "shop"), "named twice"),
        (lambda orders: orders.key_by("shop", name="By_Shop"), "write it as 'by-shop'"),
        (lambda orders: orders.key_by(3), "expected a column"),
        (lambda orders: orders.key_by(band, "shop", name="x"), "return a tuple"),
        (lambda orders: orders.key_by("shoop"), "did you mean 'shop'"),
        (lambda orders: orders.key_by(pl.col("amount").sum().alias("x")), "not elementwise"),
    ],
)
def test_key_by_says_what_is_wrong(orders, call, said):
    with pytest.raises(DeclarationError, match=said):
        call(orders)


def test_the_source_in_a_derived_name(app, orders):
    assert key_by(orders.filter(bool).map(lambda order: order).key_by("shop")).name == "orders-by-shop"
    assert key_by(app.stream(sk.Topic("Raw.Orders_v2")).key_by("shop")).name == "raw-orders-v2-by-shop"
    assert key_by(app.stream(sk.Topic("a"), sk.Topic("b")).key_by("k")).name == "a-b-by-k"
    kpis = app.stream(sk.Topic("c")).key_by("shop").window(sk.tumbling("1m")).aggregate("kpis", n=sk.count())
    assert key_by(kpis.on_close().key_by("n")).name == "kpis-by-n"
    assert key_by(kpis.late().key_by("n")).name == "kpis-late-by-n"
    assert node(kpis.on_close().globally()).name == "kpis-globally"
    assert node(orders.globally(name="everything")).name == "everything"


def test_steps_that_change_values_keep_the_key(orders):
    keyed = orders.key_by("shop")
    steps = [
        keyed.filter(pl.col("amount") > 1), keyed.map(lambda order: order), keyed.flat_map(lambda order: [order]),
        keyed.select("amount"), keyed.with_columns(shop=pl.lit("x")), keyed.into(Order), keyed.records(),
    ]  # fmt: skip
    for step in steps:
        assert isinstance(step, sk.KeyedStream)
        windowed = step.map(lambda value: value).window(sk.tumbling("1m"))
        assert windowed._key is node(keyed)


def test_a_merge_has_no_key_of_its_own(app, orders):
    merged = orders.key_by("shop").merge(orders.key_by("id"))
    assert not isinstance(merged, sk.KeyedStream)


@pytest.mark.parametrize("method", ["window", "aggregate"])
def test_windows_need_a_key(orders, method):
    with pytest.raises(AttributeError, match=rf"{method}\(\) needs a stream with a key: call key_by"):
        getattr(orders, method)
    assert not hasattr(orders, method)
    with pytest.raises(AttributeError, match="Stream has no attribute 'windw'"):
        _ = orders.windw


def test_an_event_time_that_is_none_is_proposed_as_one():
    with pytest.raises(DeclarationError, match=r"stream: event_time='at' is no event time; write sk.event_time\(\"at\"\)"):
        sk.App("shop").stream(sk.Topic("orders"), event_time="at")
    with pytest.raises(DeclarationError, match=r"is no event time; write sk.event_time\(lambda value: \.\.\.\)"):
        sk.App("shop").stream(sk.Topic("orders"), event_time=lambda order: order.at)


def test_windows_and_aggregates_are_no_streams_and_say_what_is_missing(orders):
    windowed = orders.key_by("shop").window(sk.tumbling("1m"))
    with pytest.raises(AttributeError, match=r"has no to\(\): .* as in \.aggregate\('per-key', n=sk.count\(\)\)"):
        windowed.to(sk.Topic("out"))
    with pytest.raises(AttributeError, match=r"a WindowedStream has no on_close\(\)"):
        windowed.on_close()
    totals = windowed.aggregate("totals", n=sk.count())
    with pytest.raises(AttributeError, match=r"an aggregate has no to\(\): .* as in \.on_close\(\)\.to\(\.\.\.\)"):
        totals.to(sk.Topic("out"))
    for each, name in ((windowed, "too"), (totals, "too")):
        assert not hasattr(each, name)
        with pytest.raises(AttributeError, match=f"{type(each).__name__} has no attribute 'too'"):
            getattr(each, name)


# ---- names


def aggregate(stream, name):
    return stream.key_by("shop").window(sk.tumbling("1m")).aggregate(name, n=sk.count())


def test_two_aggregates_of_one_name_collide_and_both_places_are_named(orders):
    aggregate(orders, "kpis")
    with pytest.raises(NameCollisionError) as raised:
        aggregate(orders, "kpis")
    assert str(raised.value).count("test_streams.py:") == 2
    assert "aggregate 'kpis' over tumbling(1m)" in str(raised.value)


def test_an_aggregate_and_a_repartition_collide(orders):
    aggregate(orders, "kpis")
    with pytest.raises(NameCollisionError, match=r"two things are named 'kpis'.*give one another name by name="):
        orders.key_by("id", name="kpis")


def test_key_by_of_different_streams_collides_and_of_the_same_is_the_same(orders):
    assert node(orders.key_by("shop")) is node(orders.key_by("shop"))
    assert node(orders.key_by(band, name="x")) is node(orders.key_by(band, name="x"))
    assert node(orders.globally()) is node(orders.globally())
    with pytest.raises(NameCollisionError, match="orders-by-shop"):
        orders.filter(bool).key_by("shop")
    with pytest.raises(NameCollisionError, match="'x'"):
        orders.key_by(lambda order: order.shop, name="x")


def test_apps_share_nothing(orders):
    aggregate(orders, "kpis")
    other = sk.App("other").stream(ORDERS)
    aggregate(other, "kpis")
    with pytest.raises(DeclarationError, match="streams of two apps \\('shop' and 'other'\\)"):
        orders.merge(other)


# ---- sources


def test_a_topic_is_one_source_however_often_it_is_read(app):
    time = sk.event_time("at", out_of_orderness="5s")
    first = app.stream(ORDERS, event_time=time)
    again = app.stream(sk.Topic("orders", key=str, value=Order), event_time=sk.event_time("at", out_of_orderness="5s"))
    assert node(first) is node(again)


@pytest.mark.parametrize(
    "topic,time,said",
    [
        (ORDERS, sk.event_time("at", out_of_orderness="6s"), "another event_time"),
        (ORDERS, None, "another event_time"),
        (sk.Topic("orders"), sk.event_time("at"), "here as Topic\\('orders', value=json\\)"),
    ],
)
def test_a_topic_is_not_read_in_two_ways(app, topic, time, said):
    app.stream(ORDERS, event_time=sk.event_time("at"))
    with pytest.raises(DeclarationError, match=rf"'orders' is read at \S*test_streams.py:\d+ .*{said}"):
        app.stream(topic, event_time=time)


@pytest.mark.parametrize(
    "by,said", [("att", "did you mean 'at'"), ("shop", "is str; an event time is a datetime"), ("fee", "is decimal")]
)
def test_an_event_time_is_a_field_that_can_be_a_time(app, by, said):
    with pytest.raises(SchemaError, match=said):
        app.stream(ORDERS, event_time=sk.event_time(by))


@pytest.mark.parametrize(
    "call,said",
    [
        (lambda app: app.stream(), "at least one topic"),
        (lambda app: app.stream("orders"), r'write sk.Topic\("orders"\)'),
        (lambda app: app.stream(ORDERS, event_time="at"), r'write sk.event_time\("at"\)'),
        (lambda app: app.stream(ORDERS, sk.Topic("rows")), "rows of different types \\(Order, Row\\)"),
        (lambda app: app.stream(ORDERS).merge(app.stream(ORDERS)), "merged with itself"),
        (lambda app: app.stream(ORDERS).merge("orders"), "expected a stream"),
        (lambda _: sk.App("Shop App"), "write it as 'shop-app'"),
        (lambda _: sk.event_time(3), "name of a field or a function"),
        (lambda _: sk.event_time("at", out_of_orderness="-5s"), "out_of_orderness: a duration must not be negative"),
        (lambda _: sk.event_time("at", idle_after="5"), "idle_after: '5' is not a duration"),
    ],
)
def test_streams_say_what_is_wrong(app, call, said):
    with pytest.raises(DeclarationError, match=said):
        call(app)


# ---- steps and their schemas


def test_schemas_are_derived(orders):
    assert (
        schema(orders.select("shop", pl.col("amount").alias("eur"), twice=pl.col("number") * 2))
        == "{shop: str, eur: float, twice: int}"
    )
    assert schema(orders.select("fee", "tags")) == "{fee: decimal, tags: object}"
    assert schema(orders.select("shop").with_columns(shop=pl.lit(1), x=pl.lit("a"))) == "{shop: int, x: str}"
    assert schema(orders.map(lambda order: order)) == "{...}"
    assert schema(orders.select("shop", other=pl.col("note")).filter(pl.col("shop") == "a")) == "{shop: str, other: str | null}"


def to_kpi(order: Order) -> Kpi:
    raise NotImplementedError


def to_kpis(order: Order) -> list[Kpi]:
    raise NotImplementedError


def test_annotations_of_functions_are_schemas(orders):
    assert node(orders.map(to_kpi)).schema.type is Kpi
    assert node(orders.flat_map(to_kpis)).schema.type is Kpi
    assert node(orders.map(Kpi)).schema.type is Kpi
    with pytest.raises(ExpressionError, match="unknown column 'amount'"):
        orders.map(to_kpi).filter(pl.col("amount") > 1)


def test_a_merge_of_rows_knows_what_both_have(app, orders):
    a, b = orders.select(x=pl.col("number")), orders.select(x=pl.col("note"))
    assert schema(a.merge(a.select("x"))) == "{x: int}"
    assert schema(a.merge(b)) == "{x: any | null}"
    assert schema(a.merge(orders.select("shop"))) == "{...}"
    assert node(a.merge(a.map(lambda row: row))).schema.type is None


@pytest.mark.parametrize(
    "call,error,said",
    [
        (
            lambda orders: orders.filter(pl.col("amount")),
            ExpressionError,
            "a condition is true or false, this expression is float",
        ),
        (lambda orders: orders.filter(True), DeclarationError, "got True"),
        (lambda orders: orders.filter(pl.col("amount") > pl.col("amount").mean()), ExpressionError, "not elementwise"),
        (lambda orders: orders.map(pl.col("amount")), DeclarationError, r"map\(\) takes a function. Use select"),
        (lambda orders: orders.map(3), DeclarationError, "expected a function"),
        (lambda orders: orders.select(), DeclarationError, "no columns"),
        (lambda orders: orders.select("shop", shop=pl.lit(1)), DeclarationError, "two columns are named 'shop'"),
        (lambda orders: orders.select(3), DeclarationError, "got 3"),
        (lambda orders: orders.select(pl.all()), ExpressionError, "Name the columns one by one"),
        (lambda orders: orders.select(pl.col("fee") * 2), ExpressionError, r"use map\(\)"),
        (lambda orders: orders.with_columns(x=1), DeclarationError, "got 1"),
        (lambda orders: orders.with_columns(x=pl.len()), ExpressionError, r"len\(\) is not elementwise"),
        (lambda orders: orders.into(int), SchemaError, "not a row type"),
    ],
)
def test_steps_say_what_is_wrong(orders, call, error, said):
    with pytest.raises(error, match=said):
        call(orders)


# ---- sinks


@dataclass
class Pair:
    shop: str
    revenue: float
    comment: str = ""


def kpis(orders):
    windowed = orders.key_by("shop").window(sk.tumbling("1m"))
    return windowed.aggregate("kpis", revenue=sk.sum("amount"), orders=sk.count()).on_close()


def test_results_that_fit_their_topic(orders):
    results = kpis(orders)
    results.to(sk.Topic("kpis", key=str, value=Kpi))
    results.select("shop", "revenue").to(sk.Topic("pairs", value=Pair))
    results.select("shop", revenue=pl.col("orders")).to(sk.Topic("int-for-float", value=Pair))
    results.to(sk.Topic("untyped"))
    results.to(sk.Topic("by-number", key=int, value=Kpi), key="orders")
    orders.to(sk.Topic("copy", key=str, value=Order))
    assert len(orders._declarations.sinks) == 6
    assert all(isinstance(sink, Sink) for sink in orders._declarations.sinks)


@pytest.mark.parametrize(
    "call,said",
    [
        (
            lambda results: results.to(sk.Topic("t", value=Pair)),
            "'window_start' \\(datetime\\) is not a field of Pair; .*'orders' \\(int\\)",
        ),
        (lambda results: results.select("shop").to(sk.Topic("t", value=Kpi)), "field 'window_start' \\(datetime\\) is missing"),
        (
            lambda results: results.select(shop=pl.col("orders"), revenue=pl.col("revenue")).to(sk.Topic("t", value=Pair)),
            "'shop' is int, Pair has str",
        ),
        (
            lambda results: results.select("shop", revenue=pl.col("revenue") // pl.col("orders")).to(sk.Topic("t", value=Pair)),
            "it may be null, so declare it 'float | None' or fill it",
        ),
        (lambda results: results.to(sk.Topic("t", key=int, value=Kpi)), "the key of the records is str, the topic's is int"),
        (lambda results: results.to(sk.Topic("t"), key="shoop"), "did you mean 'shop'"),
        (
            lambda results: results.to(sk.Topic("t", key=str, value=Kpi), key="orders"),
            "key='orders' is int, the topic's key is str",
        ),
        (lambda results: results.to(sk.Topic("t", value=str)), r"the topic takes str.*map\(\)"),
        (lambda results: results.to("t"), r'write sk.Topic\("t"\)'),
        (lambda results: results.into(Pair), "into: the rows do not fit Pair"),
    ],
)
def test_results_that_do_not_fit(orders, call, said):
    with pytest.raises(DeclarationError, match=said):
        call(kpis(orders))


def test_values_of_another_model_do_not_fit(orders):
    with pytest.raises(SchemaError, match=r"the topic takes Kpi, the stream has Order; convert it with into\(Kpi\) or map\(\)"):
        orders.to(sk.Topic("kpis", value=Kpi))  # type: ignore[call-overload]


def test_untyped_rows_are_checked_when_they_come(app):
    rows = app.stream(sk.Topic("rows"))
    rows.to(sk.Topic("kpis", value=Kpi))
    rows.into(Kpi).to(sk.Topic("kpis", value=Kpi))
    assert [sink.label for sink in app.plan().sinks] == ["to(kpis)", "to(kpis)"]
