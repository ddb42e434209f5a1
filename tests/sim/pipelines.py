"""The pipelines that are simulated, each with its reference (tests/support/reference.py)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar
from unittest.mock import patch

import polars as pl

import streamkit as sk
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.cluster import LogRecord
from streamkit.plan.topology import Topology
from streamkit.runtime.failures import OnError
from streamkit.state import changelog
from streamkit.testing.checker import (
    Expected,
    Found,
    Source,
    Verdict,
    final_results,
    fold,
    frontiers,
    results,
    state,
    times,
    updates,
)
from streamkit.testing.sim.scenario import Input
from streamkit.testing.sim.world import World
from tests.sim.load import OUT_OF_ORDERNESS_MS, Event, Load, draw_inputs, event_of, milliseconds
from tests.support.reference import NEVER, Grid, Reference, Rule, Seen, chained, summary, windowed


@dataclass
class Pipeline:
    """What all have in common. Subclasses declare the app and say what must come of the input."""

    name: ClassVar[str]
    on_error: OnError = "stop"
    load: Load = field(default_factory=Load)
    sinks: ClassVar[Mapping[str, int]] = {"results": 2, "late": 1}

    def app(self) -> sk.App:
        raise NotImplementedError

    @contextmanager
    def around(self) -> Iterator[None]:
        """Changelogs are rewritten as soon as a few rows could go, which takes thousands otherwise."""
        with patch.object(changelog, "REWRITE_SLACK_ROWS", 4):
            yield

    @cached_property
    def _topology(self) -> Topology:
        return self.app().topology()

    def topology(self) -> Topology:
        return self._topology

    def topics(self) -> Mapping[str, int]:
        return {**dict.fromkeys(self.load.topics, self.load.partitions), **self.sinks}

    def inputs(self, rng: random.Random) -> Sequence[Input]:
        return draw_inputs(rng, self.load)

    def number_of(self, record: LogRecord) -> int | None:  # noqa: ARG002 - most pipelines do not carry it
        return None

    def expected(self, world: World) -> int:
        return len(self.reference(world))

    def reference(self, world: World) -> list[Expected]:
        raise NotImplementedError

    def found(self, world: World) -> Iterator[Found]:
        raise NotImplementedError

    def check(self, world: World) -> Verdict:
        return final_results(self.reference(world), self.found(world))

    def glance(self, world: World) -> Verdict:  # noqa: ARG002 - most have nothing to look at
        """Looked at in the midst of a run, when no transaction is just being ended."""
        return Verdict()

    def changelog(self, world: World, store: str, partition: int) -> list[LogRecord]:
        name = f"{self.name}.{store}.changelog"
        return world.cluster.read(name, partitions=[partition]) if name in world.cluster.broker.topics else []


def at(record: LogRecord) -> str:
    return f"{record.topic}-{record.partition}@{record.offset}"


class Stateless(Pipeline):
    """filter by an expression, two results for each record by a function."""

    name = "stateless"
    sinks: ClassVar[Mapping[str, int]] = {"results": 2}

    def app(self) -> sk.App:
        app = sk.App(self.name)
        events = app.stream(sk.Topic("events", key=str, value=Event))
        events.filter(pl.col("value") > -5).flat_map(twice).to(sk.Topic("results"))
        return app

    def number_of(self, record: LogRecord) -> int | None:
        number = json.loads(record.value or b"")["number"]
        assert isinstance(number, int)
        return number

    def reference(self, world: World) -> list[Expected]:
        return self.reference_of(world.appended)

    def reference_of(self, appended: Sequence[tuple[Input, Source]]) -> list[Expected]:
        out = []
        for record, source in appended:
            event = event_of(record)
            if event.value > -5:
                out += [
                    Expected((event.number, part), event.value * part, (event.key, record.partition), (source,))
                    for part in (1, 2)
                ]
        return out

    def found(self, world: World) -> Iterator[Found]:
        for record in world.cluster.read("results"):
            row = json.loads(record.value or b"")
            yield Found((row["number"], row["part"]), row["value"], at(record))

    def check(self, world: World) -> Verdict:
        return results(self.reference(world), self.found(world))


class Part(sk.Model):
    number: int
    part: int
    value: int


def twice(event: Event) -> Iterable[Part]:
    return [Part(event.number, part, event.value * part) for part in (1, 2)]


@dataclass
class Windows(Pipeline):
    """Windows over keys, with late records."""

    grid: Grid = field(default_factory=lambda: Grid(1_000, 1_000, grace_ms=200))
    keyed: str = "column"
    event: ClassVar[type[Event]] = Event

    def __post_init__(self) -> None:
        if self.keyed == "record-key":
            self.load = Load(keys_of_partition=True)

    def time(self) -> sk.EventTime:
        idle_after = "1500ms" if self.load.may_be_empty else None
        return sk.event_time("at", out_of_orderness=f"{OUT_OF_ORDERNESS_MS}ms", idle_after=idle_after)

    def rule(self) -> Rule | None:
        """Another rule for watermarks than out-of-orderness, in the words of the reference."""
        return None

    def app(self) -> sk.App:
        app = sk.App(self.name)
        events = app.stream(*(sk.Topic(topic, key=str, value=self.event) for topic in self.load.topics), event_time=self.time())
        keyed: Any = events.key_by("key") if self.keyed == "column" else events.by_record_key()
        totals = keyed.window(self.window()).aggregate(
            "agg", records=sk.count(), total=sk.sum("value"), low=sk.min("value"), high=sk.max("value")
        )
        self.write(totals)
        totals.late().to(sk.Topic("late", value=self.event))
        return app

    def window(self) -> Any:
        grid = self.grid
        durations = {"offset": f"{grid.offset_ms}ms", "grace": f"{grid.grace_ms}ms"}
        if grid.step_ms == grid.size_ms:
            return sk.tumbling(f"{grid.size_ms}ms", **durations)
        return sk.cumulating(f"{grid.size_ms}ms", f"{grid.step_ms}ms", **durations)

    def write(self, totals: Any) -> None:
        totals.on_close().to(sk.Topic("results"))

    def number_of(self, record: LogRecord) -> int | None:
        if self.keyed == "column" or record.topic != "late":
            return None
        number = json.loads(record.value or b"")["number"]
        assert isinstance(number, int)
        return number

    def seen(self, world: World) -> list[Seen]:
        return self.seen_of(world.appended)

    def seen_of(self, appended: Sequence[tuple[Input, Source]]) -> list[Seen]:
        places = {
            place: n for n, place in enumerate((topic, p) for topic in self.load.topics for p in range(self.load.partitions))
        }
        return [
            Seen(places[r.topic, r.partition], e.number, e.key, e.value, e.at)
            for r, e in ((record, event_of(record)) for record, _ in appended)
        ]

    def reference(self, world: World) -> list[Expected]:
        sources = {source.number: source for _, source in world.appended}
        seen = self.seen(world)
        found = self._windowed(seen)
        late = [Expected(("late", number), number, None, (sources[number],)) for number in found.late]
        inside = self._inside(seen, set(found.late), sources)
        return self.windows(self.closed(found), inside) + late

    def _windowed(self, seen: Sequence[Seen]) -> Reference:
        partitions = 1 + max((one.partition for one in seen), default=0)
        return windowed(seen, self.grid, OUT_OF_ORDERNESS_MS, partitions, self.rule())

    def closed(self, found: Reference) -> dict[Any, list[int | None]]:
        """The windows that time has closed: that of the key's own partition, or of all of them behind a repartition topic."""
        times = {place: time for place, time in found.watermarks.items() if time != NEVER}
        least = min(times.values(), default=NEVER)
        return {
            group: values
            for group, values in found.values.items()
            if (times[int(group[0][1:])] if self.keyed == "record-key" else least) >= group[2] + self.grid.grace_ms - 1
        }

    def _inside(self, seen: Sequence[Seen], late: set[int], sources: Mapping[int, Source]) -> dict[Any, tuple[Source, ...]]:
        inside: dict[Any, list[Source]] = {}
        for one in seen:
            for start, end in self.grid.windows_of(one.at_ms):
                if one.number not in late:
                    inside.setdefault((one.key, start, end), []).append(sources[one.number])
        return {group: tuple(found) for group, found in inside.items()}

    def check(self, world: World) -> Verdict:
        verdict = super().check(world)
        told = [
            (f"agg/{partition} {name}", value)
            for partition in range(self.load.partitions)
            for time in times(self.changelog(world, "agg", partition))
            for name, value in time._asdict().items()
        ]
        verdict += frontiers(told)
        if self.grid.step_ms == self.grid.size_ms:  # panes of others are put together as they close
            verdict += self.check_state(world, world.appended)
        return verdict

    def check_state(self, world: World, taken: Sequence[tuple[Input, Source]]) -> Verdict:
        """I3: the windows that are open, by the inputs that were taken."""
        found = self._windowed(self.seen_of(taken))
        closed = self.closed(found)
        must = {(end, key): summary(v)[:4] for (key, start, end), v in found.values.items() if (key, start, end) not in closed}
        rows: dict[Any, Any] = {}
        for partition in range(self.load.partitions):
            rows |= fold(self.changelog(world, "agg", partition))
        return state(must, rows, where="store 'agg'")

    def glance(self, world: World) -> Verdict:
        if self.keyed != "record-key" or self.grid.step_ms != self.grid.size_ms:
            return Verdict()
        committed = world.committed()
        return self.check_state(
            world, [(r, s) for r, s in world.appended if s.offset < committed.get(TopicPartition(s.topic, s.partition), 0)]
        )

    def windows(self, closed: Mapping[Any, Sequence[int | None]], inside: Mapping[Any, tuple[Source, ...]]) -> list[Expected]:
        return [
            Expected(group, summary(values)[:4], (group[0],), inside.get(group, ()))
            for group, values in sorted(closed.items(), key=lambda item: item[0][2])
        ]

    def found(self, world: World) -> Iterator[Found]:
        for record in world.cluster.read("results"):
            row = json.loads(record.value or b"")
            yield Found(self.group(row, record), self.content(row), at(record))
        for record in world.cluster.read("late"):
            number = json.loads(record.value or b"")["number"]
            yield Found(("late", number), number, at(record))

    def group(self, row: Mapping[str, Any], record: LogRecord) -> tuple[str, int, int]:
        key = row.get("key", (record.key or b"").decode())
        return key, milliseconds(row["window_start"]), milliseconds(row["window_end"])

    def content(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["records"], row["total"], row["low"], row["high"]


class Tumbling(Windows):
    name = "tumbling"


class Repartitioned(Windows):
    name = "repartitioned"


class Late(Windows):
    """Many late records, and windows that stay open for them because one of three partitions lags."""

    name = "late"


class Updates(Windows):
    """The present results of windows that are still open, with each commit."""

    name = "updates"

    def write(self, totals: Any) -> None:
        totals.on_update().to(sk.Topic("results"))

    def expected(self, world: World) -> int:  # how many there are depends on when commits fall
        return len({group[:3] for group in self.prefixes(world)})

    def prefixes(self, world: World) -> dict[Any, list[Any]]:
        """Window -> its result after each of its records, in the order of the key's own partition."""
        seen = self.seen(world)
        late = set(windowed(seen, self.grid, OUT_OF_ORDERNESS_MS, self.load.partitions).late)
        values: dict[Any, list[int | None]] = {}
        prefixes: dict[Any, list[Any]] = {}
        for one in seen:
            for start, end in self.grid.windows_of(one.at_ms):
                if one.number not in late:
                    group = (one.key, start, end)
                    values.setdefault(group, []).append(one.value)
                    prefixes.setdefault(group, []).append(summary(values[group])[:4])
        return prefixes

    def check(self, world: World) -> Verdict:
        verdict = updates(self.prefixes(world), [one for one in self.found(world) if one.identity[0] != "late"])
        verdict += self.check_state(world, world.appended)
        return verdict


class Cumulating(Windows):
    name = "cumulating"


class Idle(Windows):
    """Two topics, merged; one of their partitions may be silent for ever, so that time waits until it is proven idle."""

    name = "idle"


class Chained(Windows):
    """Windows over results of windows, through a second repartition topic."""

    name = "chained"
    second = Grid(2_000, 2_000, grace_ms=100)

    def write(self, totals: Any) -> None:
        again = totals.on_close().key_by("key", name="again").window(sk.tumbling("2s", grace="100ms"))
        again.aggregate("second", records=sk.count(), total=sk.sum("total")).on_close().to(sk.Topic("results"))

    def windows(self, closed: Mapping[Any, Sequence[int | None]], inside: Mapping[Any, tuple[Source, ...]]) -> list[Expected]:
        values = chained(closed, self.second)
        sources: dict[Any, tuple[Source, ...]] = {}
        for (key, start, end), found in inside.items():
            for start2, end2 in self.second.windows_of(end - 1):
                if (key, start, end) in closed:
                    sources[key, start2, end2] = (*sources.get((key, start2, end2), ()), *found)
        return [
            Expected(group, sums, (group[0],), sources.get(group, ()))
            for group, sums in sorted(values.items(), key=lambda item: item[0][2])
            if group[2] + self.second.grace_ms - 1 <= self.told_ms
        ]

    def closed(self, found: Reference) -> dict[Any, list[int | None]]:
        self.told_ms = min(found.watermarks.values(), default=NEVER) - self.grid.grace_ms
        return super().closed(found)

    def content(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["records"], row["total"]


class Rekeyed(Stateless):
    """A repartition topic without state behind it."""

    name = "rekeyed"

    def app(self) -> sk.App:
        app = sk.App(self.name)
        events = app.stream(sk.Topic("events", key=str, value=Event))
        events.filter(pl.col("value") > -5).key_by(by_letter, name="by-letter").flat_map(twice).to(sk.Topic("results"))
        return app

    def number_of(self, record: LogRecord) -> int | None:  # noqa: ARG002 - the transaction of its input is another one
        return None


def by_letter(event: Event) -> str:
    return event.key * 2


class Poison(Stateless):
    """Some records are no JSON, some have no value: they are skipped, all others count."""

    name = "poison"

    def inputs(self, rng: random.Random) -> Sequence[Input]:
        good = super().inputs(rng)
        return [replace(one, value=rng.choice([b"{", None])) if rng.random() < 0.15 and not one.stays else one for one in good]

    def reference(self, world: World) -> list[Expected]:
        return self.reference_of([(record, source) for record, source in world.appended if len(record.value or b"") > 1])
