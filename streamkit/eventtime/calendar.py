"""Windows of a calendar in a time zone: hours, days, weeks, months, quarters, years, also across clock changes.

A day begins with its first instant in the zone, so the days of the clock changes have 23 and 25 hours, and one whose midnight
does not exist begins when the clock was put forward. Where the clock is put back over midnight the new day has begun: what it
shows of the old one a second time belongs to the new. An hour is an hour of the clock at one offset from UTC: an hour that a
clock change cuts is cut there, and one that comes twice is two windows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from streamkit.errors import DeclarationError
from streamkit.eventtime.watermark import MIN_TIMESTAMP
from streamkit.eventtime.windows import Int64s, Window

Unit = Literal["hour", "day", "week", "month", "quarter", "year"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[str, ...] = get_args(Weekday)

_MOST_DAYS: dict[str, int] = {"hour": 1, "day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LAST = (datetime(9998, 12, 30, tzinfo=UTC) - _EPOCH) // _MS  # results of long windows come after the last records


@dataclass(frozen=True, slots=True)
class CalendarWindow(Window):
    """One unit of the calendar in an IANA time zone; ``first_day`` is the weekday with which a week begins."""

    kind: ClassVar[str] = "calendar"

    unit: Unit = "day"
    zone: str = "UTC"
    first_day: Weekday = "monday"

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        if self.unit not in get_args(Unit):
            raise DeclarationError(f"calendar window: unit must be one of {', '.join(get_args(Unit))}, got {self.unit!r}")
        if self.first_day not in WEEKDAYS:
            raise DeclarationError(f"calendar window: first_day must be one of {', '.join(WEEKDAYS)}, got {self.first_day!r}")
        _zone(self.zone)

    def __str__(self) -> str:
        first = (f"first_day={self.first_day}",) if self.unit == "week" and self.first_day != "monday" else ()
        return self._text(self.unit, f"tz={self.zone}", *first)

    @property
    def identity(self) -> list[Any]:
        return [self.kind, self.unit, self.zone, self.first_day if self.unit == "week" else ""]

    @property
    def longest_ms(self) -> int:
        return (_MOST_DAYS[self.unit] + 1) * 86_400_000  # a day more: clocks are put back by hours

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        """As many calendar computations as there are windows among the timestamps."""
        known = np.clip(timestamps, MIN_TIMESTAMP, _LAST)  # a watermark before all time is before all windows
        ends = np.empty(len(known), np.int64)
        left = np.arange(len(known))
        while len(left):
            start, end = self._bounds(int(known[left[0]]))
            here = (known[left] >= start) & (known[left] < end)
            ends[left[here]] = end
            left = left[~here]
        return ends

    def start_of(self, window_end: int) -> int:
        return self._bounds(window_end - 1)[0]

    def previous_end(self, window_end: int) -> int:
        return self.start_of(window_end)

    def _bounds(self, instant_ms: int) -> tuple[int, int]:
        return _bounds(self.unit, self.zone, WEEKDAYS.index(self.first_day), instant_ms)


def _zone(name: str) -> ZoneInfo:
    with suppress(ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        if name != "localtime":  # whatever it is on this machine, on the next one it may be another
            return ZoneInfo(name)
    raise DeclarationError(
        f"calendar window: {name!r} is not a time zone that this machine knows; expected an IANA name such as 'Europe/Tallinn'"
    )


def _begin(day: date, zone: ZoneInfo) -> int:
    """The first instant of a day: of two midnights the first, and of one that the clock skipped the moment of the change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    begin = _ms(midnight)
    if _local(begin, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return begin
    after = _local(begin, zone).utcoffset()
    return _first(lambda ms: _local(ms, zone).utcoffset() == after, _ms(midnight.replace(fold=1)), begin)


def _ms(local: datetime) -> int:
    return (local.astimezone(UTC) - _EPOCH) // _MS


def _local(instant_ms: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH + instant_ms * _MS).astimezone(zone)


@lru_cache(maxsize=4096)
def _bounds(unit: Unit, name: str, first_day: int, instant_ms: int) -> tuple[int, int]:
    zone = _zone(name)
    local = _local(instant_ms, zone)
    if unit == "hour":
        return _hour(local, instant_ms, zone)
    first, following = _DATES[unit](local.date(), first_day)
    while (end := _begin(following, zone)) <= instant_ms:  # the clock was put back over midnight
        first, following = _DATES[unit](following, first_day)
    return _begin(first, zone), end


def _hour(local: datetime, instant_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The part of the clock's hour around an instant in which the offset from UTC is the instant's own."""
    into_ms = (local - local.replace(minute=0, second=0, microsecond=0)) // _MS
    start, end = instant_ms - into_ms, instant_ms - into_ms + 3_600_000
    offset = local.utcoffset()

    def same(ms: int) -> bool:
        return _local(ms, zone).utcoffset() == offset

    if not same(start):
        start = _first(same, start, instant_ms)
    if not same(end - 1):
        end = _first(lambda ms: not same(ms), instant_ms, end - 1)
    return start, end


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first millisecond from which it holds: it does not at low, it does at high."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _day(day: date, _: int) -> tuple[date, date]:
    return day, day + timedelta(days=1)


def _week(day: date, first_day: int) -> tuple[date, date]:
    start = day - timedelta(days=(day.weekday() - first_day) % 7)
    return start, start + timedelta(days=7)


def _months(day: date, length: int) -> tuple[date, date]:
    months = day.year * 12 + (day.month - 1) // length * length
    end = months + length
    return date(months // 12, months % 12 + 1, 1), date(end // 12, end % 12 + 1, 1)


_DATES: dict[str, Callable[[date, int], tuple[date, date]]] = {
    "day": _day,
    "week": _week,
    "month": lambda day, _: _months(day, 1),
    "quarter": lambda day, _: _months(day, 3),
    "year": lambda day, _: _months(day, 12),
}
