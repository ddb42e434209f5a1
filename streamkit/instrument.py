"""Optional hooks by which the engine tells what happens: for logs, metrics and tests. No hook may raise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Instrument(Protocol):
    """One method: an event with its name (kebab-case) and fields."""

    def event(self, name: str, /, **fields: Any) -> None: ...


class NoInstrument:
    """Hears nothing."""

    def event(self, name: str, /, **fields: Any) -> None:
        """Does nothing."""


class Recorder:
    """Keeps every event, for tests.

    >>> recorder = Recorder()
    >>> recorder.event("commit", partitions=2)
    >>> recorder.of("commit")
    [{'partitions': 2}]
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def event(self, name: str, /, **fields: Any) -> None:
        self.events.append((name, fields))

    def of(self, name: str) -> list[Mapping[str, Any]]:
        return [fields for found, fields in self.events if found == name]
