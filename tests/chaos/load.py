"""The load of a chaos run: events of a steady rate, by an outside producer that bears the same faults.

Each event's number is its offset in its partition (`check.inputs` looks): so an output names the very input that it came from.
A key stays in its partition. Times run on with the events; some lie a little back, some are late.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator

from confluent_kafka import KafkaError, Message, Producer

from tests.support.workload import BASE_MS, Event, payload

KEYS = 48
STEP_MS = 10
TICK_S = 0.02
LATE, OUT_OF_ORDER = 0.01, 0.05


class LoadError(Exception):
    """The outside producer could not do its work, so the run says nothing of the service."""


def events(seed: int, partitions: int) -> Iterator[Event]:
    """Without end; numbered within each partition."""
    rng = random.Random(seed)
    numbers = [0] * partitions
    at_ms = BASE_MS
    while True:
        at_ms += STEP_MS
        chance, back = rng.random(), 0
        if chance < LATE:
            back = rng.randrange(30_000, 60_000)
        elif chance < LATE + OUT_OF_ORDER:
            back = rng.randrange(1, 4_000)
        key = rng.randrange(KEYS)
        partition = key % partitions
        yield Event(partition, numbers[partition], f"k{key}", rng.randrange(-500, 1_000), at_ms - back)
        numbers[partition] += 1


class Load:
    """Sends `rate` events a second from a thread of its own until `stop`. `sent` keeps every event, in order."""

    def __init__(self, bootstrap: str, topic: str, *, partitions: int, seed: int, rate: int) -> None:
        self.sent: list[Event] = []
        self.acknowledged = 0
        self._errors: list[str] = []
        self._topic = topic
        self._rate = rate
        self._events = events(seed, partitions)
        self._stop = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "load",
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,  # for ever: an event that was given up would be a gap in the numbers
                "socket.timeout.ms": 2_000,
                "request.timeout.ms": 2_000,
                "reconnect.backoff.max.ms": 200,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 60) -> None:
        """No more events; returns when all are acknowledged."""
        self._stop.set()
        self._thread.join(10)
        left = self._producer.flush(timeout)
        if left or self._errors or self.acknowledged != len(self.sent):
            raise LoadError(f"{left} of {len(self.sent)} events were not acknowledged; errors: {self._errors[:3]}")

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(TICK_S):
            due = int((time.monotonic() - started) * self._rate) - len(self.sent)
            for _ in range(due):
                event = next(self._events)
                self.sent.append(event)
                self._send(event)
            self._producer.poll(0)

    def _send(self, event: Event) -> None:
        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._errors.append(f"{event.partition}@{event.number}: {error.str()}")
            elif message.offset() not in (event.number, None):  # None: sent twice, and the first answer was lost
                self._errors.append(f"event {event.number} of partition {event.partition} got the offset {message.offset()}")
            else:
                self.acknowledged += 1

        while True:
            with contextlib.suppress(BufferError):
                self._producer.produce(self._topic, payload(event), event.key.encode(), event.partition, on_delivery=report)
                return
            self._producer.poll(0.05)
