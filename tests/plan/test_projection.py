"""Which fields of each input are decoded, and which view of the records each step uses."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

import streamkit as sk
from streamkit.plan.projection import projection
from streamkit.plan.views import View, view_of


class Order(sk.Model):
    id: str
    shop: str
    amount: float
    at: datetime


ORDERS = sk.Topic("orders", key=str, value=Order)
COPY = sk.Topic("copy", key=str, value=Order)
ANYTHING = sk.Topic("anything")


@pytest.fixture
def app():
    return sk.App("shop")


@pytest.fixture
def orders(app):
    return app.stream(ORDERS)


def decoded(app, part=0):
    """The fields of the only input of a part; None for the whole value."""
    (fields,) = projection(app.topology().parts[part]).values()
    return None if fields is None else set(fields)


def test_expressions_keys_and_event_time_name_their_fields(app):
    orders = app.stream(ORDERS, event_time=sk.event_time("at"))
    (
        orders.filter(pl.col("amount") > 1)
        .by_record_key()
        .window(sk.tumbling("1m"))
        .aggregate("kpis", n=sk.count("id"))
        .on_close()
        .to(ANYTHING)
    )
    assert decoded(app) == {"at", "amount", "id"}


def test_count_needs_nothing(app, orders):
    orders.by_record_key().window(sk.tumbling("1m")).aggregate("kpis", n=sk.count()).on_close().to(ANYTHING)
    assert decoded(app) == set()


def test_a_copy_with_the_same_serde_needs_only_what_decides(app, orders):
    orders.filter(pl.col("amount") > 1).to(COPY)
    assert decoded(app) == {"amount"}


def test_a_copy_with_another_serde_needs_the_whole_value(app, orders):
    orders.filter(pl.col("amount") > 1).to(ANYTHING)
    assert decoded(app) is None


@pytest.mark.parametrize(
    "step",
    [
        lambda orders: orders.map(lambda order: order),
        lambda orders: orders.flat_map(lambda order: [order]),
        lambda orders: orders.filter(lambda order: order.id),
        lambda orders: orders.records(),
        lambda orders: orders.into(Order),
    ],
    ids=["map", "flat_map", "filter", "records", "into"],
)
def test_a_function_may_look_at_any_field(app, orders, step):
    step(orders).select(pl.lit(1).alias("one")).to(ANYTHING)
    assert decoded(app) is None


def test_a_function_for_the_event_time_may_look_at_any_field(app):
    app.stream(ORDERS, event_time=sk.event_time(lambda order: order.at)).to(COPY)
    assert decoded(app) is None


def test_select_needs_what_its_columns_are_made_of(app, orders):
    orders.select("shop", double=pl.col("amount") * 2).to(ANYTHING)
    assert decoded(app) == {"shop", "amount"}


def test_with_columns_hands_on_what_is_read_behind_it(app, orders):
    doubled = orders.with_columns(double=pl.col("amount") * 2, shop=pl.lit("x"))
    doubled.filter(pl.col("id") != "").select("double", "shop").to(ANYTHING)
    assert decoded(app) == {"amount", "id"}
    doubled.by_record_key().window(sk.tumbling("1m")).aggregate("last", at=sk.max("at")).on_close().to(sk.Topic("last"))
    assert decoded(app) == {"amount", "id", "at"}
    doubled.to(sk.Topic("all"))
    assert decoded(app) is None


def test_with_columns_of_untyped_rows_makes_new_rows(app):
    app.stream(sk.Topic("rows")).with_columns(double=pl.col("amount") * 2).select("double").to(ANYTHING)
    assert decoded(app) is None


def test_an_unchanged_value_goes_through_a_repartition_as_bytes(app, orders):
    orders.key_by("shop").window(sk.tumbling("1m")).aggregate("kpis", total=sk.sum("amount")).on_close().to(ANYTHING)
    assert decoded(app, 0) == {"shop"}
    assert decoded(app, 1) == {"amount"}


def test_a_key_function_looks_at_the_whole_value(app, orders):
    orders.key_by(lambda order: order.shop, name="by-function").to(COPY)
    assert decoded(app, 0) is None


def test_late_records_are_needed_as_far_as_they_are_used(app, orders):
    kpis = orders.key_by("shop").window(sk.tumbling("1m")).aggregate("kpis", total=sk.sum("amount"))
    kpis.on_close().to(ANYTHING)
    kpis.late().filter(pl.col("id") != "").to(COPY)
    assert decoded(app, 1) == {"amount", "id"}
    kpis.late().to(sk.Topic("late"))
    assert decoded(app, 1) is None


def test_a_key_column_of_a_sink_is_needed(app, orders):
    orders.to(COPY, key="shop")
    assert decoded(app) == {"shop"}


def test_each_branch_adds_its_fields(app, orders):
    orders.select("id").to(ANYTHING)
    orders.select("shop").to(sk.Topic("shops"))
    assert decoded(app) == {"id", "shop"}


def test_views(app, orders):
    shops = orders.filter(pl.col("amount") > 1).filter(lambda order: order.id).key_by("shop")
    shops.window(sk.tumbling("1m")).aggregate("kpis", n=sk.count()).on_close().to(ANYTHING)
    shops.map(lambda order: order).to(sk.Topic("mapped", key=str))
    shops.to(COPY)
    found = {node.label: view_of(node) for part in app.topology().parts for node in part.nodes}
    assert found == {
        "orders": None,
        "filter(amount > 1)": View.COLUMNS,
        "filter(lambda)": View.ROWS,
        "key_by(shop)": View.COLUMNS,
        "aggregate 'kpis' over tumbling(1m)": View.COLUMNS,
        "on_close()": None,
        "to(anything)": View.COLUMNS,
        "map(lambda)": View.ROWS,
        "to(mapped)": View.ROWS,
        "to(copy)": View.BYTES,
    }


@pytest.mark.parametrize(
    "output, fields",
    [
        (sk.top_k(2, by="amount", x="shop"), {"amount", "shop"}),
        (sk.top_k(2, by="amount"), None),
        (sk.reduce(max, "amount"), {"amount"}),
        (sk.reduce(max), None),
    ],
)
def test_aggregates_over_whole_rows_decode_all_of_them(app, orders, output, fields):
    orders.by_record_key().window(sk.tumbling("1m")).aggregate("kpis", out=output).on_close().to(ANYTHING)
    assert decoded(app) == fields
