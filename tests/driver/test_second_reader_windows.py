"""What a second reading of windows, aggregators and updates found: each of these was wrong, or ended the service, before."""

from __future__ import annotations

import json
import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

import streamkit as sk
from streamkit.errors import AggregateError
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP
from tests.driver.rig import Rig

AT = datetime(2024, 1, 1, tzinfo=UTC)
OUT, UPDATES = sk.Topic("out"), sk.Topic("updates")


class Sale(sk.Model):
    shop: str
    till: int
    amount: int
    clerk: int | None = None


SALES = sk.Topic("sales", key=str, value=Sale)


def results(driver: sk.TestDriver, topic: sk.Topic[Any, Any] = OUT) -> list[Any]:
    return [record.value for record in driver.read(topic)]


@pytest.mark.parametrize("window", [sk.tumbling("1m"), sk.hopping("1m", "30s"), sk.session("1m")], ids=str)
def test_columns_of_the_key_can_be_used_in_expressions(window: Any) -> None:
    """They had no type in results: any expression over them was an error, but for the int keys of some windows."""
    app = sk.App("app")
    totals = app.stream(SALES).key_by("shop", "clerk").window(window).aggregate("totals", total=sk.sum("amount"))
    totals.on_close().with_columns(name=pl.col("shop") + "!", next=pl.col("clerk") + 1).to(OUT)
    by_till = app.stream(SALES).key_by("till").window(window).aggregate("by-till", total=sk.sum("amount"))
    by_till.on_close().filter(pl.col("till") > 1).to(UPDATES)
    with sk.TestDriver(app) as driver:
        driver.send(SALES, Sale("a", 1, 5), Sale("b", 2, 7, clerk=3), key="x", timestamp=AT)
        driver.end_of_input()
        assert {(row.name, row.next) for row in results(driver)} == {("a!", None), ("b!", 4)}
        assert {row.till for row in results(driver, UPDATES)} == {2}


@pytest.mark.parametrize("every", [None, "1s", "record"])
def test_updates_of_many_int_keys_are_those_of_their_keys(every: Any) -> None:
    app = sk.App("app")
    totals = app.stream(SALES).key_by("till").window(sk.hopping("1m", "30s")).aggregate("totals", total=sk.sum("amount"))
    totals.on_update(every).to(UPDATES)
    tills = [number * 7_919_993 % 10**9 for number in range(60)]
    with sk.TestDriver(app) as driver:
        driver.send(SALES, *(Sale("a", till, till) for till in tills), key="x", timestamp=AT)
        driver.advance("2s")
        told = results(driver, UPDATES)
    assert {row.till for row in told} == set(tills)
    assert [row.till for row in told] == [row.total for row in told]


@pytest.mark.parametrize("every", [None, "1s", "record"])
def test_an_update_that_overflows_over_panes_is_an_error_with_its_place(every: Any) -> None:
    app = sk.App("app")
    totals = app.stream(SALES).by_record_key().window(sk.hopping("1m", "10s")).aggregate("totals", total=sk.sum("amount"))
    totals.on_update(every).to(UPDATES)
    with sk.TestDriver(app) as driver, pytest.raises(AggregateError, match=r"sales-0@1: the result of key 'x' in the window"):
        for second in (0, 11):
            driver.send(SALES, Sale("a", 1, 2**62), key="x", timestamp=AT + timedelta(seconds=second))
        driver.advance("2s")


class Moment(sk.Model):
    at: int


MOMENTS = sk.Topic("moments", key=str, value=Moment)


@pytest.mark.parametrize("at", [MIN_TIMESTAMP, MAX_TIMESTAMP])
@pytest.mark.parametrize(
    "window",
    [
        sk.tumbling("36500d", offset=f"{-MIN_TIMESTAMP // 86_400_000 % 36500}d", grace="36500d"),
        sk.hopping("36500d", "500d", offset="1ms"),
        sk.cumulating("36500d", "500d"),
        sk.calendar("year", tz="Pacific/Honolulu", grace="36500d"),
        sk.calendar("week", tz="Pacific/Apia"),
        sk.session("36500d", grace="36500d"),
        sk.sliding("36499d", grace="36500d"),
        sk.rolling("36499d"),
    ],
    ids=str,
)
def test_windows_at_both_ends_of_time(window: Any, at: int) -> None:
    """The last window of a calendar had itself for its next; of hundred years, the first began before there are datetimes."""
    app = sk.App("app")
    time = sk.event_time("at", out_of_orderness="36500d", idle_after="1s", advance_when_idle="1s")
    moments = app.stream(MOMENTS, event_time=time).by_record_key().window(window).aggregate("n", n=sk.count())
    moments.on_close().to(OUT)
    years = moments.on_close().by_record_key().window(sk.calendar("year", tz="Asia/Tokyo"))
    years.aggregate("years", n=sk.count()).on_close().to(UPDATES)
    if window.kind != "session":
        moments.on_update().to(sk.Topic("told"))
    with sk.TestDriver(app) as driver:
        driver.send(MOMENTS, Moment(at), key="x")
        driver.advance("30000d")
        driver.advance("36500d")
        driver.end_of_input()
        rows = results(driver)
        assert rows
        assert sum(row.n for row in results(driver, UPDATES)) == len(rows)


