"""The plan as a reader sees it."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

import streamkit as sk


class Order(sk.Model):
    shop: str
    amount: float
    at: datetime


@pytest.fixture
def app():
    app = sk.App("shop")
    orders = app.stream(
        sk.Topic("orders", key=str, value=Order), event_time=sk.event_time("at", out_of_orderness="5s", idle_after="30s")
    )
    large = orders.filter(pl.col("amount") > 100)
    kpis = (
        large.key_by("shop")
        .window(sk.cumulating("10m", step="2m", grace="1m"))
        .aggregate("kpis", revenue=sk.sum("amount"), orders=sk.count())
    )
    kpis.on_close().to(sk.Topic("kpis"))
    kpis.late().to(sk.Topic("orders-late", key=str, value=Order))
    large.map(lambda order: order).to(sk.Topic("large"))
    return app


TEXT = """
app 'shop': 2 sub-topologies

sub-topology 'orders'
  reads   orders (json(Order)), event time: at, out of orderness 5s, idle after 30s
    1  filter(amount > 100)   columns   <- orders
    2  key_by(shop)           columns
    3  map(lambda)            rows      <- 1
    4  to(large)              rows
  writes  large, shop.orders-by-shop.repartition

sub-topology 'orders-by-shop'
  reads   shop.orders-by-shop.repartition (from 'orders')
    1  aggregate 'kpis' over cumulating(10m, step=2m, grace=1m)   columns   <- shop.orders-by-shop.repartition
         key     shop
         output  revenue = sum(amount)
         output  orders = count()
    2  on_close()
    3  to(kpis)                                                   columns
    4  late()                                                               <- 1
    5  to(orders-late)                                            bytes
  writes  kpis, orders-late
  store   kpis, changelog shop.kpis.changelog
"""

MERMAID = """
flowchart LR
  t0[("orders")]
  t1[("shop.orders-by-shop.repartition")]
  t2[("large")]
  t3[("shop.kpis.changelog")]
  t4[("kpis")]
  t5[("orders-late")]
  subgraph sub0["orders"]
    s0_0["filter(amount #gt; 100)"]
    s0_1["key_by(shop)"]
    s0_2["map(lambda)"]
    s0_3["to(large)"]
  end
  subgraph sub1["orders-by-shop"]
    s1_0["aggregate 'kpis' over cumulating(10m, step=2m, grace=1m)"]
    s1_1["on_close()"]
    s1_2["to(kpis)"]
    s1_3["late()"]
    s1_4["to(orders-late)"]
  end
  t0 --> s0_0
  s0_0 --> s0_1
  s0_1 --> t1
  s0_0 --> s0_2
  s0_2 --> s0_3
  s0_3 --> t2
  t1 --> s1_0
  s1_0 <-.-> t3
  s1_0 --> s1_1
  s1_1 --> s1_2
  s1_2 --> t4
  s1_0 --> s1_3
  s1_3 --> s1_4
  s1_4 --> t5
"""


def test_text(app):
    assert app.describe() == TEXT.strip()


def test_mermaid(app):
    assert app.describe(mermaid=True) == MERMAID.strip()


def test_a_merge_names_all_that_it_reads():
    app = sk.App("shop")
    web, shops = app.stream(sk.Topic("web")), app.stream(sk.Topic("shops"))
    web.merge(shops.filter(bool)).to(sk.Topic("all"))
    assert "merge                    <- web, 1" in app.describe()


def test_aggregators_with_options_and_functions():
    def larger(one, other):
        return max(one, other)

    app = sk.App("shop")
    keyed = app.stream(sk.Topic("orders")).by_record_key().window(sk.tumbling("1h"))
    mine = sk.aggregator("mine", init=int, add=larger, merge=larger, version=2)
    keyed.aggregate(
        "all", a=sk.approx_count_distinct("x"), b=sk.quantiles(pl.col("x") * 2, [0.5, 1]), c=sk.top_k(3, by="x"),
        d=sk.top_k(3, by=-pl.col("x"), x="y"), e=sk.reduce(larger, "x"), f=sk.reduce(lambda one, _: one), g=mine("x"), h=mine(),
    ).on_close().to(sk.Topic("out"))  # fmt: skip
    lines = [line.split(None, 1)[1] for line in app.describe().splitlines() if line.lstrip().startswith("output")]
    assert lines == [
        "a = approx_count_distinct(x, error=0.02)",
        "b = quantiles(x * 2, qs=[0.5, 1], error=0.01)",
        "c = top_k(k=3, by=x)",
        "d = top_k(y, k=3, by=negate(x))",
        "e = reduce(larger, x)",
        "f = reduce(lambda)",
        "g = mine(x, version=2)",
        "h = mine(version=2)",
    ]
