"""What count windows and the global window must give, by brute force from the written rules alone.

Shares nothing with the engine. The records of a key are taken in the order of their list; for count windows that is the order of
the log that its task reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.reference import NEVER, Seen


@dataclass(frozen=True, slots=True)
class Counting:
    """A result for every ``every``-th record of a key, over its last ``size``."""

    size: int
    every: int


@dataclass(frozen=True, slots=True)
class Counted:
    """One result: the numbers of its records, their values, the bounds and the event time of the result."""

    key: Any
    numbers: tuple[int, ...]
    values: tuple[int | None, ...]
    start_ms: int
    end_ms: int
    event_time_ms: int


def counted(
    records: Iterable[Seen], counting: Counting, out_of_orderness_ms: int
) -> tuple[list[Counted], dict[Any, Counted], dict[int, int]]:
    """The results in the order in which their last records come; what each key's next window holds by the end, if anything; and
    each partition's last watermark."""
    by_key: dict[Any, list[Seen]] = {}
    watermarks: dict[int, int] = {}
    results = []
    for record in records:
        before = watermarks.get(record.partition, NEVER)
        watermarks[record.partition] = max(before, record.at_ms - out_of_orderness_ms - 1)
        seen = by_key.setdefault(record.key, [])
        seen.append(record)
        if len(seen) % counting.every == 0:
            results.append(_counted(seen[-counting.size :], before))
    left = {}
    for key, seen in by_key.items():
        closes_with = next(n for n in range(len(seen), len(seen) + counting.every) if n % counting.every == 0)
        inside = seen[max(0, closes_with - counting.size) :]
        if closes_with > len(seen) and inside:
            left[key] = _counted(inside, NEVER)
    return results, left, watermarks


def _counted(inside: list[Seen], watermark: int) -> Counted:
    times = [one.at_ms for one in inside]
    return Counted(
        inside[-1].key,
        tuple(one.number for one in inside),
        tuple(one.value for one in inside),
        min(times),
        max(times) + 1,
        max(*times, watermark + 1),
    )


def all_of_time(records: Iterable[Seen]) -> dict[Any, list[int | None]]:
    """Key -> the values of all its records."""
    found: dict[Any, list[int | None]] = {}
    for record in records:
        found.setdefault(record.key, []).append(record.value)
    return found
