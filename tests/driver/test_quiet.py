"""A stream that falls silent: its last windows close by the wall clock, if that was asked for, and only where nothing waits."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import DeclarationError
from streamkit.kafka.memory import MemoryClient

AT = datetime.fromisoformat("2024-01-01T00:00:00Z")


class Sale(sk.Model):
    at: datetime
    shop: str


SALES = sk.Topic("sales", key=str, value=Sale)


def app(advance_when_idle: str | None = "20s", *, keyed: bool = False, window: Any = None) -> sk.App:
    app = sk.App("shop")
    time = sk.event_time("at", out_of_orderness="5s", idle_after="10s", advance_when_idle=advance_when_idle)
    sales = app.stream(SALES, event_time=time)
    by = sales.key_by("shop") if keyed else sales.by_record_key()
    totals = by.window(window or sk.tumbling("1m", grace="5s")).aggregate("totals", n=sk.count())
    totals.on_close().to(sk.Topic("results"))
    totals.late().to(sk.Topic("late"))
    return app


def send(driver: sk.TestDriver, second: int, partition: int = 0) -> None:
    driver.send(SALES, Sale(AT + timedelta(seconds=second), "A"), key="A", partition=partition)


def counts(driver: sk.TestDriver, topic: str = "results") -> list[int]:
    return [json.loads(record.value or b"").get("n", 1) for record in driver.cluster.read(topic)]


def wait(driver: sk.TestDriver, seconds: int) -> None:
    for _ in range(seconds):
        driver.advance("1s")


@pytest.mark.parametrize("keyed", [False, True], ids=["own partition", "repartitioned"])
def test_the_last_window_closes_when_its_time_has_passed_on_the_wall(keyed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with sk.TestDriver(app(keyed=keyed), partitions=2) as driver:
        send(driver, 30)  # the watermark is at 25 s; the window needs 65 s: 40 s more, behind 10 s until the partitions are idle
        wait(driver, 48)
        assert counts(driver) == []
        wait(driver, 12)
        assert counts(driver) == [1]
        if not keyed:
            send(driver, 59, partition=0)
            assert counts(driver, "late") == [1]  # its window closed without it
        send(driver, 70)
        send(driver, 140)
        wait(driver, 5)
        assert counts(driver) == [1, 1]


def crash(driver: sk.TestDriver) -> None:
    driver.crash()
    driver.restart()


@pytest.mark.parametrize("disturb", [crash, sk.TestDriver.rebalance], ids=lambda call: call.__name__)
def test_a_restart_and_a_rebalance_do_not_begin_anew(disturb: Any) -> None:
    """Time went on from the last record again: with a rebalance a minute the window would have stayed open for ever."""
    with sk.TestDriver(app()) as driver:
        send(driver, 30)
        wait(driver, 40)  # time has moved by 30 s of the 40 s that it takes
        disturb(driver)
        wait(driver, 28)  # 10 s until it is idle
        assert counts(driver) == []
        wait(driver, 6)  # 20 s as after any pause
        assert counts(driver) == [1]
        wait(driver, 500)
        disturb(driver)
        wait(driver, 500)
        send(driver, 130)  # by then the windows that could be open are closed, and time has gone no further
        assert counts(driver, "late") == []


def test_without_it_time_holds() -> None:
    with sk.TestDriver(app(None)) as driver:
        send(driver, 30)
        wait(driver, 200)
        assert counts(driver) == []


def test_a_partition_that_is_not_idle_holds_time() -> None:
    with sk.TestDriver(app(keyed=True), partitions=2) as driver:
        for second in range(0, 200, 5):
            send(driver, 10, partition=1)
            if second == 0:
                send(driver, 30, partition=0)
            wait(driver, 5)
        assert counts(driver) == []


def test_a_record_that_waits_unread_holds_time() -> None:
    with sk.TestDriver(app()) as driver:
        send(driver, 30)
        wait(driver, 20)  # idle, and not long enough
        stranger = MemoryClient(driver.cluster, client_id="stranger").producer("stranger")
        stranger.init_transactions(1.0)
        stranger.begin()
        stranger.produce("sales", b"{}", b"A", 0)
        stranger.flush(1.0)
        wait(driver, 25)  # the stranger's transaction is open all the while
        assert counts(driver) == []


def test_time_does_not_fall_back_with_a_kill() -> None:
    with sk.TestDriver(app(window=sk.tumbling("10s"))) as driver:
        send(driver, 5)
        wait(driver, 60)
        assert counts(driver) == [1]
        driver.crash()
        driver.restart()
        send(driver, 7)
        driver.end_of_input()
        assert (counts(driver), len(driver.cluster.read("late"))) == ([1], 1)


def test_it_moves_no_further_than_windows_can_be_open() -> None:
    with sk.TestDriver(app(window=sk.hopping("30s", hop="10s", grace="5s"))) as driver:
        send(driver, 5)
        wait(driver, 120)
        assert counts(driver) == [1, 1, 1]
        (task,) = driver.worker.tasks
        reached = task.time.watermark()
        wait(driver, 120)
        assert task.time.watermark() == reached
        assert not task.touched


def test_it_needs_to_know_when_a_partition_is_idle() -> None:
    with pytest.raises(DeclarationError, match="advance_when_idle needs idle_after"):
        sk.event_time("at", advance_when_idle="1m")


def test_the_topology_says_so() -> None:
    assert "idle after 10s, moves on 20s after all are idle" in app().describe()
