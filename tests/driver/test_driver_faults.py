"""Faults that a test of a user's pipeline injects by one line: results stay what they are."""

from __future__ import annotations

import pytest

import streamkit as sk
from streamkit.errors import DeclarationError


class Bid(sk.Model):
    item: str
    price: int


BIDS, DOUBLED, TOTALS = sk.Topic("bids", key=str, value=Bid), sk.Topic("doubled"), sk.Topic("totals")


def make_app() -> sk.App:
    app = sk.App("shop")
    bids = app.stream(BIDS)
    bids.map(lambda bid: {"price": 2 * bid.price}).to(DOUBLED)
    bids.key_by("item").window(sk.tumbling("1m")).aggregate("total", total=sk.sum("price")).on_close().to(TOTALS)
    return app


def results(driver: sk.TestDriver) -> tuple[list[int], list[int]]:
    driver.end_of_input()
    doubled = sorted(record.value.price for record in driver.read(DOUBLED))
    return doubled, sorted(record.value.total for record in driver.read(TOTALS))


EXPECTED = ([2, 4, 6, 8, 10], [6, 9])


def play(driver: sk.TestDriver, fault) -> None:
    driver.send(BIDS, Bid("A", 1), Bid("B", 2), key="A")
    fault(driver)
    driver.send(BIDS, Bid("A", 3), Bid("B", 4), key="B")
    driver.send(BIDS, Bid("A", 5), key="C")


def nothing(_: sk.TestDriver) -> None:
    """No fault."""


def expected() -> tuple[list[int], list[int]]:
    with sk.TestDriver(make_app(), partitions=2) as driver:
        play(driver, nothing)
        return results(driver)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", ["poll", "produce_many", "flush", "send_offsets", "commit", "committed", "init_transactions"])
def test_a_worker_that_dies_in_a_call_is_replaced_and_nothing_is_lost_or_twice(at, when):
    with sk.TestDriver(make_app(), partitions=2) as driver:
        play(driver, lambda driver: driver.crash(at=at, when=when))
        assert results(driver) == expected() == EXPECTED
        struck = not driver.cluster.faults.planted
        assert struck == (at not in {"committed", "init_transactions"})  # those are called by a start only


def test_a_crash_while_a_successor_starts_takes_another_one():
    with sk.TestDriver(make_app(), partitions=2) as driver:
        driver.crash(at="committed")
        driver.crash(at="commit")
        play(driver, nothing)
        assert not driver.cluster.faults.planted
        assert results(driver) == EXPECTED


def test_a_crash_now_waits_for_a_restart():
    with sk.TestDriver(make_app(), partitions=2) as driver:
        play(driver, lambda driver: (driver.crash(), driver.restart()))
        assert results(driver) == EXPECTED


def test_an_unknown_call_is_named():
    with sk.TestDriver(make_app()) as driver, pytest.raises(DeclarationError, match=r"no client call is named 'comit'.*commit"):
        driver.crash(at="comit")


def test_a_rebalance_takes_partitions_away_and_gives_them_back():
    with sk.TestDriver(make_app(), partitions=2) as driver:
        play(driver, lambda driver: driver.rebalance())
        assert len(driver.events.of("revoked")) >= 2
        assert len(driver.cluster.members("shop")) == 1
        assert results(driver) == EXPECTED


@pytest.mark.parametrize("duration,lost", [("1s", False), ("2m", True)])
def test_a_pause_longer_than_the_session_costs_the_partitions(duration, lost):
    with sk.TestDriver(make_app(), partitions=2) as driver:
        play(driver, lambda driver: driver.pause(duration))
        assert bool(driver.events.of("lost")) is lost
        driver.end_of_input()
        assert sorted(record.value.price for record in driver.read(DOUBLED)) == EXPECTED[0]
