"""Calendar windows against labels: two instants are in one window iff the zone's clock shows the same unit at both."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.eventtime.calendar import WEEKDAYS, CalendarWindow, Unit, Weekday
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME

ZONES = [
    "UTC", "Europe/Tallinn", "America/New_York", "America/Sao_Paulo", "America/Havana", "Asia/Kolkata", "Asia/Beirut",
    "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Africa/Monrovia",
]  # fmt: skip
UNITS: list[Unit] = ["hour", "day", "week", "month", "quarter", "year"]


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def clock(instant_ms: int, zone: str) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)).astimezone(ZoneInfo(zone)).isoformat()


def bounds(window: CalendarWindow, instant_ms: int) -> tuple[int, int]:
    end = int(window.pane_ends(np.array([instant_ms], np.int64))[0])
    return window.start_of(end), end


def label(instant_ms: int, window: CalendarWindow) -> Any:
    """What the clock on the wall shows, as far as the unit goes."""
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)).astimezone(ZoneInfo(window.zone))
    monday = date(2024, 1, 1).toordinal()
    return {
        "hour": lambda: (local.date(), local.hour, local.utcoffset()),
        "day": local.date,
        "week": lambda: (local.toordinal() - monday - WEEKDAYS.index(window.first_day)) // 7,
        "month": lambda: (local.year, local.month),
        "quarter": lambda: (local.year, (local.month + 2) // 3),
        "year": lambda: local.year,
    }[window.unit]()


instants = st.one_of(
    st.integers(ms("1900-01-01T00:00Z"), ms("2090-01-01T00:00Z")),
    st.integers(ms("2018-01-01T00:00Z"), ms("2019-06-01T00:00Z")),
    st.sampled_from([0, -1, MIN_TIMESTAMP, MAX_TIMESTAMP]),
)


@given(st.sampled_from(UNITS), st.sampled_from(ZONES), st.sampled_from(WEEKDAYS), instants)
def test_a_window_is_all_the_instants_with_one_label(unit: Unit, zone: str, first_day: Weekday, instant: int) -> None:
    window = CalendarWindow(unit=unit, zone=zone, first_day=first_day)
    start, end = bounds(window, instant)
    own = label(instant, window)
    assert start <= instant < end
    assert label(start, window) == own == label(end - 1, window)
    assert label(end, window) != own
    if start > MIN_TIMESTAMP:
        assert label(start - 1, window) != own
        assert window.next_end(start) == end
    assert window.previous_end(end) == start


@given(st.sampled_from(UNITS), st.sampled_from(["America/St_Johns", "America/Toronto", *ZONES]), instants)
def test_windows_lie_side_by_side(unit: Unit, zone: str, instant: int) -> None:
    window = CalendarWindow(unit=unit, zone=zone)
    start, end = bounds(window, instant)
    assert start <= instant < end
    assert bounds(window, start) == bounds(window, end - 1) == (start, end)
    assert bounds(window, end)[0] == end  # and so on: also behind the last record that there can be
    assert window.next_end(end) > end


@pytest.mark.parametrize("zone", ["America/St_Johns", "America/Toronto"])
def test_every_day_begins_where_the_one_before_ends(zone: str) -> None:
    window, end = CalendarWindow(unit="day", zone=zone), ms("1880-01-01T00:00Z")
    while end < ms("2030-01-01T00:00Z"):
        start, end = bounds(window, window.next_end(end))
        assert bounds(window, start) == bounds(window, end - 1) == (start, end)
        assert 22.5 * 3_600_000 <= end - start <= 25.5 * 3_600_000


@given(st.sampled_from(UNITS), st.sampled_from(ZONES), st.lists(instants, min_size=1, max_size=30))
def test_a_column_gives_what_each_value_gives(unit: Unit, zone: str, times: list[int]) -> None:
    window = CalendarWindow(unit=unit, zone=zone)
    assert window.pane_ends(np.array(times, np.int64)).tolist() == [bounds(window, time)[1] for time in times]


@given(st.sampled_from(UNITS), st.sampled_from(ZONES), st.integers(0, 10**8), instants)
def test_the_first_open_end_is_the_smallest_that_has_not_closed(unit: Unit, zone: str, grace: int, watermark: int) -> None:
    window = CalendarWindow(unit=unit, zone=zone, grace_ms=grace)
    end = int(window.first_open_end(np.array([watermark]))[0])
    assert window.closes_at(end) > watermark
    if watermark - grace > MIN_TIMESTAMP:
        assert watermark >= window.closes_at(window.previous_end(end))


@pytest.mark.parametrize(
    "unit, zone, at, start, end, hours",
    [
        ("day", "Europe/Tallinn", "2026-03-29T10:00Z", "2026-03-29T00:00:00+02:00", "2026-03-30T00:00:00+03:00", 23),
        ("day", "Europe/Tallinn", "2026-10-25T10:00Z", "2026-10-25T00:00:00+03:00", "2026-10-26T00:00:00+02:00", 25),
        ("day", "America/New_York", "2026-03-08T12:00Z", "2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00", 23),
        ("day", "America/New_York", "2026-11-01T12:00Z", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", 25),
        # midnight does not exist: the day begins at one
        ("day", "America/Sao_Paulo", "2018-11-04T10:00Z", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00", 23),
        # midnight comes twice: the day begins at the first
        ("day", "America/Havana", "2024-11-03T12:00Z", "2024-11-03T00:00:00-04:00", "2024-11-04T00:00:00-05:00", 25),
        # a date that does not exist: Samoa went over the date line
        ("day", "Pacific/Apia", "2011-12-30T09:00Z", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", 24),
        # midnight is skipped by a change that begins before it
        ("day", "America/Toronto", "1919-03-31T04:45Z", "1919-03-31T00:30:00-04:00", "1919-04-01T00:00:00-04:00", 23.5),
        ("day", "America/Toronto", "1919-03-31T04:29Z", "1919-03-30T00:00:00-05:00", "1919-03-31T00:30:00-04:00", 23.5),
        # a minute of the new day, an hour of the old one again, and midnight once more
        ("day", "America/St_Johns", "2010-11-07T02:00Z", "2010-11-06T00:00:00-02:30", "2010-11-07T00:00:00-02:30", 24),
        ("day", "America/St_Johns", "2010-11-07T03:00Z", "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30", 25),
        ("week", "America/St_Johns", "2010-11-07T03:00Z", "2010-11-01T00:00:00-02:30", "2010-11-08T00:00:00-03:30", 169),
        # the hour that comes twice
        ("hour", "Europe/Tallinn", "2026-10-25T00:30Z", "2026-10-25T03:00:00+03:00", "2026-10-25T03:00:00+02:00", 1),
        ("hour", "Europe/Tallinn", "2026-10-25T01:30Z", "2026-10-25T03:00:00+02:00", "2026-10-25T04:00:00+02:00", 1),
        # a change by half an hour cuts an hour
        ("hour", "Australia/Lord_Howe", "2026-10-03T15:40Z", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00", 0.5),
        ("hour", "Asia/Kolkata", "2026-01-01T00:40Z", "2026-01-01T06:00:00+05:30", "2026-01-01T07:00:00+05:30", 1),
        ("month", "Europe/Tallinn", "2026-03-31T22:00Z", "2026-04-01T00:00:00+03:00", "2026-05-01T00:00:00+03:00", 720),
        ("quarter", "UTC", "2024-02-29T12:00Z", "2024-01-01T00:00:00+00:00", "2024-04-01T00:00:00+00:00", 91 * 24),
        ("year", "UTC", "1969-12-31T23:59Z", "1969-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00", 365 * 24),
    ],
)
def test_known_windows(unit: Unit, zone: str, at: str, start: str, end: str, hours: float) -> None:
    found = bounds(CalendarWindow(unit=unit, zone=zone), ms(at))
    assert tuple(clock(instant, zone) for instant in found) == (start, end)
    assert found[1] - found[0] == hours * 3_600_000


def test_before_all_time_all_windows_are_open() -> None:
    assert CalendarWindow(unit="year", grace_ms=10).first_open_end(np.array([NO_TIME]))[0] <= ms("0102-01-01T00:00Z")
