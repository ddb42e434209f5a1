"""Sliding and rolling windows by hand: what is in which, what is late, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import AggregateError, DeclarationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(sk.Model):
    at: int
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)


def driver_of(window: Any, **time: str) -> sk.TestDriver:
    app = sk.App("app")
    events = app.stream(EVENTS, event_time=sk.event_time("at", **time)).by_record_key()
    seen = events.window(window).aggregate("seen", total=sk.sum("value"), values=sk.collect("value", limit=100))
    seen.on_close().to(sk.Topic("out"))
    seen.late().to(sk.Topic("late"))
    seen.on_update().to(sk.Topic("told"))
    return sk.TestDriver(app)


def send(driver: sk.TestDriver, *times: int, key: str = "A") -> None:
    """The value of each record is its time."""
    driver.send(EVENTS, *(Event(at, at) for at in times), key=key)


def rows(driver: sk.TestDriver) -> list[tuple[int, int, list[int]]]:
    """First and last instant of each window so far, and what lay in it, in the order of the topic."""
    found = []
    for record in driver.cluster.read("out"):
        row = json.loads(record.value or b"")
        start, end = ((datetime.fromisoformat(row[name]) - EPOCH) // timedelta(milliseconds=1) for name in BOUNDS)
        found.append((start, end - 1, row["values"]))
    return found


BOUNDS = ("window_start", "window_end")


def late(driver: sk.TestDriver) -> list[int]:
    return [json.loads(record.value or b"")["value"] for record in driver.cluster.read("late")]


def test_the_example_of_kafka() -> None:
    """Of SlidingWindows in Kafka's documentation: a time difference of 5,000 ms."""
    with driver_of(sk.sliding("5s")) as driver:
        send(driver, 8000, 9200, 12400)
        assert rows(driver) == [(3000, 8000, [8000]), (4200, 9200, [8000, 9200])]
        driver.end_of_input()
        assert rows(driver)[2:] == [
            (7400, 12400, [8000, 9200, 12400]),
            (8001, 13001, [9200, 12400]),
            (9201, 14201, [12400]),
        ]


def test_the_window_behind_a_record_is_the_one_that_ends_with_another() -> None:
    """[1, 6] begins behind the record at 0 and ends with the one at 6: one result."""
    with driver_of(sk.sliding("5ms")) as driver:
        send(driver, 0, 6)
        driver.end_of_input()
        assert rows(driver) == [(-5, 0, [0]), (1, 6, [6])]


def test_a_record_out_of_order_lies_in_the_windows_around_it() -> None:
    with driver_of(sk.sliding("5ms"), out_of_orderness="10ms") as driver:
        send(driver, -3, 3, -1)
        driver.end_of_input()
        assert rows(driver) == [
            (-8, -3, [-3]), (-6, -1, [-3, -1]), (-2, 3, [-1, 3]), (0, 5, [3]),
        ]  # fmt: skip


def test_a_record_that_is_late_for_its_own_window_counts_in_those_that_are_open() -> None:
    """20 closes all windows that end with 19 or before. So 17 is not in [12, 17], but in [15, 20] and [16, 21]. 21 closes
    [15, 20], the last that could hold 15."""
    with driver_of(sk.sliding("5ms")) as driver:
        send(driver, 10, 20, 17, 21, 15)
        driver.end_of_input()
        assert late(driver) == [15]
        assert rows(driver) == [
            (5, 10, [10]), (15, 20, [17, 20]), (16, 21, [17, 20, 21]), (18, 23, [20, 21]), (21, 26, [21]),
        ]  # fmt: skip


def test_a_record_that_no_other_window_holds_has_one_at_the_first_open_instant() -> None:
    """Nothing else of B is there: [15, 20] ends where time had come to."""
    with driver_of(sk.sliding("5ms")) as driver:
        send(driver, 20)
        send(driver, 17, key="B")
        driver.end_of_input()
        assert sorted(rows(driver)) == [(15, 20, [17]), (15, 20, [20])]


