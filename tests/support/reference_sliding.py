"""What sliding and rolling windows must give, by brute force: every record against every window, from the written rules alone.

Shares nothing with the engine. A watermark is that of reference.py: the largest event time of a partition - out_of_orderness - 1.
"Passed" is the last instant that windows which had closed when a record came may have ended with: watermark - grace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.reference import NEVER, Gap, Reference, Seen, Windows, sessions, windowed


@dataclass(frozen=True, slots=True)
class Slides:
    """Of each distinct time t of a key [t - size, t], and [t + 1, t + 1 + size] if anything lies in it, both ends included."""

    size_ms: int
    grace_ms: int = 0


@dataclass(frozen=True, slots=True)
class Rolls:
    """Of each distinct time t of a key [t - size, t], both ends included."""

    size_ms: int
    grace_ms: int = 0


AnyWindow = Windows | Gap | Slides | Rolls
Found = tuple[int, int, int | None]
"""What is kept of a record: its time, the last instant that was passed when it came, its value."""


def sliding(records: Iterable[Seen], slides: Slides, out_of_orderness_ms: int, partitions: int) -> Reference:
    """A record counts in the windows that hold it and end behind what had been passed when it came; it is late if there can be
    none. It defines two: the one that ends with it, or if that had been passed with the first instant that had not, and the one
    that begins right behind it."""
    size = slides.size_ms
    found, by_key = _judged(records, slides.grace_ms, size, out_of_orderness_ms, partitions)
    for key, kept in by_key.items():
        lasts = {max(at, passed + 1) for at, passed, _ in kept} | {at + 1 + size for at, _, _ in kept}
        for last in lasts:
            inside = [value for at, passed, value in kept if last - size <= at <= last and last > passed]
            if inside:
                found.values[key, last - size, last + 1] = inside
    return found


def rolling(records: Iterable[Seen], rolls: Rolls, out_of_orderness_ms: int, partitions: int) -> Reference:
    """A record is late if its own time had been passed when it came; each time that is left has one window."""
    size = rolls.size_ms
    found, by_key = _judged(records, rolls.grace_ms, 0, out_of_orderness_ms, partitions)
    for key, kept in by_key.items():
        for last in {at for at, _, _ in kept}:
            found.values[key, last - size, last + 1] = [value for at, _, value in kept if last - size <= at <= last]
    return found


def _judged(
    records: Iterable[Seen], grace_ms: int, open_for_ms: int, out_of_orderness_ms: int, partitions: int
) -> tuple[Reference, dict[Any, list[Found]]]:
    """The late records, and by key those that are not: some window that holds them, the last one ``open_for_ms`` after their
    time, ends behind what had been passed."""
    found = Reference(watermarks=dict.fromkeys(range(partitions), NEVER))
    by_key: dict[Any, list[Found]] = {}
    for record in records:
        before = found.watermarks[record.partition]
        passed = before - grace_ms
        if record.at_ms + open_for_ms <= passed:
            found.late.append(record.number)
        else:
            by_key.setdefault(record.key, []).append((record.at_ms, passed, record.value))
        found.watermarks[record.partition] = max(before, record.at_ms - out_of_orderness_ms - 1)
    return found, by_key


def reference_of(window: AnyWindow) -> Callable[..., Reference]:
    """What computes windows of that kind: (records, window, out_of_orderness_ms, partitions) -> Reference."""
    match window:
        case Slides():
            return sliding
        case Rolls():
            return rolling
        case Gap():
            return sessions
        case _:
            return windowed
