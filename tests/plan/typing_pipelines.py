"""Pipelines that `mypy --strict` accepts, and the lines in them that it must reject (each is marked).

Not run: test_typing.py gives this file to mypy. The pipelines are those of the sketch of the public face, as far as there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

import streamkit as sk


class Order(sk.Model):
    id: str
    shop: str
    customer: str
    amount: float
    at: datetime


class Kpi(sk.Model):
    shop: str
    window_start: datetime
    window_end: datetime
    revenue: float
    orders: int


@dataclass
class Line:
    order: str
    amount: float


class Customer(sk.Model):
    country: str


ORDERS = sk.Topic("orders", key=str, value=Order)
KPIS = sk.Topic("kpis", key=str, value=Kpi)
LINES = sk.Topic("lines", value=Line)

app = sk.App("shop")
orders = app.stream(ORDERS, event_time=sk.event_time("at", out_of_orderness="5s", idle_after=timedelta(seconds=30)))

# windows, with late data
totals = (
    orders.filter(pl.col("amount") > 0)
    .key_by("customer")
    .window(sk.cumulating("10m", step="2m", grace="1m"))
    .aggregate("customer-totals", total=sk.sum("amount"), orders=sk.count())
)
totals.on_close().to(sk.Topic("totals"))
totals.late().to(sk.Topic("orders-late", key=str, value=Order))

# a typed result
by_shop = orders.filter(lambda order: order.amount > 0).key_by("shop")
kpis = by_shop.window(sk.tumbling("1m")).aggregate("kpis", revenue=sk.sum("amount"), orders=sk.count())
kpis.on_close().to(KPIS)
kpis.on_close().into(Kpi).filter(lambda kpi: kpi.revenue > 0).to(KPIS)

# chained windows
(
    kpis.on_close()
    .globally()
    .window(sk.tumbling("1m"))
    .aggregate("all-shops", revenue=sk.sum("revenue"), best=sk.max("revenue"))
    .on_close()
    .to(sk.Topic("all-shops"))
)

# aggregates with functions of one's own, over whole rows and over values
biggest = sk.reduce(lambda one, other: max(one, other, key=lambda order: order.amount))
parity = sk.aggregator("parity", init=int, add=lambda state, _: state ^ 1, merge=lambda one, other: one ^ other, result=bool)
kpis.on_close().globally().window(sk.tumbling("1m")).aggregate(
    "top-shops", top=sk.top_k(10, by="revenue"), odd=parity("orders"), middle=sk.median("revenue")
).on_close().to(sk.Topic("top-shops"))
by_shop.window(sk.hopping("1h", hop="1m")).aggregate("biggest", order=biggest, customers=sk.approx_count_distinct("customer"))

hours = (
    kpis.on_close().by_record_key().window(sk.tumbling("1h")).aggregate("hours", mean=sk.mean("revenue"), worst=sk.min("revenue"))
)
hours.on_close().filter(pl.col("mean") > 90).to(sk.Topic("hot"), key="shop")


# functions on rows
def lines(order: Order) -> Iterator[Line]:
    yield Line(order.id, order.amount)


orders.flat_map(lines).to(LINES)
orders.map(lambda order: Line(order.id, order.amount)).to(sk.Topic("lines-by-order", key=str, value=Line))
orders.select("shop", cents=(pl.col("amount") * 100).cast(pl.Int64)).with_columns(dear=pl.col("cents") > 1000).to(
    sk.Topic("cents")
)

# record metadata
orders.records().filter(lambda record: record.headers.get("source") != b"test").map(lambda record: record.value).to(ORDERS)

# keys
orders.key_by("shop", pl.col("amount").round().alias("band"), name="bands")
banded: sk.KeyedStream[float, Order] = orders.key_by(lambda order: order.amount // 10, name="by-band")
keyed: sk.KeyedStream[str, Order] = orders.by_record_key().filter(pl.col("amount") > 0)
everything: sk.KeyedStream[None, Order] = orders.globally()
merged: sk.Stream[str, Order] = orders.merge(orders.filter(pl.col("amount") > 0), keyed)
rows: sk.Stream[bytes | None, sk.Row] = app.stream(sk.Topic("rows"))
rows.filter(lambda row: row.amount > 0).map(lambda row: row["amount"] * 2)
kpi_stream: sk.Stream[str, sk.Row] = kpis.on_close()

orders.to(KPIS)  # refused by mypy
orders.window(sk.tumbling("1m"))  # refused by mypy
orders.key_by(lambda order: order.shop)  # refused by mypy
orders.filter(lambda order: order.amont > 0)  # refused by mypy
orders.map(lambda order: Line(order.id, order.shop))  # refused by mypy
orders.merge(app.stream(KPIS))  # refused by mypy
orders.key_by("shop").window("1m")  # refused by mypy
orders.by_record_key().window(sk.tumbling("1m")).aggregate("x", n=sk.count)  # refused by mypy
orders.by_record_key().window(sk.tumbling("1m")).aggregate("x", n=parity)  # refused by mypy
sk.aggregator("y", init=int, add=lambda state: state, merge=lambda one, _: one)  # refused by mypy
sk.quantiles("amount", 0.5)  # refused by mypy
orders.by_record_key().window(sk.tumbling("1m")).aggregate("x", n=sk.count()).to(KPIS)  # refused by mypy
sk.tumbling(60)  # refused by mypy
sk.Topic("numbers", key=str, value=3)  # refused by mypy
with sk.TestDriver(app) as driver:
    driver.send(ORDERS, Order("1", "s", "c", 1.0, datetime(2026, 1, 1)))  # noqa: DTZ001
    driver.end_of_input()
    assert driver.read(KPIS)[0].value.revenue == 1
    driver.send(ORDERS, Customer("x"))  # refused by mypy
