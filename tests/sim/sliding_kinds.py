"""Sliding and rolling windows, simulated: entries that count in many windows, some of them only in some."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamkit as sk
from streamkit.testing.sim.world import World
from tests.sim.load import OUT_OF_ORDERNESS_MS, Load
from tests.sim.pipelines import Pipeline
from tests.sim.window_kinds import Sessions
from tests.support.reference import Reference
from tests.support.reference_sliding import Rolls, Slides, reference_of


@dataclass
class Sliding(Sessions):
    """Many records that are late for some of their windows."""

    name = "sliding"
    grid: Any = field(default_factory=lambda: Slides(400, grace_ms=100))
    load: Load = field(default_factory=lambda: Load(late=0.3))

    def window(self) -> Any:
        return sk.sliding(f"{self.grid.size_ms}ms", grace=f"{self.grid.grace_ms}ms")

    def _sessions(self, world: World) -> tuple[Reference, dict[Any, list[int | None]]]:
        seen = self.seen(world)
        partitions = 1 + max((one.partition for one in seen), default=0)
        found = reference_of(self.grid)(seen, self.grid, OUT_OF_ORDERNESS_MS, partitions)
        return found, self.closed(found)


@dataclass
class Rolling(Sliding):
    """Behind a repartition topic, as sliding ones."""

    name = "rolling"
    grid: Any = field(default_factory=lambda: Rolls(600, grace_ms=200))

    def window(self) -> Any:
        return sk.rolling(f"{self.grid.size_ms}ms", grace=f"{self.grid.grace_ms}ms")


KINDS: dict[str, Pipeline] = {one.name: one for one in (Sliding(), Rolling())}
