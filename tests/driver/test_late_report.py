"""Late records carry the reason, and are told, whether anything reads `late()` or not."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import streamkit as sk
from streamkit.runtime.lateness import REPORT_EVERY_S
from tests.driver.rig import Rig

ROWS = sk.Topic("rows")
START = datetime(2020, 4, 15, 8, 0, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
MINUTE = 60_000


def app(window: Any = None, *, keyed: bool = True, read_late: bool = False, **time: Any) -> sk.App:
    app = sk.App("told")
    stream = app.stream(ROWS, event_time=sk.event_time(**time))
    by = stream.key_by("k") if keyed else stream.by_record_key()
    counts = by.window(window or sk.tumbling("1m")).aggregate("agg", n=sk.count())
    if read_late:
        counts.late().to(sk.Topic("late"))
    counts.on_close().to(sk.Topic("out"))
    return app


def send(driver: sk.TestDriver, minutes: float, *, n: int = 1, partition: int = 0) -> None:
    driver.send(ROWS, *[sk.Row(k=1)] * n, timestamp=START + timedelta(minutes=minutes), partition=partition)


def reasons(driver: sk.TestDriver) -> list[tuple[int, int, int]]:
    """(window_end, watermark, lateness_ms) of the late records, the first two from the start."""
    found = [json.loads(dict(record.headers or ())["streamkit-late"] or b"") for record in driver.cluster.read("late")]
    assert all(set(reason) == {"window_end", "watermark", "lateness_ms"} for reason in found)
    return [(r["window_end"] - START_MS, r["watermark"] - START_MS, r["lateness_ms"]) for r in found]


# ---- why


@pytest.mark.parametrize("keyed", [False, True], ids=["own partition", "repartitioned"])
def test_the_reason_is_the_watermark_of_its_own_partition_before_it(keyed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    made = app(sk.tumbling("1m", grace="30s"), keyed=keyed, read_late=True, out_of_orderness="15s")
    with sk.TestDriver(made, partitions=2) as driver:
        send(driver, 1.75)  # 08:01:45, less 15 s: right at the end of the first window and its grace
        send(driver, 100, partition=1)  # says nothing of partition 0
        send(driver, 0.5)
        send(driver, 3)
        send(driver, 0.9)
        assert reasons(driver) == [
            (MINUTE, 90_000 - 1, 0),
            (MINUTE, 165_000 - 1, 75_000),
        ]


@pytest.mark.parametrize(
    "window,end",
    [
        (sk.tumbling("1m", grace="10s"), MINUTE),
        (sk.hopping("1m", hop="20s", grace="10s"), MINUTE + 40_000),
        (sk.cumulating("2m", step="30s", grace="10s"), 2 * MINUTE),
        (sk.session("30s", grace="10s"), 45_000 + 30_000),
        (sk.calendar("hour", tz="Europe/Tallinn", grace="10s"), 60 * MINUTE),
    ],
    ids=str,
)
def test_a_grace_longer_by_more_than_the_lateness_lets_the_record_in(window: Any, end: int) -> None:
    def late(window: Any) -> list[tuple[int, int, int]]:
        with sk.TestDriver(app(window, keyed=False, read_late=True)) as driver:
            send(driver, 90)
            send(driver, 0.75)
            return reasons(driver)

    ((window_end, watermark, lateness_ms),) = late(window)
    assert (window_end, watermark, lateness_ms) == (end, 90 * MINUTE - 1, 90 * MINUTE - end - 10_000)
    assert late(dataclasses.replace(window, grace_ms=10_000 + lateness_ms)) == [(end, watermark, 0)]
    assert late(dataclasses.replace(window, grace_ms=10_000 + lateness_ms + 1)) == []


def test_the_reason_is_the_time_of_the_task_where_the_partition_had_been_idle() -> None:
    two = sk.App("told")
    a, b = sk.Topic("a"), sk.Topic("b")
    time = sk.event_time(idle_after="10s")
    counts = two.stream(a, b, event_time=time).by_record_key().window(sk.tumbling("1m")).aggregate("agg", n=sk.count())
    counts.late().to(sk.Topic("late"))
    counts.on_close().to(sk.Topic("out"))
    with sk.TestDriver(two) as driver:
        driver.send(b, sk.Row(n=0), timestamp=START)
        driver.advance("20s")
        driver.send(a, sk.Row(n=0), timestamp=START + timedelta(minutes=5))
        driver.advance("1s")
        driver.send(b, sk.Row(n=0), timestamp=START + timedelta(seconds=30))  # its own watermark is at 08:00
        assert reasons(driver) == [(MINUTE, 5 * MINUTE - 1, 4 * MINUTE)]


# ---- how many


def test_late_records_without_a_reader_are_counted_and_told() -> None:
    with sk.TestDriver(app()) as driver:
        send(driver, 5)
        send(driver, 0, n=2)
        send(driver, 0)
        driver.advance("30s")
        send(driver, 6)
        told = driver.events.of("late-records")
        assert sum(event["new"] for event in told) == 3
        assert (told[-1]["operator"], told[-1]["total"], told[-1]["lateness_ms"]) == ("agg", 3, 4 * MINUTE)
        driver.crash()
        driver.restart()
        driver.advance("30s")
        send(driver, 7)
        assert driver.events.of("late-records") == told  # what was counted before the restart is no news


def test_what_comes_right_behind_a_report_is_told_when_it_is_time_or_at_the_end() -> None:
    for ending in ("later", "the end"):
        driver = sk.TestDriver(app())
        send(driver, 5)
        send(driver, 0)
        (first,) = driver.events.of("late-records")
        send(driver, 4, n=2)
        send(driver, 1)
        assert driver.events.of("late-records") == [first]  # it is not told twice within ten seconds
        if ending == "later":
            driver.advance(timedelta(seconds=REPORT_EVERY_S))  # and nothing comes any more
        driver.close()
        assert driver.events.of("late-records") == [
            first,
            {"operator": "agg", "new": 3, "total": 4, "lateness_ms": 3 * MINUTE},
        ]
        driver.events.events.clear()


def test_what_was_not_told_is_told_when_the_task_goes_to_another_worker_and_only_once() -> None:
    rig = Rig(app(keyed=False), 1)
    rig.join("a")
    rig.settle()
    for minutes in (5, 0):
        rig.cluster.append("rows", b"{}", None, 0, START_MS + minutes * MINUTE)
    rig.settle()
    rig.clock.advance(1)
    for _ in range(2):
        rig.cluster.append("rows", b"{}", None, 0, START_MS)
        rig.step("a")
        rig.clock.advance(0.2)
        rig.step("a")
    assert sum(event["new"] for event in rig.events.of("late-records")) < 3
    rig.leave("a")
    told = rig.events.of("late-records")
    assert sum(event["new"] for event in told) == told[-1]["total"] == 3
    rig.join("b")
    rig.settle()
    assert rig.events.of("late-records") == told


def test_what_was_committed_and_not_told_outlives_a_roll_back() -> None:
    with sk.TestDriver(app(keyed=False)) as driver:
        send(driver, 5)
        send(driver, 0)
        send(driver, 1)  # counted, committed, and not told: ten seconds are not over
        driver.rebalance()
        driver.worker._forget_tasks()
        driver.settle()
        driver.advance("30s")
        assert sum(event["new"] for event in driver.events.of("late-records")) == 2
