"""Writes golden cases from the brute-force reference: `python -m tests.support.golden`. What is there already stays as it is.

A case is drawn from its own name, so that writing it again gives the same file; the reference shares nothing with the engine
(reference.py, and plain calendar arithmetic here). Cases made by hand lie beside them and have no seed in their name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.reference import Gap, Grid, Hops, Seen, Windows, sessions, summary, windowed

CASES = Path(__file__).parents[1] / "golden" / "cases"
COLUMNS = ["key", "window_start", "window_end", "records", "n", "total", "low", "high", "mean"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BASE_MS = 1_711_846_800_000  # 2024-03-31T01:00Z, the moment of the change to summer time in Europe


@dataclass(frozen=True, slots=True)
class CalendarDays:
    """The days of a zone: found by walking its midnights one by one."""

    zone: str
    grace_ms: int = 0

    def windows_of(self, at_ms: int) -> list[tuple[int, int]]:
        day = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(self.zone)).date()
        return [(self._midnight(day), self._midnight(day + timedelta(days=1)))]

    def _midnight(self, day: Any) -> int:
        return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Kind:
    """A window as the case names it, as the reference has it, and the milliseconds of a typical step of event time."""

    window: dict[str, Any]
    reference: Callable[[], Any]
    step_ms: int


def fixed(kind: str, size_s: int, step_s: int, offset_s: int, grace_s: int) -> Kind:
    window = {"kind": kind, "size": f"{size_s}s"}
    if kind != "tumbling":
        window["hop" if kind == "hopping" else "step"] = f"{step_s}s"
    window |= {name: f"{value}s" for name, value in (("offset", offset_s), ("grace", grace_s)) if value}
    made = Hops if kind == "hopping" else Grid
    ms = [1000 * value for value in (size_s, step_s, offset_s, grace_s)]
    reference: Windows = made(*ms)
    return Kind(window, lambda: reference, 1000 * max(step_s // 3, 1))


KINDS: dict[str, Kind] = {
    "tumbling": fixed("tumbling", 10, 10, 0, 0),
    "tumbling-grace": fixed("tumbling", 10, 10, 0, 7),
    "tumbling-offset": fixed("tumbling", 10, 10, -3, 2),
    "cumulating": fixed("cumulating", 12, 3, 0, 0),
    "cumulating-grace": fixed("cumulating", 12, 4, 5, 6),
    "hopping": fixed("hopping", 12, 3, 0, 0),
    "hopping-grace": fixed("hopping", 12, 4, 5, 6),
    "hopping-no-multiple": fixed("hopping", 10, 4, 0, 3),
    "hopping-by-one": fixed("hopping", 5, 1, 0, 0),
    "hopping-no-overlap": fixed("hopping", 6, 6, 2, 0),
    "session": Kind({"kind": "session", "gap": "7s"}, lambda: Gap(7_000), 3_000),
    "session-grace": Kind({"kind": "session", "gap": "5s", "grace": "6s"}, lambda: Gap(5_000, 6_000), 3_000),
    "days-tallinn": Kind(
        {"kind": "calendar", "unit": "day", "tz": "Europe/Tallinn"}, lambda: CalendarDays("Europe/Tallinn"), 5 * 3_600_000
    ),
    "days-new-york-grace": Kind(
        {"kind": "calendar", "unit": "day", "tz": "America/New_York", "grace": "6h"},
        lambda: CalendarDays("America/New_York", 6 * 3_600_000),
        5 * 3_600_000,
    ),
}
_SEEDS = 4
_KEYED = ("record-key", "column", "globally", "column")


def text(at_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat().replace("+00:00", "Z")


def case(name: str, kind: Kind, number: int) -> dict[str, Any]:
    rng = random.Random(name)
    partitions, keyed = rng.randint(1, 3), _KEYED[number % len(_KEYED)]
    out_of_orderness_ms = rng.choice([0, 1, 2]) * kind.step_ms
    grid = kind.reference()
    base = _BASE_MS if number % 2 else -3 * kind.step_ms  # every other case lies around 1970
    records = list(records_of(rng, partitions, keyed, base, kind.step_ms))
    expected = sessions if isinstance(grid, Gap) else windowed
    found = expected(records, grid, out_of_orderness_ms, partitions)
    rows = []
    for (key, start, end), values in found.values.items():
        count, total, low, high, mean = summary(values)
        there = sum(value is not None for value in values)
        rows.append([key, text(start), text(end), count, there, total, low, high, None if mean is None else float(mean)])
    late = set(found.late)
    columns = COLUMNS if keyed != "globally" else COLUMNS[1:]
    return {
        "about": f"Drawn from its name: {name}",
        "pipeline": {
            "id": "windowed",
            "window": kind.window,
            "keyed": keyed,
            "out_of_orderness": f"{out_of_orderness_ms}ms",
        },
        "partitions": partitions,
        "columns": columns,
        "input": [["events", r.partition, r.key, value_of(r)] for r in records],
        "output": {
            "results": [row if keyed != "globally" else row[1:] for row in rows],
            "late": [value_of(r) for r in records if r.number in late],
        },
    }


def value_of(record: Seen) -> dict[str, Any]:
    return {"at": text(record.at_ms), "key": record.key, "value": record.value}


def records_of(rng: random.Random, partitions: int, keyed: str, base_ms: int, step_ms: int) -> Iterator[Seen]:
    """Mostly forward in time, some back, a few far back; some on the very same moment."""
    clocks = [base_ms] * partitions
    for number in range(24):
        partition = rng.randrange(partitions)
        far = rng.random()
        step = rng.choice([0, 1, 1, 2]) * step_ms + rng.choice([0, 0, 1, step_ms // 2])
        if far < 0.15:
            step = -rng.randint(1, 4) * step_ms
        elif far < 0.25:
            step = -rng.randint(5, 12) * step_ms
        at_ms = clocks[partition] + step
        clocks[partition] = max(clocks[partition], at_ms)
        letter = rng.choice("abc")
        key = {"record-key": f"{letter}{partition}", "column": None if letter == "c" else letter, "globally": None}[keyed]
        yield Seen(partition, number, key, rng.choice([None, *range(-9, 10)]), at_ms)


def drawn() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind_name, kind in KINDS.items():
        for number in range(_SEEDS):
            name = f"drawn-{kind_name}-{number}"
            yield name, case(name, kind, number)
    from tests.support.golden_more import drawn_more  # it draws with what is here

    yield from drawn_more()


def to_text(content: dict[str, Any]) -> str:
    """JSON with a line for each record and row."""
    lines = []
    for name, value in content.items():
        if name == "input":
            body = "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
        elif name == "output":
            topics = (
                f'    "{topic}": [\n' + ",\n".join(f"      {json.dumps(row)}" for row in rows) + "\n    ]"
                for topic, rows in value.items()
            )
            body = "{\n" + ",\n".join(topics) + "\n  }"
        else:
            body = json.dumps(value)
        lines.append(f'  "{name}": {body}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    for case_name, content in drawn():
        (CASES / f"{case_name}.json").write_text(to_text(content))
