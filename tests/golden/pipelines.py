"""The pipelines that golden cases name. A case says: {"pipeline": {"id": ..., options}}.

With ``rows`` a Python function that changes nothing stands before the window, so that it is fed with rows, not with columns.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

import streamkit as sk


class Event(sk.Model):
    at: datetime
    key: str | None = None
    value: int | None = None


class Bid(sk.Model):
    bidtime: datetime
    price: float
    item: str
    supplier_id: str


def same(event: Event) -> Event:
    return event


def keyed_events(keyed: str, out_of_orderness: str, *, rows: bool) -> Any:
    app = sk.App("golden")
    events = app.stream(
        sk.Topic("events", key=str, value=Event), event_time=sk.event_time("at", out_of_orderness=out_of_orderness)
    )
    by = {"record-key": events.by_record_key, "column": lambda: events.key_by("key"), "globally": events.globally}[keyed]()
    return app, by.map(same) if rows else by


def windowed(
    *,
    window: dict[str, Any],
    keyed: str = "record-key",
    out_of_orderness: str = "0s",
    second: dict[str, str] | None = None,
    updates: str | None = None,
    rows: bool = False,
) -> sk.App:
    """Events -> results, late; with `second` a window over the results -> again; with `updates` ("commit", "record" or a
    duration) -> updates."""
    app, by = keyed_events(keyed, out_of_orderness, rows=rows)
    totals = by.window(make_window(**window)).aggregate(
        "totals",
        records=sk.count(),
        n=sk.count("value"),
        total=sk.sum("value"),
        low=sk.min("value"),
        high=sk.max("value"),
        mean=sk.mean("value"),
    )
    totals.on_close().to(sk.Topic("results"))
    if window["kind"] not in TIMELESS:
        totals.late().to(sk.Topic("late", value=Event))
    if updates is not None:
        totals.on_update(None if updates == "commit" else updates).to(sk.Topic("updates"))
    if second is not None:
        again = (
            totals.on_close()
            .by_record_key()
            .window(make_window(**second))
            .aggregate("again", n=sk.count(), total=sk.sum("total"))
        )
        again.on_close().to(sk.Topic("again"))
        again.late().to(sk.Topic("late-again"))
    return app


TIMELESS = ("count_window", "global_window")
"""Windows for which nothing is late."""


def larger(one: int, other: int) -> int:
    """The one that is further from 0."""
    return max(one, other, key=lambda value: (abs(value), value))


SHIFTED = sk.aggregator(
    "shifted", init=lambda: 0, add=lambda state, value: state ^ (value + 100), merge=lambda one, other: one ^ other, result=str
)


def aggregated(*, window: dict[str, Any], keyed: str = "record-key", out_of_orderness: str = "0s", rows: bool = False) -> sk.App:
    """Every aggregator that is not in `windowed`."""
    app, by = keyed_events(keyed, out_of_orderness, rows=rows)
    outputs = by.window(make_window(**window)).aggregate(
        "outputs",
        first=sk.first("value"),
        last=sk.last("value"),
        listed=sk.collect("value", limit=5),
        distinct=sk.count_distinct("value"),
        approximate=sk.approx_count_distinct("value"),
        least=sk.quantile("value", 0),
        middle=sk.median("value"),
        most=sk.quantile("value", 1),
        variance=sk.variance("value"),
        top=sk.top_k(2, by="value", x="value"),
        reduced=sk.reduce(larger, "value"),
        shifted=SHIFTED("value"),
    )
    outputs.on_close().to(sk.Topic("results"))
    return app


def make_window(kind: str, *sizes: Any, **options: Any) -> Any:
    """``{"kind": "hopping", "size": "1m", ...}`` is ``sk.hopping(size="1m", ...)``."""
    return getattr(sk, kind)(*sizes, **options)


def same_bid(bid: Bid) -> Bid:
    return bid


def bids(*, rows: bool = False) -> sk.App:
    """The table of issue 3: all bids, cumulating 10 minutes by 2."""
    app = sk.App("golden")
    stream = app.stream(sk.Topic("bids", key=str, value=Bid), event_time=sk.event_time("bidtime")).globally()
    totals = (
        (stream.map(same_bid) if rows else stream)
        .window(sk.cumulating("10m", step="2m"))
        .aggregate("totals", price=sk.sum("price"))
    )
    totals.on_close().to(sk.Topic("results"))
    return app


def untyped(*, window: dict[str, str], rows: bool = False) -> sk.App:
    """Rows of any fields, keyed by a function; the sum is of whatever number comes."""
    app = sk.App("golden")
    stream = app.stream(sk.Topic("events", key=str), event_time=sk.event_time("at"))
    keyed = stream.key_by(lambda row: (row["shop"], row["till"]), name="by-till")
    totals = (
        (keyed.map(lambda row: row) if rows else keyed)
        .window(make_window(**window))
        .aggregate("totals", n=sk.count(), total=sk.sum("value"), last=sk.max("value"))
    )
    totals.on_close().to(sk.Topic("results"))
    return app


def stateless(*, rows: bool = False) -> sk.App:
    """Expressions, functions and records in a row, over two topics."""
    app = sk.App("golden")
    one = app.stream(sk.Topic("events", key=str))
    two = app.stream(sk.Topic("more", key=str))
    both = one.merge(two)
    merged = (both.map(lambda row: row) if rows else both).filter(pl.col("value") > 0).with_columns(twice=pl.col("value") * 2)
    split = merged.flat_map(lambda row: [sk.Row(row, part=part) for part in range(row.value)])
    split.records().map(lambda record: sk.Row(record.value, of=record.key)).to(sk.Topic("results"))
    return app


PIPELINES = {"windowed": windowed, "aggregated": aggregated, "bids": bids, "untyped": untyped, "stateless": stateless}
