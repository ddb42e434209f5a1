"""Hopping windows and sessions, simulated: panes that count in several windows, rows that merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamkit as sk
from streamkit.testing.checker import Expected, Verdict, final_results, frontiers, times
from streamkit.testing.sim.world import World
from tests.sim.load import OUT_OF_ORDERNESS_MS, Load
from tests.sim.pipelines import Pipeline, Windows
from tests.support.reference import Gap, Hops, Reference, sessions, summary


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


KINDS: dict[str, Pipeline] = {one.name: one for one in (Hopping(), Sessions())}
