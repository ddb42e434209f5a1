"""Further families of golden cases, drawn as in golden.py: windows that lie where the records are, count and global windows,
calendars across clock changes, every aggregator, updates, windows over windows.

Each is computed from the references with the *number* of a record as its value, so that they say which records a window holds;
what an aggregator makes of those is computed here.
"""

from __future__ import annotations

import functools
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.support.golden import COLUMNS, Kind, fixed, records_of, text, value_of
from tests.support.golden_calendar import Calendar
from tests.support.reference import Gap, Grid, Hops, Seen, summary
from tests.support.reference_sliding import Rolls, Slides, reference_of
from tests.support.reference_timeless import Counting, all_of_time, counted

Held = list[tuple[Any, int | None, int | None, list[Seen]]]
"""Key, start and end of each window, and the records that it holds; no bounds for the global window."""

_HOUR_MS = 3_600_000
_TALLINN_SPRING, _TALLINN_AUTUMN = 1_711_846_800_000, 1_729_990_800_000  # 2024-03-31T01:00Z, 2024-10-27T01:00Z: the changes
_NEW_YORK_SPRING, _NEW_YORK_AUTUMN = 1_710_054_000_000, 1_730_613_600_000  # 2024-03-10T07:00Z, 2024-11-03T06:00Z


@dataclass(frozen=True, slots=True)
class Family:
    """Cases of one kind of window: how many, keyed how, of which pipeline, around which instant."""

    kind: Kind
    count: int
    keyed: tuple[str, ...] = ("record-key", "column", "globally")
    pipeline: str = "windowed"
    base_ms: int | None = None
    options: tuple[tuple[str, Any], ...] = ()


def _calendar(unit: str, zone: str, step_ms: int, grace_h: int = 0) -> Kind:
    window = {"kind": "calendar", "unit": unit.removeprefix("sunday-"), "tz": zone}
    window |= {"first_day": "sunday"} if unit.startswith("sunday") else {}
    window |= {"grace": f"{grace_h}h"} if grace_h else {}
    return Kind(window, lambda: Calendar(unit, zone, grace_h * _HOUR_MS), step_ms)


def _records_kind(kind: str, size_s: int, grace_s: int = 0) -> Kind:
    made = Slides if kind == "sliding" else Rolls
    window = {"kind": kind, "size": f"{size_s}s"} | ({"grace": f"{grace_s}s"} if grace_s else {})
    return Kind(window, lambda: made(1000 * size_s, 1000 * grace_s), 2_000)


def _count(size: int, every: int | None = None) -> Kind:
    window: dict[str, Any] = {"kind": "count_window", "size": size} | ({} if every is None else {"every": every})
    return Kind(window, lambda: Counting(size, every or size), 2_000)


_GLOBAL = Kind({"kind": "global_window"}, lambda: None, 2_000)
_SESSION = Kind({"kind": "session", "gap": "6s", "grace": "3s"}, lambda: Gap(6_000, 3_000), 3_000)
_TUMBLING = fixed("tumbling", 10, 10, 0, 4)
_HOPPING = fixed("hopping", 12, 4, 1, 5)
_CUMULATING = fixed("cumulating", 12, 3, 0, 4)
_KEYED = ("record-key",)  # behind key_by the order between partitions is not given

