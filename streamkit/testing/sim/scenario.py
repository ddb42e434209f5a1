"""What a simulated run is about: an app, its input, and what must come of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from streamkit.kafka.client import Headers
from streamkit.plan.topology import Topology
from streamkit.runtime.failures import OnError
from streamkit.testing.checker import Verdict

if TYPE_CHECKING:
    from streamkit.kafka.memory.cluster import LogRecord
    from streamkit.testing.sim.world import World


@dataclass(frozen=True, slots=True)
class Input:
    """A record that reaches a topic ``at`` so many seconds after the start. ``number`` is unique and stands in its payload;
    ``stays``: a shrunk run does not do without it."""

    at: float
    topic: str
    partition: int
    number: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0
    headers: Headers = field(default_factory=list)
    stays: bool = False


class Scenario(Protocol):
    """One pipeline with its workload and its reference."""

    name: str
    on_error: OnError

    def around(self) -> AbstractContextManager[None]:
        """Entered for each run: what this scenario needs of the process that it runs in."""
        ...

    def topology(self) -> Topology: ...
    def topics(self) -> Mapping[str, int]:
        """Source and sink topics, with their partition counts."""
        ...

    def inputs(self, rng: random.Random) -> Sequence[Input]:
        """In order of time."""
        ...

    def number_of(self, record: LogRecord) -> int | None:
        """The number of the input that a result names, if it was made of that one alone, with no repartition topic between."""
        ...

    def expected(self, world: World) -> int:
        """How many results the sinks must hold at the end."""
        ...

    def glance(self, world: World) -> Verdict:
        """What holds in the midst of a run, at a moment when no transaction is just being ended."""
        ...

    def check(self, world: World) -> Verdict:
        """All that must hold at the end (what holds for every app is checked by the world)."""
        ...
