"""The bids service gives the table of its sample, the same on the embedded broker and on real Kafka."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

import streamkit as sk
from services.bids.app import TOPICS, Bid, Topics, make_app
from services.bids.demo import PARTITIONS, SAMPLE, send, table
from tests.services.conftest import TABLE, create

PER_ITEM = {  # item -> window start, bids, total, highest
    "A": ("08:07", 1, 2.0, 2.0),
    "B": ("08:11", 1, 3.0, 3.0),
    "C": ("08:05", 1, 4.0, 4.0),
    "D": ("08:09", 1, 5.0, 5.0),
    "E": ("08:13", 1, 1.0, 1.0),
    "F": ("08:17", 1, 6.0, 6.0),
}


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2020-04-15T{clock}").replace(tzinfo=UTC)


@pytest.fixture
def driver():
    with sk.TestDriver(make_app(), partitions={topic.name: PARTITIONS for topic in TOPICS}) as driver:
        yield driver


def feed(driver: sk.TestDriver) -> None:
    for number, bid in enumerate(SAMPLE):
        driver.send(TOPICS.bids, bid, key=bid.item, partition=number % PARTITIONS)


def items(records: list[sk.Record]) -> dict[str, tuple[str, int, float, float]]:
    assert all(record.key == record.value.item for record in records)
    found = {r.value.item: (f"{r.value.window_start:%H:%M}", r.value.bids, r.value.total, r.value.highest) for r in records}
    assert len(found) == len(records)
    return found


# ---- embedded


def test_the_table_by_the_driver(driver):
    feed(driver)
    driver.end_of_input()
    assert table([record.value for record in driver.read(TOPICS.totals)]) == TABLE
    assert items(driver.read(TOPICS.item_totals)) == PER_ITEM
    assert driver.read(TOPICS.late) == []


def test_windows_close_by_the_watermark_of_the_slowest_partition(driver):
    feed(driver)
    assert [f"{record.value.window_end:%H:%M}" for record in driver.read(TOPICS.totals)] == ["08:06", "08:08", "08:10"]


def test_a_crash_in_between_changes_nothing(driver):
    feed(driver)
    driver.crash()
    driver.restart()
    driver.end_of_input()
    assert table([record.value for record in driver.read(TOPICS.totals)]) == TABLE
    assert items(driver.read(TOPICS.item_totals)) == PER_ITEM


def test_bids_of_one_item_and_minute_are_one_row(driver):
    for price, clock in ((2.0, "08:05:10"), (7.5, "08:05:40"), (1.0, "08:05:05")):  # the last one within the ten seconds
        driver.send(TOPICS.bids, Bid("A", price, "s", at(clock)), key="A")
    driver.end_of_input()
    assert items(driver.read(TOPICS.item_totals)) == {"A": ("08:05", 3, 10.5, 7.5)}


def test_a_late_bid_is_set_aside_with_its_reason(driver):
    late = Bid("A", 2.0, "s", at("08:01:00"))
    driver.send(TOPICS.bids, Bid("A", 1.0, "s", at("08:05")), late, key="A")
    driver.end_of_input()
    (record,) = driver.read(TOPICS.late)
    assert (record.key, record.value) == ("A", late)
    assert list(record.headers) == ["streamkit-late"]
    reason = json.loads(record.headers["streamkit-late"])
    assert reason["window_end"] == at("08:02").timestamp() * 1000
    assert items(driver.read(TOPICS.item_totals)) == {"A": ("08:05", 1, 1.0, 1.0)}


def test_a_bid_that_is_late_for_the_first_windows_counts_in_the_later_ones(driver):
    driver.send(TOPICS.bids, Bid("A", 1.0, "s", at("08:05")), Bid("A", 2.0, "s", at("08:01")), key="A")
    driver.end_of_input()
    sums = {f"{record.value.window_end:%H:%M}": record.value.price for record in driver.read(TOPICS.totals)}
    assert sums == {"08:06": 3.0, "08:08": 3.0, "08:10": 3.0}  # nothing for 08:02 and 08:04, which had closed without it


def test_a_silent_partition_holds_time_up_only_until_it_is_idle(driver):
    driver.send(TOPICS.bids, Bid("A", 1.0, "s", at("08:05")), Bid("A", 1.0, "s", at("08:15")), key="A", partition=0)
    assert driver.read(TOPICS.totals) == []
    driver.advance("6s")
    driver.send(TOPICS.bids, Bid("A", 1.0, "s", at("08:15:01")), key="A", partition=0)
    assert [f"{record.value.window_end:%H:%M}" for record in driver.read(TOPICS.totals)] == ["08:06", "08:08", "08:10"]


def test_the_table_by_run_on_the_embedded_broker():
    broker = sk.Broker.embedded()
    create(broker, TOPICS)
    for number in range(len(SAMPLE)):
        send(broker, TOPICS.bids, number)
    make_app().run(broker=broker, until_end=True)
    assert table([record.value for record in broker.read(TOPICS.totals)]) == TABLE
    assert items(broker.read(TOPICS.item_totals)) == PER_ITEM


def test_a_group_that_has_finished_refuses_to_go_on():
    broker = sk.Broker.embedded()
    create(broker, TOPICS)
    send(broker, TOPICS.bids, 0)
    make_app().run(broker=broker, until_end=True)
    send(broker, TOPICS.bids, 3)  # into the same partition
    with pytest.raises(sk.errors.FinishedError, match="already ran to the end"):
        make_app().run(broker=broker)


# ---- real Kafka


def test_the_table_on_real_kafka(own: tuple[sk.Broker, str, Topics]):
    broker, name, topics = own
    for number in range(len(SAMPLE)):
        send(broker, topics.bids, number)
    make_app(name, topics).run(broker=broker, until_end=True)
    assert table([record.value for record in broker.read(topics.totals)]) == TABLE
    assert items(broker.read(topics.item_totals)) == PER_ITEM
    assert broker.read(topics.late) == []
