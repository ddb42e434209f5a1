"""What windows must give, by brute force: every record against every window, from the written rules alone.

Shares nothing with the engine. A record is late for a window iff the watermark of its own partition before it (largest event time
- out_of_orderness - 1) had passed the window's end + grace; it counts in every window that holds it and for which it is not late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

NEVER = -(10**18)
"""The watermark of a partition in which nothing was seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One input record, in the order of its partition."""

    partition: int
    number: int
    key: Any
    value: int | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows [start, end) of one span: they begin at offset + n * size, and end at every step up to the size."""

    size_ms: int
    step_ms: int
    offset_ms: int = 0
    grace_ms: int = 0

    def windows_of(self, at_ms: int) -> list[tuple[int, int]]:
        """Every window that holds this time: tried one after the other, from well before it."""
        start = self.offset_ms + ((at_ms - abs(self.offset_ms)) // self.size_ms - 2) * self.size_ms
        while start + self.size_ms <= at_ms:
            start += self.size_ms
        ends = range(start + self.step_ms, start + self.size_ms + 1, self.step_ms)
        return [(start, end) for end in ends if start <= at_ms < end]


@dataclass(frozen=True, slots=True)
class Hops:
    """Windows [start, start + size) that begin at offset + n * hop."""

    size_ms: int
    hop_ms: int
    offset_ms: int = 0
    grace_ms: int = 0

    @property
    def step_ms(self) -> int:
        """From the end of a window to that of the next."""
        return self.hop_ms

    def windows_of(self, at_ms: int) -> list[tuple[int, int]]:
        """Every window that holds this time: tried one after the other, from well before it."""
        start = self.offset_ms + ((at_ms - self.size_ms - abs(self.offset_ms)) // self.hop_ms - 2) * self.hop_ms
        found = []
        while start <= at_ms:
            if at_ms < start + self.size_ms:
                found.append((start, start + self.size_ms))
            start += self.hop_ms
        return found


Windows = Grid | Hops


class HasGrace(Protocol):
    """Any window."""

    @property
    def grace_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Gap:
    """Sessions: records of a key that follow each other by less than the gap."""

    gap_ms: int
    grace_ms: int = 0


@dataclass(slots=True)
class Reference:
    """(key, start, end) -> the values that count there; the numbers of the late records; each partition's last watermark."""

    values: dict[tuple[Any, int, int], list[int | None]] = field(default_factory=dict)
    late: list[int] = field(default_factory=list)
    watermarks: dict[int, int] = field(default_factory=dict)

    def rows(self) -> dict[tuple[Any, int, int], tuple[int, int | None, int | None, int | None, Fraction | None]]:
        """(key, start, end) -> (records, sum, min, max, mean) of the values that are not null."""
        return {group: summary(values) for group, values in self.values.items()}


def summary(values: Sequence[int | None]) -> tuple[int, int | None, int | None, int | None, Fraction | None]:
    """Records, and sum, min, max, mean of those that are not null; null over nothing."""
    there = [value for value in values if value is not None]
    if not there:
        return len(values), None, None, None, None
    return len(values), sum(there), min(there), max(there), Fraction(sum(there), len(there))


Rule = Callable[[Sequence[Seen]], int]
"""The watermark after these records, which are all of one partition up to a moment; the largest that it ever said counts."""


def windowed(
    records: Iterable[Seen], grid: Windows, out_of_orderness_ms: int, partitions: int, rule: Rule | None = None
) -> Reference:
    """All input of all partitions; each partition's records in their order. With a ``rule`` the watermark is its."""
    found = Reference(watermarks=dict.fromkeys(range(partitions), NEVER))
    before_it: dict[int, list[Seen]] = {}
    for record in records:
        before = found.watermarks[record.partition]
        counted = False
        for start, end in grid.windows_of(record.at_ms):
            if before < end + grid.grace_ms - 1:
                found.values.setdefault((record.key, start, end), []).append(record.value)
                counted = True
        if not counted:
            found.late.append(record.number)
        before_it.setdefault(record.partition, []).append(record)
        after = record.at_ms - out_of_orderness_ms - 1 if rule is None else rule(before_it[record.partition])
        found.watermarks[record.partition] = max(before, after)
    return found


def sessions(records: Iterable[Seen], gap: Gap, out_of_orderness_ms: int, partitions: int) -> Reference:
    """First every record is judged by its own partition: late, if its time + gap had been passed with grace; what is behind the
    point that had been passed counts there. Then each key's times are sorted and cut at the gaps."""
    found = Reference(watermarks=dict.fromkeys(range(partitions), NEVER))
    kept: dict[Any, list[tuple[int, int | None]]] = {}
    for record in records:
        before = found.watermarks[record.partition]
        passed = before - gap.grace_ms + 1
        if record.at_ms + gap.gap_ms <= passed:
            found.late.append(record.number)
        else:
            kept.setdefault(record.key, []).append((max(record.at_ms, passed), record.value))
        found.watermarks[record.partition] = max(before, record.at_ms - out_of_orderness_ms - 1)
    for key, times in kept.items():
        span: list[tuple[int, int | None]] = []
        for at_ms, value in sorted(times, key=lambda one: one[0]):
            if span and at_ms - span[-1][0] >= gap.gap_ms:
                found.values[key, span[0][0], span[-1][0] + gap.gap_ms] = [value for _, value in span]
                span = []
            span.append((at_ms, value))
        found.values[key, span[0][0], span[-1][0] + gap.gap_ms] = [value for _, value in span]
    return found


def closed(reference: Reference, grid: HasGrace, watermark: int) -> dict[tuple[Any, int, int], list[int | None]]:
    """The windows that a watermark has closed."""
    return {group: values for group, values in reference.values.items() if watermark >= group[2] + grid.grace_ms - 1}


def chained(
    first: Mapping[tuple[Any, int, int], Sequence[int | None]], grid: Windows
) -> dict[tuple[Any, int, int], tuple[int, int]]:
    """A window over results of windows: (key, start, end) -> (results in it, sum of their sums). A result's time is its end - 1.
    No result is late."""
    groups: dict[tuple[Any, int, int], tuple[int, int]] = {}
    for (key, _, end), values in first.items():
        for start2, end2 in grid.windows_of(end - 1):
            count, total = groups.get((key, start2, end2), (0, 0))
            groups[key, start2, end2] = (count + 1, total + sum(value for value in values if value is not None))
    return groups
