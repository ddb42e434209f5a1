"""On the column path there is no Python call of ours for each record."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl
import pytest

import streamkit as sk

PACKAGE = str(Path(sk.__file__).parent)
RECORDS = 2_000


class Bid(sk.Model):
    item: str
    price: float
    amount: int
    bidtime: datetime


BIDS = {"json": sk.Topic("bids", key=str, value=Bid), "avro": sk.Topic("bids", key=str, value=sk.avro(Bid))}


def make_app(keyed: str, serde: str) -> sk.App:
    app = sk.App("app")
    bids = app.stream(BIDS[serde], event_time=sk.event_time("bidtime", out_of_orderness="5s"))
    dear = bids.filter(pl.col("price") > 0)
    by = {"column": lambda: dear.key_by("item"), "record-key": dear.by_record_key, "globally": dear.globally}[keyed]()
    totals = by.window(sk.tumbling("1m")).aggregate(
        "agg", n=sk.count(), total=sk.sum(pl.col("price") * pl.col("amount")), high=sk.max("price")
    )
    totals.on_close().to(sk.Topic("totals"))
    return app


def calls_of(driver: sk.TestDriver) -> Counter[str]:
    """How often each function of the engine is called while the driver settles (the embedded broker is not the engine); what a
    generator gives counts as a call."""
    found: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE) and "/kafka/" not in frame.f_code.co_filename:
            found[f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_code.co_qualname}"] += 1

    sys.setprofile(profile)
    try:
        driver.settle()
    finally:
        sys.setprofile(None)
    return found


def append(driver: sk.TestDriver, records: int, *, hour: int, minutes: int, serde: str = "json", keys: int = 20) -> None:
    """A batch over so many minutes, of so many keys."""
    encode = BIDS[serde].value_serde.encoder()
    for number in range(records):
        item, minute = f"i{number % keys}", number * minutes // records
        value = encode(Bid(item, 1.5, 2, datetime(2020, 4, 15, hour, minute, tzinfo=UTC)))
        driver.cluster.append("bids", value, item.encode(), 0)


def calls_with(keyed: str, records: int, *, minutes: int, serde: str = "json", keys: int = 20) -> Counter[str]:
    """Of one batch, on a driver that has seen such a batch before."""
    driver = sk.TestDriver(make_app(keyed, serde), settings=sk.EngineSettings())
    append(driver, records, hour=8, minutes=minutes, serde=serde, keys=keys)
    driver.settle()
    append(driver, records, hour=9 if minutes > 1 else 8, minutes=minutes, serde=serde, keys=keys)
    return calls_of(driver)


@pytest.mark.parametrize("serde", BIDS)
@pytest.mark.parametrize("keyed", ["column", "record-key", "globally"])
@pytest.mark.parametrize("minutes", [1, 10])
def test_calls_do_not_grow_with_the_records_of_a_batch(keyed: str, minutes: int, serde: str) -> None:
    few, many = (calls_with(keyed, records, minutes=minutes, serde=serde) for records in (RECORDS // 2, RECORDS))
    grown = {name: (few[name], count) for name, count in many.items() if count - few[name] > RECORDS // 100}
    assert grown == {}


@pytest.mark.parametrize("keyed, limit", [("column", 1_000), ("record-key", 560), ("globally", 1_000)])
def test_a_batch_takes_some_hundred_calls_with_its_commits(keyed: str, limit: int) -> None:
    """Through a repartition topic it takes two tasks and two transactions."""
    found = calls_with(keyed, RECORDS, minutes=1)
    assert sum(found.values()) < limit, found.most_common(20)


def test_the_bounds_of_a_window_are_encoded_once_for_its_results() -> None:
    found = calls_with("record-key", RECORDS, minutes=2, keys=RECORDS)
    assert found["/serdes/json_columns.py:columns_to_json.<locals>.encode_columns"] == 2  # windows that closed
    assert found["/serdes/json_columns.py:_encoded_instants"] == 0  # a text for each row


def test_small_windows_that_close_at_once_are_handed_on_together() -> None:
    found = calls_with("record-key", RECORDS, minutes=10)
    assert found["/state/window_store.py:WindowStore._drop"] >= 9
    assert found["/serdes/json_columns.py:columns_to_json.<locals>.encode_columns"] == 1


def test_the_measure_sees_a_call_for_each_record() -> None:
    """An untyped row is made into a model record by record."""
    app = sk.App("app")
    app.stream(sk.Topic("bids", key=str)).into(Bid).to(sk.Topic("totals", value=Bid))
    driver = sk.TestDriver(app)
    append(driver, RECORDS, hour=8, minutes=1)
    assert max(calls_of(driver).values()) >= RECORDS
