"""`python -m benchmarks.latency`: from a record's production to its committed result, as a read_committed consumer gets it.

    passed on   a filter that keeps everything: the record goes on as it is
    on_update   a count per key, told with each commit; at the higher rate the newest record of each key counts

at 100 and at 50,000 records a second, with commit intervals of 10 ms, 100 ms and 1 s. The clock starts before the producer's
`produce` and stops when the consumer has the record: both clients' and the broker's part is in it, a few milliseconds. All run on
one machine. (A bar: p99 at 100 records a second under the commit interval + 30 ms.)
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event

import msgspec
import numpy as np
import polars as pl
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

import streamkit as sk
from benchmarks.service import Service
from benchmarks.stage import Stage, stage
from tests.support.broker import find_broker

RATES, INTERVALS, KINDS = (100, 50_000), ("10ms", "100ms", "1s"), ("passed on", "on_update")
SECONDS, WARM_S = 7.0, 2.0
_NAMES = "BENCHMARK_LATENCY"
_KEYS = 1_000


class Ping(sk.Model):
    sent_ns: int
    number: int


class _Pong(msgspec.Struct, gc=False):
    sent_ns: int


def app() -> sk.App:
    """What `streamkit run` is given; its names are in the environment."""
    kind, name, source, sink = os.environ[_NAMES].split("|")
    service = sk.App(name)
    pings = service.stream(sk.Topic(source, key=int, value=Ping))
    if kind == "passed on":
        pings.filter(pl.col("number") >= 0).to(sk.Topic(sink))
    else:
        per_key = pings.by_record_key().window(sk.tumbling("10s")).aggregate("newest", sent_ns=sk.max("sent_ns"))
        per_key.on_update().to(sk.Topic(sink))
    return service


def feed(bootstrap: str, topic: str, rate: int, stop: Event) -> None:
    """A process of its own."""
    linger_ms = 0 if rate <= 1_000 else 2
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": linger_ms, "queue.buffering.max.messages": 1_000_000})
    begun, number = time.time(), 0
    while not stop.is_set():
        due = int((time.time() - begun) * rate)
        while number < due:
            producer.produce(topic, b'{"sent_ns":%d,"number":%d}' % (time.time_ns(), number), b"%d" % (number % _KEYS), 0)
            number += 1
        producer.poll(0)
        time.sleep(0.001)
    producer.flush(10)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; ``cpu`` is the share of a processor that the service took."""

    p50: float
    p99: float
    most: float
    cpu: float


def measure(at: Stage, kind: str, rate: int, interval: str, *options: str) -> Latency:
    name = f"{kind.replace(' ', '-').replace('_', '-')}-{rate}-{interval}"
    source, sink = at.name(f"in-{name}"), at.name(f"out-{name}")
    at.create({source: 1, sink: 1})
    names = "|".join((kind, at.name(name), source, sink))
    service = Service(at.bootstrap, "benchmarks.latency:app", {_NAMES: names}, "--set", f"commit_interval={interval}", *options)
    service.wait_until("running")
    context = get_context("spawn")
    stop = context.Event()
    feeder = context.Process(target=feed, args=(at.bootstrap, source, rate, stop))
    feeder.start()
    try:
        taken, cpu = _listen(at.bootstrap, sink, service)
    finally:
        stop.set()
        feeder.join()
        service.end()
    p50, p99, most = (float(np.percentile(taken, q)) for q in (50, 99, 100))
    return Latency(p50, p99, most, cpu)


def _listen(bootstrap: str, topic: str, service: Service) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": False,
                         "isolation.level": "read_committed", "fetch.queue.backoff.ms": 2})  # fmt: skip
    consumer.assign([TopicPartition(topic, 0, 0)])
    decode = msgspec.json.Decoder(_Pong).decode
    parts: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    begun = cpu = 0.0
    for now_ns, values in _arrivals(consumer):
        now = now_ns / 1e9
        if not begun:
            begun = now
        if now - begun >= WARM_S:
            cpu = cpu or service.cpu_s()
            sent = np.fromiter((decode(value).sent_ns for value in values), np.int64, len(values))
            parts.append((now_ns - sent) / 1e6)
        if now - begun >= WARM_S + SECONDS:
            break
    consumer.close()
    return np.concatenate(parts), (service.cpu_s() - cpu) / SECONDS


def _arrivals(consumer: Consumer) -> Iterator[tuple[int, list[bytes]]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        messages = consumer.consume(1, 0.2) or []
        messages += consumer.consume(5_000, 0) if messages else []
        now = time.time_ns()
        values = [value for value in map(Message.value, messages) if value is not None]
        if values:
            yield now, values
    raise RuntimeError("no results came")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=int, action="append")
    arguments.add_argument("--interval", action="append")
    arguments.add_argument("--kind", action="append", choices=KINDS)
    given = arguments.parse_args()
    table = Table(title=f"production to committed result, ms ({SECONDS:.0f} s each)")
    for column in ("", "records/s", "commit interval", "p50", "p99", "max", "processor"):
        table.add_column(column, justify="right" if column else "left")
    broker = find_broker(lambda text: print(f"kafka: {text}", flush=True))
    try:
        with stage(broker.bootstrap) as at:
            for kind in given.kind or KINDS:
                for rate in given.rate or RATES:
                    for interval in given.interval or INTERVALS:
                        found = measure(at, kind, rate, interval)
                        row = (f"{found.p50:.0f}", f"{found.p99:.0f}", f"{found.most:.0f}", f"{found.cpu:.0%}")
                        table.add_row(kind, f"{rate:,}", interval, *row)
                        print(kind, rate, interval, *row, flush=True)
    finally:
        broker.stop()
    Console().print(table)


if __name__ == "__main__":
    main()
