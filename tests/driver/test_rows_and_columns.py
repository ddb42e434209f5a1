"""Rows and columns give the same, byte for byte: a Python function that changes nothing before the window makes no difference."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.support.examples import examples

START_MS = 1_586_937_600_000


class Event(sk.Model):
    at: int
    key: str | None = None
    number: int | None = None
    ratio: float | None = None
    word: str | None = None


def same(event: Event) -> Event:
    return event


def larger(one: int, other: int) -> int:
    return max(one, other)


WINDOWS: tuple[Any, ...] = (
    sk.tumbling("5s", grace="2s"),
    sk.hopping("6s", hop="4s", grace="1s"),
    sk.cumulating("6s", step="2s", offset="1s"),
    sk.session("3s", grace="1s"),
    sk.sliding("4s", grace="1s"),
    sk.rolling("4s"),
    sk.calendar("hour", tz="Europe/Tallinn"),
    sk.count_window(3),
    sk.count_window(4, every=2),
    sk.global_window(),
)
AGGREGATORS: dict[str, Any] = {
    "records": sk.count(),
    "total": sk.sum("number"),
    "share": sk.sum("ratio"),
    "product": sk.sum(pl.col("number") * 2 - pl.col("at") % 7),
    "low": sk.min("word"),
    "high": sk.max("ratio"),
    "mean": sk.mean("ratio"),
    "variance": sk.variance("number"),
    "first": sk.first("word"),
    "last": sk.last("ratio"),
    "listed": sk.collect("number", limit=4),
    "distinct": sk.count_distinct("word"),
    "approximate": sk.approx_count_distinct("number"),
    "median": sk.median("ratio"),
    "top": sk.top_k(2, by="number", x="word"),
    "reduced": sk.reduce(larger, "number"),
    "own": sk.aggregator("xor", init=int, add=int.__xor__, merge=int.__xor__)("number"),
}
EMISSIONS = ("close", "commit", "record", "10s")
KEYED = ("record-key", "column", "globally")
EVENTS = sk.Topic("events", key=str, value=Event)
UNTYPED = sk.Topic("events", key=str)

events = st.builds(
    Event,
    st.integers(0, 20_000).map(lambda ms: START_MS + ms),
    st.sampled_from(["a", "b", None]),
    st.none() | st.integers(-(2**40), 2**40),
    st.none() | st.floats(-1e6, 1e6, width=32),
    st.none() | st.sampled_from(["", "x", "yy", "ž"]),
)
batches = st.lists(st.lists(st.tuples(st.integers(0, 1), events), min_size=1, max_size=8), min_size=1, max_size=4)


def outcome(
    window: Any, outputs: dict[str, Any], emission: str, keyed: str, batches: list[Any], *, typed: bool, rows: bool
) -> list[Any]:
    """All that is written: topic, partition, key, value, time and headers of each record."""
    app = sk.App("app")
    stream = app.stream(EVENTS if typed else UNTYPED, event_time=sk.event_time("at", out_of_orderness="1s"))
    by = {"record-key": stream.by_record_key, "column": lambda: stream.key_by("key"), "globally": stream.globally}[keyed]()
    if rows:
        by = by.map(same if typed else lambda row: row)
    results = by.window(window).aggregate("results", **outputs)
    results.on_close().to(sk.Topic("results"))
    topics = ["results"]
    if emission != "close":
        results.on_update(None if emission == "commit" else emission).to(sk.Topic("updates"))
        topics.append("updates")
    if window.closed_by_time:
        results.late().to(sk.Topic("late", value=Event) if typed else sk.Topic("late"))
        topics.append("late")
    driver = sk.TestDriver(app, partitions=2)
    encode = EVENTS.value_serde.encoder()
    for batch in batches:
        for partition, event in batch:
            key = None if event.key is None else f"{event.key}{partition}"
            wire = None if key is None else key.encode()
            driver.send_raw("events", encode(event), key=wire, partition=partition, settle=False)
        driver.settle()
        driver.advance("4s")
    driver.end_of_input()
    return [
        (topic, found.partition, found.key, found.value, found.timestamp, sorted(dict(found.headers or ()).items()))
        for topic in topics
        for found in driver.cluster.read(topic)
    ]


@settings(max_examples=examples(50))
@given(
    st.sampled_from(WINDOWS),
    st.sets(st.sampled_from(sorted(AGGREGATORS)), min_size=1, max_size=5),
    st.sampled_from(EMISSIONS),
    st.sampled_from(KEYED),
    batches,
    st.booleans(),
)
def test_rows_give_what_columns_give(window, names, emission, keyed, batches, typed) -> None:
    outputs = {name: AGGREGATORS[name] for name in sorted(names)}
    columns, rows = (outcome(window, outputs, emission, keyed, batches, typed=typed, rows=rows) for rows in (False, True))
    assert rows == columns
