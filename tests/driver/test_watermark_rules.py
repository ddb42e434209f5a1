"""Watermarks by other rules than bounded out-of-orderness, in whole apps: what is late, what closes, also after a kill."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import streamkit as sk
from streamkit.errors import EventTimeError, SchemaError, UserFunctionError

Int64s = npt.NDArray[np.int64]
START = datetime(2024, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


class Reading(sk.Model):
    key: str
    at: int
    complete_to: datetime | None = None
    n: int = 1


TYPED, ROWS = sk.Topic("in", key=str, value=Reading), sk.Topic("in", key=str)
LATE = sk.Topic("late", key=str)


class SecondLatest(sk.WatermarkGenerator):
    """Behind the second largest time."""

    def start(self) -> tuple[int, ...]:
        return (self.NO_TIME, self.NO_TIME)

    def follow(self, timestamps: Int64s, state: tuple[int, ...]) -> tuple[Int64s, tuple[int, ...]]:
        largest, second = state
        found = []
        for time in timestamps.tolist():
            largest, second = max(largest, time), max(second, min(largest, time))
            found.append(max(second - 1, self.NO_TIME))
        return np.array(found, np.int64), (largest, second)


def app(watermark: Any, topic: sk.Topic[Any, Any] = TYPED, *, keyed: bool = False, **time: Any) -> sk.App:
    app = sk.App("app")
    stream = app.stream(topic, event_time=sk.event_time("at", watermark=watermark, **time))
    by = stream.key_by("key") if keyed else stream.by_record_key()
    counts = by.window(sk.tumbling("10s")).aggregate("agg", n=sk.sum("n"))
    counts.late().to(LATE)
    counts.on_close().to(sk.Topic("out"))
    return app


def send(driver: sk.TestDriver, second: float, *, told: float | None = None, n: int = 1, partition: int = 0) -> None:
    value: dict[str, Any] = {"key": "a", "at": START_MS + round(second * 1000), "n": n}
    if told is not None:
        value["complete_to"] = (START + timedelta(seconds=told)).isoformat()
    driver.send_raw("in", json.dumps(value).encode(), key=b"a", partition=partition)


def totals(driver: sk.TestDriver) -> list[int]:
    return [json.loads(record.value or b"")["n"] for record in driver.cluster.read("out")]


def late(driver: sk.TestDriver) -> list[int]:
    return [json.loads(record.value or b"")["n"] for record in driver.cluster.read("late")]


@pytest.mark.parametrize("topic", [TYPED, ROWS], ids=["typed", "untyped"])
@pytest.mark.parametrize("keyed", [False, True], ids=["own partition", "repartitioned"])
def test_a_field_says_how_far_its_partition_is_complete(topic: sk.Topic[Any, Any], keyed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with sk.TestDriver(app(sk.watermark_field("complete_to"), topic, keyed=keyed)) as driver:
        send(driver, 55, n=1)
        send(driver, 3, n=2)  # 52 seconds behind, and not late: nobody has said anything yet
        assert totals(driver) == []
        send(driver, 12, told=9.998, n=4)
        assert totals(driver) == []  # 9.999 would be the last of the first window
        send(driver, 4, told=9.999, n=8)  # what it says holds from the next record on
        assert totals(driver) == [10]
        driver.crash()
        driver.restart()
        send(driver, 5, n=16)
        assert late(driver) == [16]
        send(driver, 13, told=2, n=32)  # it says less than another before it: no news
        send(driver, 14, told=30)
        assert totals(driver) == [10, 37]


def test_a_record_late_by_what_a_field_said_is_so_whatever_the_batches() -> None:
    """One batch, read in blocks of columns, and the same records one by one."""
    seconds = [(n % 40 + n // 4, n // 4 + 12 if n % 5 == 0 else None) for n in range(200)]
    found = []
    for size in (200, 1):
        with sk.TestDriver(app(sk.watermark_field("complete_to"))) as driver:
            for index, (second, told) in enumerate(seconds):
                value: dict[str, Any] = {"key": "a", "at": START_MS + second * 1000, "n": index}
                if told is not None:
                    value["complete_to"] = (START + timedelta(seconds=told)).isoformat()
                driver.send_raw("in", json.dumps(value).encode(), key=b"a", settle=index % size == size - 1)
            driver.end_of_input()
            found.append((totals(driver), late(driver)))
    assert found[0] == found[1]
    expected, reached = [], -100
    for index, (second, told) in enumerate(seconds):
        if reached >= second // 10 * 10 + 10:  # a window [s, e) is passed by a watermark of e - 1 ms; all of these are seconds
            expected.append(index)
        reached = max(reached, -100 if told is None else told)
    assert found[0][1] == expected != []


@pytest.mark.parametrize(
    "field,reason",
    [
        ({"complete_to": "soon"}, r"in-1@2: watermark field 'complete_to': .*RFC ?3339"),
        ({"complete_to": [1]}, "watermark field 'complete_to': .*not list"),
        (
            {"complete_to": 10**15},
            "watermark field 'complete_to': 1000000000000000 ms is outside the years 101 to 9899.*microseconds",
        ),
        (
            {"complete_to": START_MS + 86_400_001},
            r"complete_to': 2024-01-02T00:00:00.001000Z is more than max_future \(1d\) ahead",
        ),
    ],
)
def test_what_cannot_be_a_watermark_is_an_error_of_its_record_and_moves_nothing(field: dict[str, Any], reason: str) -> None:
    def feed(driver: sk.TestDriver) -> None:
        for fields in ({}, {"complete_to": START_MS}, field, {}):
            value = {"key": "a", "at": START_MS, "n": 1} | fields
            driver.send_raw("in", json.dumps(value).encode(), key=b"a", partition=1, settle=False)
        driver.settle()

    made = app(sk.watermark_field("complete_to"), ROWS, max_future="1d")
    with sk.TestDriver(made, partitions=2) as driver, pytest.raises(EventTimeError, match=reason):
        feed(driver)
    with sk.TestDriver(made, partitions=2, on_error="skip") as driver:
        feed(driver)
        assert len(driver.events.of("record-skipped")) == 1
        driver.end_of_input()
        assert totals(driver) == [3]


def test_a_rule_of_ones_own_goes_on_after_a_kill_where_it_was() -> None:
    expected = None
    for crash in (False, True):
        with sk.TestDriver(app(SecondLatest())) as driver:
            for index, second in enumerate([1, 100, 2, 15, 3, 21, 14, 22]):
                send(driver, second, n=1 << index)
                if crash:
                    driver.crash()
                    driver.restart()
            found = (totals(driver), late(driver))
            assert expected is None or found == expected
            expected = found
    # 100 alone moves nothing; then 2 makes it 1.999, 15 14.999, 21 20.999, 22 21.999
    assert expected == ([1 + 4, 8], [16, 64])


def test_a_rule_that_was_exchanged_starts_anew_and_windows_that_were_closed_stay_so() -> None:
    with sk.TestDriver(app(lambda times: times + 60_000)) as driver:  # too eager
        send(driver, 0)
        assert totals(driver) == [1]
        driver.crash()
        driver._topology = app(SecondLatest()).topology()
        driver.restart()
        send(driver, 5, n=2)
        send(driver, 30, n=4)
        send(driver, 31, n=8)  # its own watermark says 29.999 now, far below the 60 of before
        assert late(driver) == [2, 4, 8]
        (task,) = driver.worker.tasks
        (position,) = task.inputs.values()
        assert position.watermark is not None
        assert position.watermark.watermark == START_MS + 30_000 - 1
        send(driver, 60, n=16)
        driver.end_of_input()
        assert totals(driver) == [1, 16]


def test_each_topic_has_its_own_rule() -> None:
    app = sk.App("app")
    a, b = sk.Topic("a", key=str, value=Reading), sk.Topic("b", key=str, value=Reading)
    left = app.stream(a, event_time=sk.event_time("at", watermark=sk.ascending()))
    right = app.stream(b, event_time=sk.event_time("at", watermark=sk.watermark_field("complete_to")))
    counts = left.merge(right).by_record_key().window(sk.tumbling("10s")).aggregate("agg", n=sk.sum("n"))
    counts.late().to(LATE)
    counts.on_close().to(sk.Topic("out"))
    with sk.TestDriver(app) as driver:
        for topic, second, told, n in (
            ("a", 30, None, 1),
            ("b", 1, None, 2),
            ("a", 2, None, 4),
            ("b", 2, 9.999, 8),
            ("b", 3, 12, 16),
        ):
            value = {"key": "a", "at": START_MS + second * 1000, "n": n}
            if told is not None:
                value["complete_to"] = (START + timedelta(seconds=told)).isoformat()
            driver.send_raw(topic, json.dumps(value).encode(), key=b"a")
        assert totals(driver) == [2 + 8]
        assert late(driver) == [4, 16]


def test_a_rule_that_fails_stops_the_service_whatever_on_error_says() -> None:
    def fails(times: Int64s) -> Int64s:
        if (times == START_MS + 7_000).any():
            raise ZeroDivisionError("the user's own mistake")
        return times

    with sk.TestDriver(app(fails), on_error="skip") as driver:
        send(driver, 1)
        with pytest.raises(UserFunctionError, match=r"in-0@1: watermark: ZeroDivisionError: the user's own mistake"):
            send(driver, 7)


def test_a_quiet_stream_closes_also_what_lies_far_behind_its_latest_record() -> None:
    """The watermark of a field may be behind by any time; the last windows close by the wall clock all the same."""
    made = app(sk.watermark_field("complete_to"), idle_after="10s", advance_when_idle="20s")
    with sk.TestDriver(made) as driver:
        send(driver, 1, told=0.5)
        send(driver, 300, n=2)
        for _ in range(400):
            driver.advance("1s")
        assert totals(driver) == [1, 2]


def test_a_field_that_is_not_there_or_no_time_is_refused_where_it_is_declared() -> None:
    with pytest.raises(SchemaError, match=r"topic 'in': watermark_field\('complete'\) names no field.*complete_to"):
        app(sk.watermark_field("complete"))
    with pytest.raises(
        SchemaError, match=r"watermark_field\('key'\) is .*; a watermark is a datetime, or an int in milliseconds"
    ):
        app(sk.watermark_field("key"))


@pytest.mark.parametrize("watermark,shown", [
    (sk.watermark_field("complete_to"), "watermark: field 'complete_to'"),
    (SecondLatest(), "watermark: SecondLatest"),
    (lambda times: times, "watermark: .*lambda"),
])  # fmt: skip
def test_the_topology_says_so(watermark: Any, shown: str) -> None:
    assert re.search(shown, app(watermark).describe())
