"""What is fed to the simulated pipelines: drawn events, out of order, late, silent for ever in one partition."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import streamkit as sk
from streamkit.testing.sim.scenario import Input

BASE_MS = 1_586_937_600_000
CLOSING_MS = BASE_MS + 1_000_000
"""The event time of a last record that closes all windows of the others."""

OUT_OF_ORDERNESS_MS = 300
LETTERS = "abcd"


class Event(sk.Model):
    number: int
    key: str
    value: int
    at: int


@dataclass(frozen=True, slots=True)
class Load:
    """What is drawn of a workload."""

    topics: tuple[str, ...] = ("events",)
    partitions: int = 2
    least: int = 5
    most: int = 60
    seconds: float = 4.0
    may_be_empty: bool = False  # a partition without any record: the app must find it idle
    keys_of_partition: bool = False
    late: float = 0.1


def draw_inputs(rng: random.Random, load: Load) -> list[Input]:
    """Mostly forward in event time, some out of order, some late. Half of the runs end with a record in each partition that
    closes all windows of the others; the rest leave windows open, so that there is state to look at.

    Event time runs with the clock, so that a partition which is silent for long has nothing to say either.
    """
    places = [(topic, partition) for topic in load.topics for partition in range(load.partitions)]
    if load.may_be_empty and rng.random() < 0.5:
        places.remove(rng.choice(places))
    due = _never_silent(rng, places, load) if load.may_be_empty else _at_any_time(rng, places, load)
    count = len(due)
    drawn = []
    for number, (at, (topic, partition)) in enumerate(due):
        at_ms = BASE_MS + round(at * 1000)
        chance = rng.random()
        if chance < load.late:
            at_ms -= rng.randrange(1_500, 4_000)
        elif chance < load.late + 0.3:
            at_ms -= rng.randrange(0, 2 * OUT_OF_ORDERNESS_MS)
        letter = rng.choice(LETTERS)
        key = f"{letter}{partition}" if load.keys_of_partition else letter
        drawn.append(_input(at, topic, partition, number, key, rng.randrange(-9, 10), at_ms))
    closing_ms = CLOSING_MS if load.may_be_empty or rng.random() < 0.5 else BASE_MS + round(load.seconds * 1000)
    for number, (topic, partition) in enumerate(places, count):
        key = f"z{partition}" if load.keys_of_partition else "z"
        drawn.append(replace(_input(load.seconds + 0.1, topic, partition, number, key, 0, closing_ms), stays=True))
    return drawn


Place = tuple[str, int]


def _at_any_time(rng: random.Random, places: Sequence[Place], load: Load) -> list[tuple[float, Place]]:
    times = sorted(rng.uniform(0.2, load.seconds) for _ in range(rng.randrange(load.least, load.most + 1)))
    return [(at, rng.choice(places)) for at in times]


def _never_silent(rng: random.Random, places: Sequence[Place], load: Load) -> list[tuple[float, Place]]:
    """No partition that has any records is silent for as long as it takes to be idle."""
    due = []
    for place in places:
        at = rng.uniform(0.1, 0.5)
        while at < load.seconds:
            due.append((at, place))
            at += rng.uniform(0.1, 0.9)
    return sorted(due)


def _input(at: float, topic: str, partition: int, number: int, key: str, value: int, at_ms: int) -> Input:
    payload = b'{"number":%d,"key":"%s","value":%d,"at":%d}' % (number, key.encode(), value, at_ms)
    return Input(at, topic, partition, number, payload, key.encode(), BASE_MS)


def event_of(record: Input) -> Event:
    return Event(**json.loads(record.value or b""))


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
