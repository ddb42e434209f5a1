"""Generated events with out-of-order and late records, and what a windowed aggregation of them must give.

The reference shares nothing with the engine: plain loops over plain dicts, from the written semantics (a record is late for a
window iff the watermark of its own partition before it had passed the window's end + grace).
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import Producer

FLUSH_S = 60  # an outage that a test makes is in it
BASE_MS = 1_586_937_600_000  # 2020-04-15T08:00Z


@dataclass(frozen=True, slots=True)
class Event:
    """One generated record; ``number`` is unique and stands in its payload, so that a duplicate or a gap can be named."""

    partition: int
    number: int
    key: str
    value: int
    at_ms: int


def generate(
    count: int,
    *,
    keys: int,
    partitions: int,
    seed: int,
    out_of_order: float = 0.05,
    late: float = 0.01,
    late_ms: tuple[int, int] = (30_000, 60_000),
    step_ms: int = 20,
) -> list[Event]:
    """Events in the order in which they are produced. Time runs on by ``step_ms`` an event; an out-of-order one lies up to 4 s
    back, a late one 30 to 60 s."""
    rng = random.Random(seed)
    events = []
    for number in range(count):
        at_ms = BASE_MS + number * step_ms
        chance = rng.random()
        if chance < late:
            at_ms -= rng.randrange(*late_ms)
        elif chance < late + out_of_order:
            at_ms -= rng.randrange(1, 4_000)
        key = f"k{rng.randrange(keys)}"
        events.append(Event(rng.randrange(partitions), number, key, rng.randrange(-500, 1_000), at_ms))
    return events


@dataclass(frozen=True, slots=True)
class Expected:
    """Final results: (key, window start) -> (count, sum, max); and the numbers of the late events."""

    windows: dict[tuple[str, int], tuple[int, int, int]]
    late: set[int]


def tumbling_reference(events: Iterable[Event], *, size_ms: int, out_of_orderness_ms: int, grace_ms: int = 0) -> Expected:
    """Every event in order of its partition; windows at the end of all input."""
    largest: dict[int, int] = {}
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    late = set()
    for event in events:
        start = event.at_ms // size_ms * size_ms
        before = largest.get(event.partition)
        if before is not None and before - out_of_orderness_ms - 1 >= start + size_ms + grace_ms - 1:
            late.add(event.number)
        else:
            groups[event.key, start].append(event.value)
        largest[event.partition] = event.at_ms if before is None else max(before, event.at_ms)
    return Expected({group: (len(v), sum(v), max(v)) for group, v in groups.items()}, late)


def payload(event: Event) -> bytes:
    return b'{"number":%d,"key":"%s","value":%d,"at":%d}' % (event.number, event.key.encode(), event.value, event.at_ms)


Encode = Callable[[Event], bytes]


def produce(producer: Producer, topic: str, events: Sequence[Event], encode: Encode = payload) -> None:
    """Sends events to their partitions; the caller flushes."""
    for event in events:
        while True:
            try:
                producer.produce(topic, encode(event), event.key.encode(), event.partition)
                break
            except BufferError:
                producer.poll(0.05)
    producer.poll(0)


class NotFedError(Exception):
    """The input of a test is not all there."""


@contextlib.contextmanager
def feeder(
    bootstrap: str, topic: str, events: list[Event], seconds: float, encode: Encode = payload
) -> Iterator[threading.Thread]:
    """Produces the events over about this time, beside the test. `NotFedError` where not all that it took could be sent: what is
    missing in the input is no fault of who reads it."""
    stop = threading.Event()
    left = 0

    def feed() -> None:
        nonlocal left
        # A leader that went with its broker is asked for again soon: one was not for 30 s, without a line of librdkafka.
        settings = {"linger.ms": 5, "enable.idempotence": True, "topic.metadata.refresh.interval.ms": 1_000}
        producer = Producer({"bootstrap.servers": bootstrap, **settings})
        slices = int(seconds * 20)
        for number in range(slices):
            produce(producer, topic, events[len(events) * number // slices : len(events) * (number + 1) // slices], encode)
            if stop.wait(seconds / slices):
                break
        left = producer.flush(FLUSH_S)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(FLUSH_S + 10)
    if left or thread.is_alive():
        raise NotFedError(f"{left or 'some'} events could not be sent to '{topic}' within {FLUSH_S} s")
