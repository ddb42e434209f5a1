"""What streamkit is asked to compute, pipeline by pipeline, as a user would write it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl

import streamkit as sk
from benchmarks.job import Job
from benchmarks.references import HOPPING_MS, HOPPING_SIZE_MS, HOT_MS, HOT_SIZE_MS, KEPT_FROM, Q1_RATE, Q2_AUCTIONS


class Bid(sk.Model):
    auction: int
    bidder: int
    price: int
    channel: str
    url: str
    dateTime: int  # noqa: N815 - Nexmark's name
    extra: str


class AvroResult(sk.Model):
    key: int | None  # as far as the plan knows: a record may have none
    window_start: datetime
    window_end: datetime
    count: int
    total: int
    highest: int


TWO_TO_20 = 1 << 20  # two numbers in one, for the greater of pairs


def _bids(service: sk.App, job: Job, value: Any = Bid, key: Any = int) -> sk.Stream[Any, Any]:
    topic = sk.Topic(job.source, key=key, value=value)
    return service.stream(topic, event_time=sk.event_time("dateTime", out_of_orderness="1s"))


def _per_auction(bids: sk.Stream[Any, Any], window: sk.Window) -> sk.Aggregated[Any, Any]:
    windows = bids.by_record_key().window(window)
    return windows.aggregate("per-auction", count=sk.count(), total=sk.sum("price"), highest=sk.max("price"))


def tumbling(service: sk.App, job: Job) -> None:
    _per_auction(_bids(service, job), sk.tumbling(job.window)).on_close().to(sk.Topic(job.sink, key=int))


def strings(service: sk.App, job: Job) -> None:
    _per_auction(_bids(service, job, key=str), sk.tumbling(job.window)).on_close().to(sk.Topic(job.sink, key=str))


def hopping(service: sk.App, job: Job) -> None:
    window = sk.hopping(f"{HOPPING_SIZE_MS}ms", hop=f"{HOPPING_MS}ms")
    _per_auction(_bids(service, job), window).on_close().to(sk.Topic(job.sink, key=int))


def session(service: sk.App, job: Job) -> None:
    _per_auction(_bids(service, job), sk.session(job.window)).on_close().to(sk.Topic(job.sink, key=int))


def avro(service: sk.App, job: Job) -> None:
    results = _per_auction(_bids(service, job, sk.avro(Bid)), sk.tumbling(job.window)).on_close()
    results.to(sk.Topic(job.sink, key=int, value=sk.avro(AvroResult)))


def stateless(service: sk.App, job: Job) -> None:
    kept = _bids(service, job).filter(pl.col("price") >= KEPT_FROM).select("auction", "bidder", "price")
    kept.to(sk.Topic(job.sink, key=int))


def doubled(bid: Bid) -> sk.Row:
    return sk.Row(auction=bid.auction, price=bid.price * 2)


def functions(service: sk.App, job: Job) -> None:
    """A function is called for each record; a tenth is written."""
    mapped = _bids(service, job).map(doubled).filter(lambda row: row.price >= KEPT_FROM * 2)
    mapped.to(sk.Topic(job.sink, key=int))


def q0(service: sk.App, job: Job) -> None:
    _bids(service, job).to(sk.Topic(job.sink, key=int))


def q1(service: sk.App, job: Job) -> None:
    converted = _bids(service, job).with_columns(price=pl.col("price") * Q1_RATE)
    converted.select("auction", "bidder", "price", "dateTime", "extra").to(sk.Topic(job.sink, key=int))


def q2(service: sk.App, job: Job) -> None:
    wanted = _bids(service, job).filter(pl.col("auction") % Q2_AUCTIONS == 0).select("auction", "price")
    wanted.to(sk.Topic(job.sink, key=int))


def q5(service: sk.App, job: Job) -> None:
    """Bids per auction and window; then, of each window, the auction with most of them."""
    windows = _bids(service, job).by_record_key().window(sk.hopping(f"{HOT_SIZE_MS}ms", hop=f"{HOT_MS}ms"))
    counts = windows.aggregate("bids-per-auction", bids=sk.count()).on_close()
    both = counts.with_columns(both=pl.col("bids") * TWO_TO_20 + pl.col("key"))
    hottest = both.globally().window(sk.tumbling(f"{HOT_MS}ms")).aggregate("hot-items", both=sk.max("both")).on_close()
    # A result of the first step has the time of its window's end - 1 ms, so it falls into the last hop of that window.
    start = pl.col("window_end") - pl.duration(milliseconds=HOT_SIZE_MS)
    fields = {"auction": pl.col("both") % TWO_TO_20, "bids": pl.col("both") // TWO_TO_20}
    hottest.select(window_start=start, **fields).to(sk.Topic(job.sink))


def q7(service: sk.App, job: Job) -> None:
    """The highest of each auction first, so that only those travel to one task."""
    both = _bids(service, job).with_columns(both=pl.col("price") * TWO_TO_20 + pl.col("auction"))
    per_auction = both.by_record_key().window(sk.tumbling(job.window)).aggregate("per-auction", both=sk.max("both")).on_close()
    highest = per_auction.globally().window(sk.tumbling(job.window)).aggregate("highest-bid", both=sk.max("both")).on_close()
    fields = {"auction": pl.col("both") % TWO_TO_20, "price": pl.col("both") // TWO_TO_20}
    highest.select("window_start", **fields).to(sk.Topic(job.sink))


PIPELINES: dict[str, Callable[[sk.App, Job], None]] = {
    pipeline.__name__: pipeline
    for pipeline in (tumbling, strings, hopping, session, avro, stateless, functions, q0, q1, q2, q5, q7)
}
