"""On the column path the framework makes no Python call per record: a batch of ten times the records takes as many calls."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import streamkit as sk
from streamkit.eventtime.watermark import PartitionWatermark
from streamkit.instrument import NoInstrument
from streamkit.kafka.client import TopicPartition
from streamkit.operators.chain import build_chain
from streamkit.runtime.failures import FailurePolicy

PACKAGE = str(Path(sk.__file__).parent)
START = datetime(2024, 1, 1, tzinfo=UTC)


class Bid(sk.Model):
    item: int
    price: int
    at: datetime


class Fetched:
    """A batch as librdkafka's gives it: columns that exist already."""

    def __init__(self, values: list[bytes]) -> None:
        self.tp, self.leader_epoch = TopicPartition("bids", 0), None
        self._values = values
        self.first_offset, self.next_offset = 0, len(values)

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> list[bytes]:
        return self._values

    def offsets(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self._values))

    def keys(self) -> list[bytes | None]:
        return [b"k"] * len(self._values)

    def headers(self) -> list[None]:
        return [None] * len(self._values)


class Sent:
    """Takes columns, as the producer does."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []

    def produce_many(self, _: str, values: Any, keys: Any, *__: Any) -> None:
        assert len(values) == len(list(keys))
        self.values += values

    def flush(self) -> None:
        """All is there at once."""


def calls(function: Callable[[], object]) -> Counter[str]:
    """Python functions of the framework that were called, by name."""
    found: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return found


def app(key: str) -> sk.App:
    made = sk.App("calls")
    bids = made.stream(sk.Topic("bids", key=bytes, value=Bid), event_time=sk.event_time("at", out_of_orderness="1s"))
    kept = bids.filter(pl.col("price") > 10)
    if key == "stateless":
        kept.select("item", twice=pl.col("price") * 2).to(sk.Topic("out"))
    else:
        totals = kept.by_record_key().window(sk.tumbling("10s")).aggregate("totals", n=sk.count(), top=sk.max("price"))
        totals.on_close().to(sk.Topic("out"))
    return made


def run(key: str, records: int) -> tuple[Counter[str], int]:
    """A batch of so many records over three windows, and the time that closes all of them."""
    topology, sent = app(key).topology(), Sent()
    chain = build_chain(topology, topology.parts[0], sent, FailurePolicy("stop", NoInstrument()))
    values = []
    for number in range(records):
        moment = (START + timedelta(seconds=30 * number / records)).isoformat().replace("+00:00", "Z")
        values.append(b'{"item":%d,"price":%d,"at":"%s"}' % (number % 5, number % 100, moment.encode()))
    reader, watermark = chain.readers["bids"], PartitionWatermark(1_000)

    def work() -> None:
        batch = reader.read(Fetched(values), watermark)  # type: ignore[arg-type]  # what of a batch is looked at
        assert batch is not None
        reader.emit(batch)
        chain.advance(int(START.timestamp() * 1000) + 60_000)

    return calls(work), len(sent.values)


@pytest.mark.parametrize("key", ["windows", "stateless"])
def test_calls_do_not_grow_with_the_records_of_a_batch(key):
    run(key, 100)  # what is made once: decoders, encoders
    few, small = run(key, 200)
    many, large = run(key, 2_000)
    assert small == (3 if key == "windows" else 178)
    assert large == (3 if key == "windows" else 1_780)
    grown = {name: (few[name], many[name]) for name in many if many[name] > few[name] + 5}
    assert not grown, f"called more often with ten times the records: {grown}"
    assert 10 < sum(many.values()) < 1_000  # some calls there are


def test_this_test_sees_calls_per_record():
    topology = app("stateless").topology()
    chain = build_chain(topology, topology.parts[0], Sent(), FailurePolicy("skip", NoInstrument()))
    values = [b'{"item":1,"price":2,"at":"2024-01-01T00:00:00Z"}', b'{"item":1,"price":2,"at":"yesterday"}'] * 20
    found = calls(lambda: chain.readers["bids"].read(Fetched(values), PartitionWatermark(0)))  # type: ignore[arg-type]
    assert found["failures.py:FailurePolicy.reject"] == 20
