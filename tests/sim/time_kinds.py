"""Other rules for watermarks, and partitions that run ahead and wait (`max_drift`), simulated."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

import streamkit as sk
from streamkit.testing.checker import Source
from streamkit.testing.sim.scenario import Input
from tests.sim.load import OUT_OF_ORDERNESS_MS, Event, Load
from tests.sim.pipelines import Pipeline, Windows
from tests.support.reference import Rule, Seen


@dataclass
class Ascending(Windows):
    """No record is waited for, so many are late."""

    name = "ascending"

    def time(self) -> sk.EventTime:
        return sk.event_time("at", watermark=sk.ascending())

    def rule(self) -> Rule:
        return lambda seen: max(one.at_ms for one in seen) - 1


class Marked(Event):
    """``complete_to`` is what its producer promises: nothing up to it comes any more."""

    complete_to: int


@dataclass(frozen=True, slots=True)
class SeenMarked(Seen):
    complete_to: int = 0


@dataclass
class ByField(Windows):
    """Producers say how far they are, some of them less than before; and they do not always keep their promise."""

    name = "by-field"
    load: Load = field(default_factory=lambda: Load(late=0.3))
    event: ClassVar[type[Event]] = Marked

    def time(self) -> sk.EventTime:
        return sk.event_time("at", watermark=sk.watermark_field("complete_to"))

    def rule(self) -> Rule:
        return lambda seen: max(one.complete_to for one in seen if isinstance(one, SeenMarked))

    def inputs(self, rng: random.Random) -> Sequence[Input]:
        return [self._marked(one, rng) for one in super().inputs(rng)]

    @staticmethod
    def _marked(one: Input, rng: random.Random) -> Input:
        event = json.loads(one.value or b"")
        behind_ms = 1 if one.stays else rng.choice([-200, 100, OUT_OF_ORDERNESS_MS, 2_000])
        return replace(one, value=json.dumps({**event, "complete_to": event["at"] - behind_ms}).encode())

    def seen_of(self, appended: Sequence[tuple[Input, Source]]) -> list[Seen]:
        events = [json.loads(record.value or b"") for record, _ in appended]
        return [
            SeenMarked(r.partition, e["number"], e["key"], e["value"], e["at"], e["complete_to"])
            for (r, _), e in zip(appended, events, strict=True)
        ]


class AsEver(sk.WatermarkGenerator):
    """As far behind the largest time as any record has been yet. It remembers both."""

    def start(self) -> tuple[int, ...]:
        return self.NO_TIME, 0

    def follow(self, timestamps: Any, state: tuple[int, ...]) -> Any:
        largest, furthest = state
        watermarks = np.empty(len(timestamps), np.int64)
        for index, time in enumerate(timestamps.tolist()):
            furthest = max(furthest, largest - time if largest > self.NO_TIME else 0)
            largest = max(largest, time)
            watermarks[index] = largest - furthest - 1
        return watermarks, (largest, furthest)


def as_ever(seen: Sequence[Seen]) -> int:
    times = [one.at_ms for one in seen]
    furthest = max(max(times[: index + 1]) - time for index, time in enumerate(times))
    return max(times) - furthest - 1


@dataclass
class Remembering(Windows):
    """A rule with a state of its own, stored with the positions: without it the next records would be judged otherwise."""

    name = "remembering"
    keyed: str = "record-key"

    def time(self) -> sk.EventTime:
        return sk.event_time("at", watermark=AsEver())

    def rule(self) -> Rule:
        return as_ever


@dataclass
class Drifting(Windows):
    """A backlog of partitions that lie apart in time: those ahead wait with what was fetched in hand. It changes no result."""

    name = "drifting"
    load: Load = field(default_factory=lambda: Load(partitions=3, least=60, most=120))
    max_drift: ClassVar[str] = "200ms"

    def time(self) -> sk.EventTime:
        return sk.event_time("at", out_of_orderness=f"{OUT_OF_ORDERNESS_MS}ms", max_drift=self.max_drift)

    def inputs(self, rng: random.Random) -> Sequence[Input]:
        """All are there before anybody has read much; each partition has its own time."""
        ahead = [rng.randrange(0, 6_000) for _ in range(self.load.partitions)]
        return sorted((self._moved(one, ahead[one.partition]) for one in super().inputs(rng)), key=lambda one: one.at)

    @staticmethod
    def _moved(one: Input, ahead_ms: int) -> Input:
        event = json.loads(one.value or b"")
        value = json.dumps({**event, "at": event["at"] + (0 if one.stays else ahead_ms)}).encode()
        return replace(one, at=0.1 + one.at / 20, value=value)


KINDS: dict[str, Pipeline] = {one.name: one for one in (Ascending(), ByField(), Remembering(), Drifting())}