def test_grace_keeps_windows_open() -> None:
    with driver_of(sk.sliding("5ms", grace="10ms")) as driver:
        send(driver, 10, 20, 17, 9, 4)
        driver.end_of_input()
        assert late(driver) == [4]
        assert rows(driver) == [
            (5, 10, [9, 10]), (10, 15, [10]), (12, 17, [17]), (15, 20, [17, 20]), (18, 23, [20]),
        ]  # fmt: skip


def test_peers_of_rolling_windows_have_one_result() -> None:
    with driver_of(sk.rolling("5ms"), out_of_orderness="3ms") as driver:
        send(driver, 1, 6, 7, 6)
        send(driver, 6, key="B")
        driver.end_of_input()
        assert rows(driver) == [(-4, 1, [1]), (1, 6, [1, 6, 6]), (1, 6, [6]), (2, 7, [6, 6, 7])]
        assert [record.timestamp for record in driver.cluster.read("out")] == [1, 6, 6, 7]


def test_of_rolling_windows_a_record_is_late_with_its_own() -> None:
    with driver_of(sk.rolling("5ms", grace="2ms")) as driver:
        send(driver, 10, 8, 7)
        driver.end_of_input()
        assert late(driver) == [7]
        assert rows(driver) == [(3, 8, [8]), (5, 10, [8, 10])]


def test_open_windows_can_be_looked_at_and_outlive_a_kill() -> None:
    with driver_of(sk.sliding("5ms"), out_of_orderness="100ms") as driver:
        send(driver, 0, 3)
        held = driver.store("seen")
        assert [row["values"] for row in held] == [[0], [0, 3], [3]]
        driver.crash()
        driver.restart()
        assert driver.store("seen") == held
        driver.end_of_input()
        assert rows(driver) == [(-5, 0, [0]), (-2, 3, [0, 3]), (1, 6, [3])]


def test_a_total_that_does_not_fit_says_of_which_key() -> None:
    says = r"the result of key 'A' in the window from -3 to 3 \(milliseconds\) cannot be had: the sum does not fit into 64 bits"
    with driver_of(sk.rolling("5ms")) as driver, pytest.raises(AggregateError, match=says):
        driver.send(EVENTS, Event(1, 2**62), Event(2, 2**62), key="A")


def told(driver: sk.TestDriver) -> list[tuple[int, str, list[int]]]:
    """Of each update so far: the last instant of its window, what its header says, what lies in the window."""
    found = []
    for record in driver.cluster.read("told"):
        row, kind = json.loads(record.value or b""), dict(record.headers)["streamkit-result"] or b""
        end = (datetime.fromisoformat(row["window_end"]) - EPOCH) // timedelta(milliseconds=1)
        found.append((end - 1, kind.decode(), row["values"]))
    return found


def test_an_update_tells_the_rows_that_a_record_changed_and_no_others() -> None:
    with driver_of(sk.rolling("5ms", grace="2ms")) as driver:
        send(driver, 1)
        send(driver, 3)
        assert told(driver) == [(1, "early", [1]), (3, "early", [1, 3])]
        send(driver, 2)
        assert told(driver)[2:] == [(2, "late", [1, 2]), (3, "early", [1, 2, 3])]
        send(driver, 20)
        driver.end_of_input()
        assert told(driver)[4:] == [(20, "early", [20])]


def test_an_update_tells_the_windows_that_a_record_begins_among_others() -> None:
    """Behind 2, which comes last, [3, 8] begins; [2, 7] behind 1 was there before."""
    with driver_of(sk.sliding("5ms"), out_of_orderness="10ms") as driver:
        send(driver, 1, 4)
        assert told(driver) == [(1, "early", [1]), (4, "early", [1, 4]), (7, "early", [4])]
        send(driver, 2)
        assert told(driver)[3:] == [(2, "early", [1, 2]), (4, "early", [1, 2, 4]), (7, "early", [2, 4]), (8, "early", [4])]
        driver.end_of_input()
        assert len(told(driver)) == 7


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: sk.sliding("0s"), "sliding window: size must be longer than 0, got 0 ms"),
        (lambda: sk.rolling("0s"), "rolling window: size must be longer than 0, got 0 ms"),
        (lambda: sk.rolling("-1s"), "rolling window: size"),
        (lambda: sk.sliding("1s", grace="-1s"), "sliding window: grace"),
    ],
)
def test_wrong_sizes(make: Any, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        make()
