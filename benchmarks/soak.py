"""`python -m benchmarks.soak --minutes 30`: one service under a steady load, and whether its memory stays flat.

A feeder appends bids at a steady rate, stamped with the time of their making; keys come and go: every ten seconds there are new
ones, and none comes back. The service is `streamkit run` with default settings in a process of its own. Its resident memory is
sampled from outside, a thread in it tells what of its heap is free (`heap.py`), and its own log (event `stages`) says how much of
the time it worked. At the end it is told to stop, and the results are counted: every record is in exactly one of the windows that
closed, or behind the last of them.

The load is `--load` (0.7) of what the service manages here, found first by having it work off a backlog; or `--rate`, records per
second.

The resident memory makes a step wherever a backlog is longer than all before it, as after a pause of the broker: what was fetched
took it, and malloc keeps it. So flat is two things. What is in use when little waits, the least of a third of the time, is in the
last third at most 3 % above that in the third before it; from ten minutes on that finds a leak of 1 MB a minute. And what is free
never exceeds what a full fetch queue leaves. The first third fills caches and the windows that are open at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

import streamkit as sk
from benchmarks import heap
from benchmarks.contestants import streamkit as contestant
from benchmarks.job import Job
from benchmarks.service import Service
from benchmarks.stage import Stage, stage
from tests.support.broker import find_broker

RESULTS = Path(__file__).with_name("results-soak.json")
BACKLOG = 1_000_000
KEYS = 10_000  # at a time
SAMPLE_EVERY_S = 5.0
LOOKS = 5  # at the heap, for a sample
FLAT = 1.03
FREE_MB = 96.0  # measured: up to 68 behind a full fetch queue of these records, in one partition
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


def watched_app() -> sk.App:
    """The same, and it tells of its heap."""
    heap.tell(SAMPLE_EVERY_S / LOOKS)
    return app()


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the service's memory, MB, so many seconds after the start. Of the heap: the look with the least in use."""

    at: float
    resident: float
    in_use: float
    free: float


@dataclass(slots=True)
class Soak:
    """What was seen, in order."""

    rate: int
    minutes: float
    fed: int = 0
    counted: int = 0
    open_at_end: int = 0
    memory: list[Sample] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)

    def thirds(self) -> tuple[list[Sample], ...]:
        """The samples by thirds of the time; none is empty."""
        parts: tuple[list[Sample], ...] = ([], [], [])
        for sample in self.memory:
            parts[min(2, int(3 * sample.at / (60 * self.minutes)))].append(sample)
        if not all(parts):
            raise ValueError(f"{len(self.memory)} samples do not tell of three thirds of {self.minutes:g} minutes")
        return parts

    def faults(self) -> list[str]:
        """Why the memory is not flat; none if it is."""
        _, before, last = (min(sample.in_use for sample in third) for third in self.thirds())
        free = max(sample.free for sample in self.memory)
        found = []
        if last > FLAT * before:
            found.append(f"a leak: in use at least {last:.1f} MB, a third of the time before {before:.1f} MB")
        if free > FREE_MB:
            found.append(f"malloc has {free:.0f} MB free, more than the {FREE_MB:.0f} MB that a backlog may leave")
        return found

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
            "queue.buffering.max.messages": 10_000_000,  # seconds in which the broker may stand still
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
            value = _PAYLOAD % (key, price, price, key, key, at_ms)
            while not _fed(producer, topic, value, b"%d" % key, at_ms):
                producer.poll(0.1)
        producer.poll(0)
        fed += count
        time.sleep(max(0.0, now + _TICK_S - time.time()))
    if producer.flush(60):
        raise RuntimeError("records were not taken by the broker")
    told.value = fed


def _fed(producer: Producer, topic: str, value: bytes, key: bytes, at_ms: int) -> bool:
    """False while there is no room: where the broker takes less than is fed, the rate is the broker's."""
    try:
        producer.produce(topic, value, key, 0, None, None, at_ms)
    except BufferError:
        return False
    return True


def serve(at: Stage, name: str, source: str, *options: str, made_by: str = "app") -> tuple[Service, str]:
    """The service of this benchmark, and the topic of its results."""
    sink = at.name(f"out-{name}")
    at.create({sink: 1})
    told = json.dumps(asdict(Job(at.bootstrap, at.name(name), source, sink, 0)))
    return Service(at.bootstrap, f"benchmarks.soak:{made_by}", {_JOB: told}, *options), sink


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
    service, sink = serve(at, "soak", topic, made_by="watched_app")
    service.wait_until("running")
    service.wait_until(heap.TOLD)
    feeder = context.Process(target=feed, args=(at.bootstrap, topic, rate, stop, fed))
    feeder.start()
    try:
        _watch(seen, service, feeder, say)
    except BaseException:
        service.process.kill()
        feeder.terminate()
        raise
    finally:
        stop.set()
        feeder.join()
    seen.fed = fed.value
    _wait_until_read(at.bootstrap, at.name("soak"), topic, seen.fed)
    service.end(terminate=True)
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


def _watch(seen: Soak, service: Service, feeder: BaseProcess, say: Any) -> None:
    """Samples for as long as it takes."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < 60 * seen.minutes:
        seen.memory.append(_sample(service, passed))
        if len(seen.memory) % 12 == 0:
            say(f"{passed / 60:5.1f} min  {_words(seen.memory[-1])}", flush=True)
        if not feeder.is_alive():
            raise RuntimeError("the feeder has died")
        time.sleep(max(0.0, begun + len(seen.memory) * SAMPLE_EVERY_S - time.monotonic()))


def _wait_until_read(bootstrap: str, group: str, topic: str, records: int) -> None:
    """Until the service has committed the whole input."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    deadline = time.monotonic() + 120
    while (at := consumer.committed([TopicPartition(topic, 0)], 10)[0].offset) < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"of {records:,} records that were fed, {at:,} are committed two minutes later")
        time.sleep(0.2)
    consumer.close()


def _sample(service: Service, passed: float) -> Sample:
    told = [heap.Heap(each["anonymous"], each["free"]) for each in service.events(heap.TOLD)[-LOOKS:]]
    least = min(told, key=lambda each: each.in_use)
    return Sample(round(passed, 1), round(service.memory_mb(), 1), round(least.in_use, 1), round(least.free, 1))


def _words(sample: Sample) -> str:
    return f"{sample.resident:7.1f} MB resident, {sample.in_use:7.1f} in use, {sample.free:7.1f} free"


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
    print(f"{seen.fed / (60 * given.minutes):,.0f} records/s")
    for third in seen.thirds():
        print(f"memory of a third: {_span('resident', third)}, {_span('in_use', third)}, {_span('free', third)} MB")
    faults = seen.faults()
    print("memory: " + ("flat" if not faults else f"NOT FLAT: {'; '.join(faults)}"))
    sys.exit(1 if faults else 0)


def _span(name: str, third: list[Sample]) -> str:
    values = [getattr(sample, name) for sample in third]
    return f"{name.replace('_', ' ')} {min(values):.1f} to {max(values):.1f}"


if __name__ == "__main__":
    main()