def test_a_refused_sum_of_int_keys_mixes_nothing_up() -> None:
    app = sk.App("app")
    by_till = app.stream(SALES).key_by("till").window(sk.tumbling("1m")).aggregate("by-till", total=sk.sum("amount"))
    by_till.on_close().to(OUT)
    tills = [number * 7_919_993 % 10**9 for number in range(60)]
    rig = Rig(app, 1, on_error="skip")
    rig.join("a")
    for till, amount in [*((till, till) for till in tills), (-1, 2**62), (-2, 2**62), (-2, 2**62)]:
        value = json.dumps({"shop": "a", "till": till, "amount": amount}).encode()
        rig.cluster.append("sales", value, b"x", 0, 1_704_067_200_000)
        if till == tills[-1]:
            rig.settle()
    rig.settle()
    rig.end_of_input()
    found = {row["till"]: row["total"] for row in (json.loads(record.value or b"") for record in rig.cluster.read("out"))}
    assert found == {till: till for till in tills} | {-1: 2**62, -2: 2**62}


class Pair(sk.Model):
    x: int
    y: int


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize(
    "window",
    [
        sk.tumbling("1m"), sk.hopping("1m", "30s"), sk.cumulating("1m", "30s"), sk.session("1m"), sk.sliding("1m"),
        sk.rolling("1m"), sk.global_window(), sk.count_window(2),
    ],
    ids=str,
)  # fmt: skip
def test_a_record_is_not_refused_for_one_that_is(window: Any, batch: int) -> None:
    """The second is refused for its y. In one batch with it, so was the third: the x of both had been added up."""
    app = sk.App("app")
    pairs = app.stream(sk.Topic("pairs", key=str, value=Pair)).by_record_key().window(window)
    pairs.aggregate("agg", x=sk.sum("x"), y=sk.sum("y"), n=sk.count()).on_close().to(OUT)
    rig = Rig(app, 1, on_error="skip", max_records=batch)
    for x, y in ((2**62, 2**62), (2**61, 2**62), (2**61, 0)):
        rig.cluster.append("pairs", b'{"x":%d,"y":%d}' % (x, y), b"a", 0, 90_000)
    rig.join("a")
    rig.settle()
    rig.end_of_input()
    found = [json.loads(record.value or b"") for record in rig.cluster.read("out")]
    assert {(row["x"], row["y"], row["n"]) for row in found} == {(2**62 + 2**61, 2**62, 2)}


class Move(sk.Model):
    at: int
    n: int


def worth(total: int) -> int:
    if total < 0:
        raise ValueError("nothing is worth less than nothing")
    return total


def test_an_update_of_sessions_says_what_it_is_also_beside_one_that_has_no_result() -> None:
    """B lies in grace, Y is early: Y was told as `late` where B, before it, had no result."""
    total = sk.aggregator("worth", init=int, add=operator.add, merge=operator.add, result=worth)
    app = sk.App("app")
    events = app.stream(sk.Topic("moves", key=str, value=Move), event_time=sk.event_time("at"))
    sessions = events.by_record_key().window(sk.session("10s", grace="60s")).aggregate("agg", total=total("n"))
    sessions.on_update().to(UPDATES)
    rig = Rig(app, 1, on_error="skip")
    rig.join("a")
    for moves in ((("Z", 40, 1),), (("B", 12, -1), ("Y", 50, 2))):
        for key, second, n in moves:
            rig.cluster.append("moves", b'{"at":%d,"n":%d}' % (second * 1000, n), key.encode(), 0, 1_000)
        rig.settle()
    told = [(record.headers, json.loads(record.value or b"")) for record in rig.cluster.read("updates")]
    assert [(row["key"], row["total"], dict(headers or ())["streamkit-result"]) for headers, row in told] == [
        ("Z", 1, b"early"),
        ("Y", 2, b"early"),
    ]
