"""Event times that are possible and look wrong are told, once for each topic; they are taken as they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import streamkit as sk

START = datetime(2024, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
DAY_MS = 86_400_000


def driver(*topics: str, partitions: int = 1, **time: Any) -> sk.TestDriver:
    app = sk.App("app")
    for topic in topics or ("in",):
        stream = app.stream(sk.Topic(topic, key=str), event_time=sk.event_time("at", **time))
        stream.by_record_key().window(sk.tumbling("1m")).aggregate(f"n-{topic}", n=sk.count()).on_close().to(sk.Topic("out"))
    return sk.TestDriver(app, partitions=partitions, start=START)


def send(driver: sk.TestDriver, at: int, *, topic: str = "in", partition: int = 0) -> None:
    driver.send_raw(topic, json.dumps({"at": at}).encode(), key=b"a", partition=partition)


@pytest.mark.parametrize("keyed", [START_MS // 1000, 0, 31_535_999_999])
def test_times_that_all_lie_in_1970_are_told_once_for_each_topic(keyed: int) -> None:
    with driver("in", "other", partitions=2) as found:
        for number in range(3):
            send(found, max(0, keyed - number), partition=number % 2)
        send(found, keyed, topic="other")
        told = found.events.of("times-in-1970")
        assert [(event["topic"], event["partition"]) for event in told] == [("in", 0), ("other", 0)]
        if keyed == START_MS // 1000:
            assert told[0]["latest"] == "1970-01-20T17:21:07.200Z"
            assert told[0]["as_seconds"] == "2024-01-01T00:00:00.000Z"


@pytest.mark.parametrize("at", [-1, 31_536_000_000, START_MS])
def test_other_times_are_not(at: int) -> None:
    with driver() as found:
        send(found, at)
        assert found.events.of("times-in-1970") == []
        assert found.events.of("times-ahead") == []


def test_one_old_record_among_those_of_today_is_not() -> None:
    with driver() as found:
        send(found, START_MS)
        send(found, START_MS // 1000)
        assert found.events.of("times-in-1970") == []


def test_times_far_ahead_of_the_clock_are_told_where_nothing_bounds_them() -> None:
    with driver() as found:
        send(found, START_MS + DAY_MS)
        assert found.events.of("times-ahead") == []
        send(found, START_MS + DAY_MS + 1)
        send(found, START_MS + 2 * DAY_MS)
        assert found.events.of("times-ahead") == [{"topic": "in", "partition": 0, "latest": "2024-01-02T00:00:00.001Z"}]
    with driver(max_future="30d") as found:
        send(found, START_MS)
        send(found, START_MS + 2 * DAY_MS)
        assert found.events.of("times-ahead") == []
