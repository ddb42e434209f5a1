"""One record of the far future: without a bound it closes everything, with one it is an error that names it."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

import streamkit as sk
from streamkit.errors import DeclarationError, EventTimeError

EVENTS = sk.Topic("events", key=str)


def app(max_future: str | None) -> sk.App:
    app = sk.App("app")
    events = app.stream(EVENTS, event_time=sk.event_time("at", max_future=max_future))
    totals = events.by_record_key().window(sk.tumbling("1m")).aggregate("totals", n=sk.count())
    totals.on_close().to(sk.Topic("results"))
    totals.late().to(sk.Topic("late"))
    return app


def send(driver: sk.TestDriver, at: str) -> None:
    driver.send(EVENTS, sk.Row(at=datetime.fromisoformat(at)), key="a")


def counts(driver: sk.TestDriver) -> list[int]:
    return [json.loads(record.value or b"")["n"] for record in driver.cluster.read("results")]


def test_without_a_bound_it_closes_all_windows() -> None:
    with sk.TestDriver(app(None)) as driver:
        for at in ("2024-01-01T00:00:01Z", "2099-01-01T00:00:00Z", "2024-01-01T00:00:02Z"):
            send(driver, at)
        assert counts(driver) == [1]
        assert len(driver.cluster.read("late")) == 1


def test_with_a_bound_it_stops_the_service_and_names_its_place() -> None:
    with sk.TestDriver(app("1d")) as driver:
        send(driver, "2024-01-01T00:00:01Z")
        with pytest.raises(EventTimeError, match=r"events-0@1: .*2099-01-01T00:00:00Z is more than max_future \(1d\) ahead"):
            send(driver, "2099-01-01T00:00:00Z")


def test_left_out_it_has_no_effect_also_across_a_kill() -> None:
    with sk.TestDriver(app("1d"), on_error="skip") as driver:
        send(driver, "2024-01-01T00:00:01Z")
        send(driver, "2024-01-02T00:00:02Z")  # a day and a second ahead
        driver.crash()
        driver.restart()
        send(driver, "2024-01-02T00:00:02Z")  # the bound is judged by what was stored
        send(driver, "2024-01-02T00:00:01Z")  # a day ahead is allowed, and moves the bound
        send(driver, "2024-01-02T00:00:02Z")
        driver.end_of_input()
        assert counts(driver) == [1, 2]
        assert driver.cluster.read("late") == []


def test_a_bound_is_a_duration() -> None:
    with pytest.raises(DeclarationError, match="event_time: max_future: 'soon' is not a duration"):
        app("soon")
    with pytest.raises(DeclarationError, match="event_time: max_future must be longer than 0"):
        app("0s")
