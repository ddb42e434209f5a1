"""What happened in a run, in order: for readers, for the hash that proves determinism, and for coverage."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from streamkit.testing.sim.scheduler import Scheduler


class Entry(NamedTuple):
    at: float
    actor: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.at:9.3f}  {self.actor:<8} {self.what:<18} {self.detail}".rstrip()


class Trace:
    """Everything that the scheduler let happen. ``coverage`` counts faults that struck, requests, and what the engine told."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.entries: list[Entry] = []
        self.coverage: Counter[str] = Counter()
        self._scheduler = scheduler

    def add(self, actor: str, what: str, detail: str = "") -> None:
        self.entries.append(Entry(self._scheduler.now, actor, what, detail))

    def digest(self) -> str:
        """The same for two runs in which the same happened at the same times."""
        text = "\n".join(f"{at!r} {actor} {what} {detail}" for at, actor, what, detail in self.entries)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def text(self, *, requests: bool = True, last: int | None = None) -> str:
        """For readers; without the single requests it tells the story only."""
        shown = [entry for entry in self.entries if requests or entry.what != "request"]
        return "\n".join(map(str, shown if last is None else shown[-last:]))


class Teller:
    """An `Instrument` of one process: what the engine tells goes into the trace."""

    def __init__(self, trace: Trace, actor: str) -> None:
        self._trace = trace
        self._actor = actor

    def event(self, name: str, /, **fields: Any) -> None:
        self._trace.coverage[f"event:{name}"] += 1
        self._trace.add(self._actor, name, _short(fields))


def _short(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in fields.items() if name != "stack")


def _value(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
