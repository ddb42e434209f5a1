"""The pipelines that golden cases name. A case says: {"pipeline": {"id": ..., options}}."""

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


def windowed(
    *, window: dict[str, str], keyed: str = "record-key", out_of_orderness: str = "0s", second: dict[str, str] | None = None
) -> sk.App:
    """Events -> results, late; with `second` a window over the results -> again."""
    app = sk.App("golden")
    events = app.stream(
        sk.Topic("events", key=str, value=Event), event_time=sk.event_time("at", out_of_orderness=out_of_orderness)
    )
    by = {"record-key": events.by_record_key, "column": lambda: events.key_by("key"), "globally": events.globally}[keyed]()
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
    totals.late().to(sk.Topic("late", value=Event))
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


def make_window(kind: str, *sizes: str, **options: Any) -> Any:
    """``{"kind": "hopping", "size": "1m", ...}`` is ``sk.hopping(size="1m", ...)``."""
    return getattr(sk, kind)(*sizes, **options)


def bids() -> sk.App:
    """The table of issue 3: all bids, cumulating 10 minutes by 2."""
    app = sk.App("golden")
    stream = app.stream(sk.Topic("bids", key=str, value=Bid), event_time=sk.event_time("bidtime"))
    totals = stream.globally().window(sk.cumulating("10m", step="2m")).aggregate("totals", price=sk.sum("price"))
    totals.on_close().to(sk.Topic("results"))
    return app


def untyped(*, window: dict[str, str]) -> sk.App:
    """Rows of any fields, keyed by a function; the sum is of whatever number comes."""
    app = sk.App("golden")
    rows = app.stream(sk.Topic("events", key=str), event_time=sk.event_time("at"))
    keyed = rows.key_by(lambda row: (row["shop"], row["till"]), name="by-till")
    totals = keyed.window(make_window(**window)).aggregate("totals", n=sk.count(), total=sk.sum("value"), last=sk.max("value"))
    totals.on_close().to(sk.Topic("results"))
    return app


def stateless() -> sk.App:
    """Expressions, functions and records in a row, over two topics."""
    app = sk.App("golden")
    one = app.stream(sk.Topic("events", key=str))
    two = app.stream(sk.Topic("more", key=str))
    merged = one.merge(two).filter(pl.col("value") > 0).with_columns(twice=pl.col("value") * 2)
    split = merged.flat_map(lambda row: [sk.Row(row, part=part) for part in range(row.value)])
    split.records().map(lambda record: sk.Row(record.value, of=record.key)).to(sk.Topic("results"))
    return app


PIPELINES = {"windowed": windowed, "bids": bids, "untyped": untyped, "stateless": stateless}