FAMILIES: dict[str, Family] = {
    "sliding": Family(_records_kind("sliding", 7), 3),
    "sliding-grace": Family(_records_kind("sliding", 5, 4), 3),
    "rolling": Family(_records_kind("rolling", 7), 3),
    "rolling-grace": Family(_records_kind("rolling", 5, 4), 3),
    "hours-tallinn-spring": Family(_calendar("hour", "Europe/Tallinn", _HOUR_MS // 3), 2, base_ms=_TALLINN_SPRING - _HOUR_MS),
    "hours-tallinn-autumn": Family(_calendar("hour", "Europe/Tallinn", _HOUR_MS // 3, 1), 2, base_ms=_TALLINN_AUTUMN - _HOUR_MS),
    "hours-new-york-spring": Family(
        _calendar("hour", "America/New_York", _HOUR_MS // 3, 1), 2, base_ms=_NEW_YORK_SPRING - _HOUR_MS
    ),
    "hours-new-york-autumn": Family(_calendar("hour", "America/New_York", _HOUR_MS // 3), 2, base_ms=_NEW_YORK_AUTUMN - _HOUR_MS),
    "days-tallinn-autumn": Family(
        _calendar("day", "Europe/Tallinn", 6 * _HOUR_MS, 3), 2, base_ms=_TALLINN_AUTUMN - 30 * _HOUR_MS
    ),
    "days-new-york-spring": Family(
        _calendar("day", "America/New_York", 6 * _HOUR_MS), 2, base_ms=_NEW_YORK_SPRING - 30 * _HOUR_MS
    ),
    "days-new-york-autumn": Family(
        _calendar("day", "America/New_York", 6 * _HOUR_MS), 2, base_ms=_NEW_YORK_AUTUMN - 30 * _HOUR_MS
    ),
    "weeks-tallinn": Family(_calendar("week", "Europe/Tallinn", 40 * _HOUR_MS), 1, base_ms=_TALLINN_SPRING - 300 * _HOUR_MS),
    "sunday-weeks-new-york": Family(
        _calendar("sunday-week", "America/New_York", 40 * _HOUR_MS, 20), 1, base_ms=_NEW_YORK_AUTUMN - 300 * _HOUR_MS
    ),
    "months-tallinn": Family(_calendar("month", "Europe/Tallinn", 200 * _HOUR_MS), 1, base_ms=_TALLINN_AUTUMN - 1000 * _HOUR_MS),
    "quarters-new-york": Family(_calendar("quarter", "America/New_York", 700 * _HOUR_MS, 48), 1),
    "count": Family(_count(3), 2, _KEYED),
    "count-overlapping": Family(_count(4, 2), 2, _KEYED),
    "count-every-one": Family(_count(3, 1), 1, _KEYED),
    "count-with-gaps": Family(_count(2, 3), 1, _KEYED),
    "global": Family(_GLOBAL, 2, ("record-key", "column")),
    "aggregators-tumbling": Family(_TUMBLING, 2, pipeline="aggregated"),
    "aggregators-hopping": Family(_HOPPING, 3, pipeline="aggregated"),
    "aggregators-cumulating": Family(_CUMULATING, 2, pipeline="aggregated"),
    "aggregators-session": Family(_SESSION, 3, pipeline="aggregated"),
    "aggregators-sliding": Family(_records_kind("sliding", 6, 2), 2, pipeline="aggregated"),
    "aggregators-rolling": Family(_records_kind("rolling", 6, 2), 2, pipeline="aggregated"),
    "aggregators-days": Family(
        _calendar("day", "Europe/Tallinn", 6 * _HOUR_MS), 1, pipeline="aggregated", base_ms=_TALLINN_SPRING
    ),
    "aggregators-count": Family(_count(4), 2, _KEYED, pipeline="aggregated"),
    "aggregators-count-overlapping": Family(_count(4, 2), 1, _KEYED, pipeline="aggregated"),
    "aggregators-global": Family(_GLOBAL, 1, ("record-key",), pipeline="aggregated"),
    "updates-tumbling": Family(_TUMBLING, 2, options=(("updates", "commit"),)),
    "updates-hopping": Family(_HOPPING, 2, options=(("updates", "commit"),)),
    "updates-cumulating": Family(_CUMULATING, 1, options=(("updates", "record"),)),
    "updates-by-record": Family(_HOPPING, 1, options=(("updates", "record"),)),
    "updates-by-the-clock": Family(_TUMBLING, 1, options=(("updates", "10s"),)),
    "updates-session": Family(_SESSION, 3, options=(("updates", "commit"),)),
    "updates-session-by-record": Family(_SESSION, 1, options=(("updates", "record"),)),
    "updates-sliding": Family(_records_kind("sliding", 6, 3), 2, options=(("updates", "commit"),)),
    "updates-rolling": Family(_records_kind("rolling", 6, 3), 2, options=(("updates", "commit"),)),
    "updates-rolling-by-record": Family(_records_kind("rolling", 6, 3), 1, options=(("updates", "record"),)),
    "updates-global": Family(_GLOBAL, 1, ("record-key",), options=(("updates", "commit"),)),
    "updates-days": Family(
        _calendar("day", "America/New_York", 6 * _HOUR_MS, 6), 1, base_ms=_NEW_YORK_SPRING, options=(("updates", "commit"),)
    ),
    "chained-tumbling": Family(_TUMBLING, 2, options=(("second", {"kind": "tumbling", "size": "20s", "grace": "3s"}),)),
    "chained-cumulating": Family(
        fixed("tumbling", 5, 5, 0, 7), 2, options=(("second", {"kind": "cumulating", "size": "20s", "step": "5s"}),)
    ),
    "chained-hopping": Family(
        fixed("tumbling", 4, 4, 0, 6), 2, options=(("second", {"kind": "hopping", "size": "12s", "hop": "4s", "grace": "2s"}),)
    ),
}
_SECOND: dict[str, Grid | Hops] = {
    "chained-tumbling": Grid(20_000, 20_000, 0, 3_000),
    "chained-cumulating": Grid(20_000, 5_000),
    "chained-hopping": Hops(12_000, 4_000, 0, 2_000),
}


def drawn_more() -> Iterator[tuple[str, dict[str, Any]]]:
    for family_name, family in FAMILIES.items():
        for number in range(family.count):
            name = f"drawn-{family_name}-{number}"
            yield name, _case(name, family_name, family, number)


def _case(name: str, family_name: str, family: Family, number: int) -> dict[str, Any]:
    rng, kind = random.Random(name), family.kind
    keyed = family.keyed[number % len(family.keyed)]
    partitions, out_of_orderness_ms = rng.randint(1, 3), rng.choice([0, 1, 2]) * kind.step_ms
    base_ms = family.base_ms if family.base_ms is not None else -4 * kind.step_ms  # around 1970
    records = [
        replace(record, number=index, at_ms=record.at_ms // 4 * 4 + record.partition)  # no two partitions have the same moment
        for index, record in enumerate(records_of(rng, partitions, keyed, base_ms, kind.step_ms))
    ]
    held, late = _held(records, kind, out_of_orderness_ms, partitions)
    has_bounds = kind.window["kind"] != "global_window"
    bounds = ["window_start", "window_end"] if has_bounds else []
    outputs = {"windowed": _windowed, "aggregated": _aggregated}[family.pipeline]
    results = []
    for key, start, end, inside in held:
        row = [] if keyed == "globally" else [key]
        row += [text(start), text(end)] if start is not None and end is not None else []
        results.append([*row, *outputs(inside).values()])
    columns = [*([] if keyed == "globally" else ["key"]), *bounds, *outputs(records).keys()]
    output: dict[str, list[Any]] = {"results": results}
    options = dict(family.options)
    if "updates" in options:
        output["updates"] = results
    if family_name in _SECOND:
        output |= {"again": _again(held, _SECOND[family_name], keyed), "late-again": []}
    if family.pipeline == "windowed" and late is not None:
        output["late"] = [value_of(records[index]) for index in late]
    pipeline = {"id": family.pipeline, "window": kind.window, "keyed": keyed, "out_of_orderness": f"{out_of_orderness_ms}ms"}
    return {
        "about": f"Drawn from its name: {name}",
        "pipeline": pipeline | options,
        "partitions": partitions,
        "columns": columns,
        **({"tolerance": {"middle": 0.01, "variance": 1e-9}} if family.pipeline == "aggregated" else {}),
        "input": [["events", r.partition, r.key, value_of(r)] for r in records],
        "output": output,
    }


def _held(records: Sequence[Seen], kind: Kind, out_of_orderness_ms: int, partitions: int) -> tuple[Held, list[int] | None]:
    """Which records each window holds, and the late ones (None: there can be none)."""
    numbered = [replace(record, value=record.number) for record in records]
    reference = kind.reference()
    if reference is None:
        found: dict[Any, list[int | None]] = all_of_time(numbered)
        return [(key, None, None, _of(records, numbers)) for key, numbers in found.items()], None
    if isinstance(reference, Counting):
        results, _, _ = counted(numbered, reference, out_of_orderness_ms)
        return [(each.key, each.start_ms, each.end_ms, _of(records, each.numbers)) for each in results], None
    windows = reference_of(reference)(numbered, reference, out_of_orderness_ms, partitions)
    return [(*window, _of(records, numbers)) for window, numbers in windows.values.items()], windows.late


def _of(records: Sequence[Seen], numbers: Sequence[int | None]) -> list[Seen]:
    return [records[number] for number in numbers if number is not None]


def _again(held: Held, grid: Grid | Hops, keyed: str) -> list[dict[str, Any]]:
    """A window over the results: the time of a result is the end of its window - 1, as far as windows are concerned."""
    groups: dict[tuple[Any, int, int], list[int | None]] = {}
    for key, _, end, inside in held:
        assert end is not None
        for start, second_end in grid.windows_of(end - 1):
            groups.setdefault((key, start, second_end), []).append(_windowed(inside)["total"])
    return [
        {**({} if keyed == "globally" else {"key": key}), "window_start": text(start), "window_end": text(end)}
        | {"n": len(totals), "total": summary(totals)[1]}
        for (key, start, end), totals in groups.items()
    ]


# ---- what an aggregator makes of records


def _windowed(inside: Sequence[Seen]) -> dict[str, Any]:
    values = [record.value for record in inside]
    count, total, low, high, mean = summary(values)
    there = sum(value is not None for value in values)
    names = COLUMNS[3:]
    return dict(zip(names, (count, there, total, low, high, None if mean is None else float(mean)), strict=True))


def _aggregated(inside: Sequence[Seen]) -> dict[str, Any]:
    by_time = [(each.at_ms, each.number, each.value) for each in inside if each.value is not None]
    by_time.sort(key=lambda each: each[:2])
    values = [value for _, _, value in by_time]
    ranked = sorted(values)
    largest: Callable[[int, int], int] = lambda one, other: max(one, other, key=lambda value: (abs(value), value))  # noqa: E731 - typed
    return {
        "first": values[0] if values else None,
        "last": values[-1] if values else None,
        "listed": values[:5],
        "distinct": len(set(values)),
        "approximate": len(set(values)),
        "least": float(ranked[0]) if ranked else None,
        "middle": float(ranked[-(-len(ranked) // 2) - 1]) if ranked else None,
        "most": float(ranked[-1]) if ranked else None,
        "variance": float(statistics.variance(values)) if len(values) > 1 else None,
        "top": ranked[::-1][:2],
        "reduced": functools.reduce(largest, values) if values else None,
        "shifted": str(functools.reduce(lambda state, value: state ^ (value + 100), values, 0)),
    }
