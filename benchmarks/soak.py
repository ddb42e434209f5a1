"""`python -m benchmarks.soak --minutes 30`: one service under a steady load, and whether its memory stays flat.

A feeder appends bids at a steady rate, stamped with the time of their making; keys come and go: every ten seconds there are new
ones, and none comes back. The service is `streamkit run` with default settings in a process of its own. Its resident memory is
sampled from outside, and its own log (event `stages`) says how much of the time it worked. At the end it is told to stop, and the
results are counted: every record is in exactly one of the windows that closed, or behind the last of them.

The load is `--load` (0.7) of what the service manages here, found first by having it work off a backlog; or `--rate`, records per
second. Flat is: the most of the last third is at most 3 % above the most of the third before it. The first third fills caches,
the heap of the allocator, and the windows that are open at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Producer

import streamkit as sk
from benchmarks.contestants import streamkit as contestant
from benchmarks.job import Job
from benchmarks.service import Service
from benchmarks.stage import Stage, stage
from tests.support.broker import find_broker

RESULTS = Path(__file__).with_name("results-soak.json")
BACKLOG = 1_000_000
KEYS = 10_000  # at a time
SAMPLE_EVERY_S = 5.0
FLAT = 1.03
INPUT_KEPT = 2 * 2**30  # bytes of what was fed, so that a disk holds half an hour of it; brokers look every five minutes
_JOB = "BENCHMARK_JOB"
_TICK_S = 0.05
_PAYLOAD = (
    b'{"auction":%d,"bidder":%d,"price":%d,"channel":"channel-%d",'
    b'"url":"https://www.nexmark.com/abc/def/ghi/item.htm?query=1&channel_id=%d","dateTime":%d,"extra":"xxxxxxxxxxx"}'
)


def app() -> sk.App:
    """What `streamkit run` is given; its topics are in the environment."""
    return contestant.app(Job(**json.loads(os.environ[_JOB])))


@dataclass(slots=True)
class Soak:
    """What was seen. ``memory_mb`` and ``stages`` by seconds since the start."""

    rate: int
    minutes: float
    fed: int = 0
    counted: int = 0
    open_at_end: int = 0
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def thirds(self) -> list[float]:
        """The most of each third of the time, MB."""
        end = self.memory_mb[-1][0]
        parts: list[list[float]] = [[], [], []]
        for at, megabytes in self.memory_mb:
            parts[min(2, int(3 * at / end))].append(megabytes)
        return [max(part) for part in parts]

    @property
    def is_flat(self) -> bool:
        _, before, last = self.thirds
        return last <= FLAT * before

    @property
    def load(self) -> float:
        """The share of the time in which the service did not wait for records."""
        whole = sum(each["seconds"] for each in self.stages)
        return 1 - sum(each["seconds"] * each["shares"].get("wait", 0.0) / 100 for each in self.stages) / whole if whole else 0.0


def feed(bootstrap: str, topic: str, rate: int, stop: Event, told: Any) -> None:
    """A process of its own. ``told`` is given the number of records that the broker has."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "compression.type": "lz4",
            "delivery.report.only.error": True,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    rng = np.random.default_rng(7)
    begun, fed = time.time(), 0
    while not stop.is_set():
        now = time.time()
        count = int((now - begun) * rate) - fed
        keys = (int(now) // 10 * KEYS + rng.integers(0, KEYS, count)).tolist()
        prices = rng.integers(100, 10_000_000, count).tolist()
        at_ms = int(now * 1000)
        for key, price in zip(keys, prices, strict=True):
            producer.produce(topic, _PAYLOAD % (key, price, price, key, key, at_ms), b"%d" % key, 0, None, None, at_ms)
        producer.poll(0)
        fed += count
        time.sleep(max(0.0, now + _TICK_S - time.time()))
    if producer.flush(60):
        raise RuntimeError("records were not taken by the broker")
    told.value = fed


def serve(at: Stage, name: str, source: str, *options: str) -> tuple[Service, str]:
    """The service of this benchmark, and the topic of its results."""
    sink = at.name(f"out-{name}")
    at.create({sink: 1})
    told = json.dumps(asdict(Job(at.bootstrap, at.name(name), source, sink, 0)))
    return Service(at.bootstrap, "benchmarks.soak:app", {_JOB: told}, *options), sink


def capacity(at: Stage) -> int:
    """Records per second of a service that works off a backlog, as long as it does not wait."""
    from benchmarks import bids

    made, topic = bids.bids(BACKLOG, KEYS), at.name("backlog")
    at.fill([(made, {topic: 1})])
    service, _ = serve(at, "capacity", topic, "--until-end")
    service.end(terminate=False)
    told = service.events("stages")[-1]
    idle = told["shares"].get("wait", 0.0) + told["shares"].get("restore", 0.0)
    return int(told["records"] / (told["seconds"] * (1 - idle / 100)))


class _Result(msgspec.Struct, gc=False):
    window_end: str
    count: int


def soak(at: Stage, minutes: float, rate: int, say: Any = print) -> Soak:
    seen, topic = Soak(rate, minutes), at.name("bids")
    at.create({topic: 1}, keeps_bytes=INPUT_KEPT)
    context = get_context("spawn")
    stop, fed = context.Event(), context.Value("q", 0)
    service, sink = serve(at, "soak", topic)
    service.wait_until("running")
    feeder = context.Process(target=feed, args=(at.bootstrap, topic, rate, stop, fed))
    feeder.start()
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < 60 * minutes:
        seen.memory_mb.append((round(passed, 1), round(service.memory_mb(), 1)))
        if len(seen.memory_mb) % 12 == 0:
            say(f"{passed / 60:5.1f} min  {seen.memory_mb[-1][1]:7.1f} MB", flush=True)
        if not feeder.is_alive():
            raise RuntimeError("the feeder has died")
        time.sleep(max(0.0, begun + len(seen.memory_mb) * SAMPLE_EVERY_S - time.monotonic()))
    stop.set()
    feeder.join()
    time.sleep(2)  # the service is at the end of its input
    service.end(terminate=True)
    seen.fed = fed.value
    seen.stages = [{name: each[name] for name in ("seconds", "records", "shares")} for each in service.events("stages")][:-1]
    results = list(map(msgspec.json.Decoder(_Result).decode, at.read(sink)))
    seen.counted = sum(result.count for result in results)
    committed = service.events("stages")[-1]["records"]
    if committed != seen.fed:
        raise RuntimeError(f"{seen.fed:,} records were fed, {committed:,} processed")
    seen.open_at_end = seen.fed - seen.counted
    if not 0 <= seen.open_at_end <= 30 * rate:  # a window of 10 s, a second of disorder, and what is behind it
        raise RuntimeError(f"{seen.fed:,} records were fed, and {seen.counted:,} are in closed windows")
    return seen


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=30.0)
    arguments.add_argument("--load", type=float, default=0.7)
    arguments.add_argument("--rate", type=int, default=0, help="records per second, instead of a share of the capacity")
    given = arguments.parse_args()
    broker = find_broker(lambda text: print(f"kafka: {text}", flush=True))
    try:
        with stage(broker.bootstrap) as at:
            rate = given.rate or round(capacity(at) * given.load)
            print(f"{rate:,} records/s for {given.minutes:g} minutes", flush=True)
            seen = soak(at, given.minutes, rate)
    finally:
        broker.stop()
    RESULTS.write_text(json.dumps(asdict(seen), indent=1) + "\n")
    print(f"{seen.fed:,} records, {seen.counted:,} in closed windows, the rest in open ones; load {seen.load:.0%}")
    thirds = ", ".join(f"{each:.0f} MB" for each in seen.thirds)
    print(f"memory: most of each third {thirds}: {'flat' if seen.is_flat else 'NOT FLAT'}")
    sys.exit(0 if seen.is_flat else 1)


if __name__ == "__main__":
    main()
