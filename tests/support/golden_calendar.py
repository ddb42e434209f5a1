"""Calendar windows for golden cases by brute force: from an instant outwards until the clock of the zone shows another unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP_MS = 15 * 60_000
"""All bounds lie on quarters of an hour: offsets of the zones that are tried do."""

_SHOWS: dict[str, Callable[[datetime], Any]] = {
    "hour": lambda local: (local.date(), local.hour, local.utcoffset()),  # the hour that comes twice is two
    "day": lambda local: local.date(),
    "week": lambda local: local.isocalendar()[:2],
    "sunday-week": lambda local: (local.date() + timedelta(days=1)).isocalendar()[:2],
    "month": lambda local: (local.year, local.month),
    "quarter": lambda local: (local.year, (local.month - 1) // 3),
}


@dataclass(frozen=True, slots=True)
class Calendar:
    """The units of a zone's calendar."""

    unit: str
    zone: str
    grace_ms: int = 0

    def windows_of(self, at_ms: int) -> list[tuple[int, int]]:
        return [_around(self.unit, self.zone, at_ms // _STEP_MS * _STEP_MS)]


@lru_cache(maxsize=4096)
def _around(unit: str, zone: str, quarter_ms: int) -> tuple[int, int]:
    def shows(ms: int) -> Any:
        return _SHOWS[unit]((_EPOCH + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone)))

    here = shows(quarter_ms)
    start = end = quarter_ms
    while shows(start - _STEP_MS) == here:
        start -= _STEP_MS
    while shows(end) == here:
        end += _STEP_MS
    return start, end
