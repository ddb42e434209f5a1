"""Windows of a month: what they hold outlives crashes and quiet weeks, and is that of the brute-force reference."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import streamkit as sk
from tests.driver.test_windows import milliseconds
from tests.support.reference import Grid, Hops, Seen, summary
from tests.support.reference_sliding import Rolls, Slides, reference_of

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BEGIN_MS = 1_706_742_000_000  # 2024-01-31T23:00Z
GRACE_MS = 2 * DAY_MS


@dataclass(frozen=True)
class Months:
    """The months of Europe/Tallinn, by walking them from the first of 2024."""

    grace_ms: int = GRACE_MS

    def windows_of(self, at_ms: int) -> list[tuple[int, int]]:
        zone = ZoneInfo("Europe/Tallinn")
        firsts = [datetime(2024 + month // 12, month % 12 + 1, 1, tzinfo=zone) for month in range(24)]
        bounds = [round(first.timestamp() * 1000) for first in firsts]
        return [(start, end) for start, end in pairwise(bounds) if start <= at_ms < end]


WINDOWS: dict[str, tuple[Any, Any]] = {
    "tumbling": (lambda: sk.tumbling("30d", grace="2d"), Grid(30 * DAY_MS, 30 * DAY_MS, 0, GRACE_MS)),
    "hopping": (lambda: sk.hopping("30d", hop="1d", grace="2d"), Hops(30 * DAY_MS, DAY_MS, 0, GRACE_MS)),
    "month": (lambda: sk.calendar("month", tz="Europe/Tallinn", grace="2d"), Months()),
    "sliding": (lambda: sk.sliding("30d", grace="2d"), Slides(30 * DAY_MS, GRACE_MS)),
    "rolling": (lambda: sk.rolling("30d", grace="2d"), Rolls(30 * DAY_MS, GRACE_MS)),
}


class Event(sk.Model):
    at: int
    number: int
    key: str
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)


def records() -> list[Seen]:
    """A hundred days: one every nine hours or so, some three days back, every twentieth five weeks; three weeks without."""
    found = []
    for number in range(240):
        hours = number * 9 + (number * 7919) % 23 + (504 if number > 120 else 0)
        back = 35 * 24 if number % 20 == 19 else 72 if number % 7 == 6 else 0
        at_ms = BEGIN_MS + (hours - back) * HOUR_MS
        found.append(Seen(0, number, "abc"[number % 3], number % 17, at_ms))
    return found


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_of_a_month_outlive_crashes(name: str) -> None:
    window, grid = WINDOWS[name]
    seen = records()
    expected = reference_of(grid)(seen, grid, 12 * HOUR_MS, 1)
    assert 8 < len(expected.late) < 40
    app = sk.App("months")
    events = app.stream(EVENTS, event_time=sk.event_time("at", out_of_orderness="12h"))
    totals = events.key_by("key").window(window()).aggregate("totals", n=sk.count(), total=sk.sum("value"), high=sk.max("value"))
    totals.on_close().to(sk.Topic("results"))
    totals.late().to(sk.Topic("late"))
    with sk.TestDriver(app) as driver:
        for part in range(0, len(seen), 40):
            driver.send(EVENTS, *(Event(r.at_ms, r.number, r.key, r.value or 0) for r in seen[part : part + 40]), key="x")
            driver.advance(timedelta(days=15))
            held = sorted(map(repr, driver.store("totals")))
            driver.crash()
            driver.restart()
            assert sorted(map(repr, driver.store("totals"))) == held != []
        driver.end_of_input()
        late = [json.loads(record.value or b"")["number"] for record in driver.cluster.read("late")]
        rows = [json.loads(record.value or b"") for record in driver.cluster.read("results")]
    assert sorted(late) == expected.late
    found = {
        (row["key"], milliseconds(row["window_start"]), milliseconds(row["window_end"])): (row["n"], row["total"], row["high"])
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == {group: (*summary(values)[:2], summary(values)[3]) for group, values in expected.values.items()}
