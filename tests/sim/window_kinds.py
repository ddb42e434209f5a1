"""Hopping, session and count windows, simulated: panes that count in several windows, rows that merge, are withdrawn or leave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamkit as sk
from streamkit.testing.checker import Expected, Found, Source, Verdict, final_results, fold, frontiers, results, state, times
from streamkit.testing.sim.scenario import Input
from streamkit.testing.sim.world import World
from tests.sim.load import OUT_OF_ORDERNESS_MS, Event, Load, milliseconds
from tests.sim.pipelines import Pipeline, Windows, at
from tests.support.reference import Gap, Hops, Reference, sessions, summary
from tests.support.reference_timeless import Counting, counted


@dataclass
class Hopping(Windows):
    """A size that is no multiple of the hop; many records that are late for some of their windows."""

    name = "hopping"
    grid: Any = field(default_factory=lambda: Hops(1_200, 500, offset_ms=100, grace_ms=100))
    load: Load = field(default_factory=lambda: Load(late=0.3))

    def window(self) -> Any:
        grid = self.grid
        durations = {"offset": f"{grid.offset_ms}ms", "grace": f"{grid.grace_ms}ms"}
        return sk.hopping(f"{grid.size_ms}ms", f"{grid.hop_ms}ms", **durations)


@dataclass
class Sessions(Windows):
    """Sessions that records out of order put together, behind a repartition topic."""

    name = "sessions"
    grid: Any = field(default_factory=lambda: Gap(400, grace_ms=200))

    def window(self) -> Any:
        return sk.session(f"{self.grid.gap_ms}ms", grace=f"{self.grid.grace_ms}ms")

    def _sessions(self, world: World) -> tuple[Reference, dict[Any, list[int | None]]]:
        """What there is, and what of it is closed."""
        seen = self.seen(world)
        found = sessions(seen, self.grid, OUT_OF_ORDERNESS_MS, 1 + max((one.partition for one in seen), default=0))
        return found, self.closed(found)

    def reference(self, world: World) -> list[Expected]:
        sources = {source.number: source for _, source in world.appended}
        found, closed = self._sessions(world)
        late = [Expected(("late", number), number, None, (sources[number],)) for number in found.late]
        return [Expected(group, summary(values)[:4], (group[0],)) for group, values in self._by_end(closed)] + late

    @staticmethod
    def _by_end(closed: dict[Any, list[int | None]]) -> list[tuple[Any, list[int | None]]]:
        return sorted(closed.items(), key=lambda item: item[0][2])

    def check(self, world: World) -> Verdict:
        verdict = final_results(self.reference(world), self.found(world))
        partitions = range(self.load.partitions)
        verdict += frontiers(
            [
                (f"agg/{partition} {name}", value)
                for partition in partitions
                for time in times(self.changelog(world, "agg", partition))
                for name, value in time._asdict().items()
            ]
        )
        return verdict


@dataclass
class SessionUpdates(Sessions):
    """Sessions that are told while they are open: a table of the last rows, without those that were withdrawn, has them all."""

    name = "session-updates"
    grid: Any = field(default_factory=lambda: Gap(400, grace_ms=200))

    def write(self, totals: Any) -> None:
        totals.on_update().to(sk.Topic("results"))

    def expected(self, world: World) -> int:  # how many are told depends on when commits fall
        return len(self._sessions(world)[0].values)

    def check(self, world: World) -> Verdict:
        seen, _ = self._sessions(world)
        must = [Expected((key, start), (end, *summary(values)[:4])) for (key, start, end), values in seen.values.items()]
        return results(must, self._table(world))

    def _table(self, world: World) -> Iterator[Found]:
        table: dict[Any, Found] = {}
        for record in world.cluster.read("results"):
            row = json.loads(record.value or b"")
            key, start, end = self.group(row, record)
            table.pop((key, start), None)
            if dict(record.headers or ())["streamkit-result"] != b"withdrawn":
                table[key, start] = Found((key, start), (end, *self.content(row)), at(record))
        return iter(table.values())


@dataclass
class Counts(Windows):
    """Count windows, of which the key's own partition is the order."""

    name = "counts"
    counting: Counting = field(default_factory=lambda: Counting(4, 2))
    keyed: str = "record-key"

    def app(self) -> sk.App:
        app = sk.App(self.name)
        time = sk.event_time("at", out_of_orderness=f"{OUT_OF_ORDERNESS_MS}ms")
        events = app.stream(*(sk.Topic(topic, key=str, value=Event) for topic in self.load.topics), event_time=time)
        windows = events.by_record_key().window(sk.count_window(self.counting.size, self.counting.every))
        totals = windows.aggregate(
            "agg", records=sk.count(), total=sk.sum("value"), low=sk.min("value"), numbers=sk.collect("number", limit=9)
        )
        totals.on_close().to(sk.Topic("results"))
        return app

    def reference(self, world: World) -> list[Expected]:
        sources = {source.number: source for _, source in world.appended}
        found, _, _ = counted(self.seen(world), self.counting, OUT_OF_ORDERNESS_MS)
        return [
            Expected(
                (one.key, tuple(sorted(one.numbers))),
                (one.start_ms, one.end_ms, one.event_time_ms, *summary(one.values)[:3]),
                one.key,
                tuple(sources[number] for number in one.numbers),
            )
            for one in found
        ]

    def found(self, world: World) -> Iterator[Found]:
        for record in world.cluster.read("results"):
            row = json.loads(record.value or b"")
            bounds = milliseconds(row["window_start"]), milliseconds(row["window_end"])
            content = (*bounds, record.timestamp, row["records"], row["total"], row["low"])
            yield Found((row["key"], tuple(sorted(row["numbers"]))), content, at(record))

    def check(self, world: World) -> Verdict:
        verdict = results(self.reference(world), self.found(world))
        verdict += self.check_state(world, world.appended)
        return verdict

    def check_state(self, world: World, taken: Sequence[tuple[Input, Source]]) -> Verdict:  # noqa: ARG002 - panes are put together later
        return Verdict()


@dataclass
class FullCounts(Counts):
    """Side by side: a key leaves the state with the record that fills its window."""

    name = "full-counts"
    counting: Counting = field(default_factory=lambda: Counting(3, 3))

    def check_state(self, world: World, taken: Sequence[tuple[Input, Source]]) -> Verdict:
        _, left, _ = counted(self.seen_of(taken), self.counting, OUT_OF_ORDERNESS_MS)
        must = {key: (len(one.numbers), one.start_ms, one.end_ms - 1, *summary(one.values)[:3]) for key, one in left.items()}
        held: dict[Any, Any] = {}
        for partition in range(self.load.partitions):
            for (_, key), cells in fold(self.changelog(world, "agg", partition)).items():
                held[key] = (*cells[1:4], *cells[4:7])
        return state(must, {key: cells for key, cells in held.items() if cells[0]}, where="store 'agg'")


KINDS: dict[str, Pipeline] = {one.name: one for one in (Hopping(), Sessions(), SessionUpdates(), Counts(), FullCounts())}
