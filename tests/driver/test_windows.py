"""Any cut into batches, any interleaving of partitions, crashes, faults and rebalances: always the windows and the late records
of the brute-force reference, each once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.support.examples import examples
from tests.support.reference import NEVER, Gap, Grid, Hops, Reference, Seen, closed, summary
from tests.support.reference_sliding import AnyWindow, Rolls, Slides, reference_of

EVENTS, RESULTS, LATE = "events", "results", "late"
BASE_MS = 1_586_937_600_000
OUT_OF_ORDERNESS_MS = 3


class Event(sk.Model):
    number: int
    key: str | None
    value: int | None
    at: int


GRIDS: dict[str, AnyWindow] = {
    "tumbling": Grid(10, 10),
    "tumbling-offset-grace": Grid(10, 10, -3, 7),
    "cumulating": Grid(12, 3),
    "cumulating-offset-grace": Grid(12, 4, 5, 6),
    "hopping": Hops(12, 3),
    "hopping-offset-grace": Hops(12, 4, 5, 6),
    "hopping-size-no-multiple": Hops(10, 4, 0, 3),
    "session": Gap(7),
    "session-grace": Gap(5, 6),
    "sliding": Slides(7),
    "sliding-grace": Slides(9, 4),
    "rolling": Rolls(8),
    "rolling-grace": Rolls(5, 12),
}


def make_app(grid: AnyWindow, keyed: str) -> sk.App:
    app = sk.App("windows")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    keyed_by = {"column": lambda: events.key_by("key"), "record-key": events.by_record_key, "globally": events.globally}[keyed]()
    durations = {"grace": f"{grid.grace_ms}ms"}
    if isinstance(grid, Grid | Hops):
        durations["offset"] = f"{grid.offset_ms}ms"
    if isinstance(grid, Gap):
        window = sk.session(f"{grid.gap_ms}ms", **durations)
    elif isinstance(grid, Slides | Rolls):
        window = (sk.sliding if isinstance(grid, Slides) else sk.rolling)(f"{grid.size_ms}ms", **durations)
    elif isinstance(grid, Hops):
        window = sk.hopping(f"{grid.size_ms}ms", f"{grid.hop_ms}ms", **durations)
    elif grid.step_ms == grid.size_ms:
        window = sk.tumbling(f"{grid.size_ms}ms", **durations)
    else:
        window = sk.cumulating(f"{grid.size_ms}ms", f"{grid.step_ms}ms", **durations)
    totals = keyed_by.window(window).aggregate(
        "agg", records=sk.count(), n=sk.count("value"), total=sk.sum("value"), low=sk.min("value"), high=sk.max("value")
    )
    totals.on_close().to(sk.Topic(RESULTS))
    totals.late().to(sk.Topic(LATE, value=Event))
    return app


@st.composite
def inputs(draw: st.DrawFn, keyed: str) -> tuple[int, list[Seen]]:
    """Partitions, and records in the order in which they are appended: mostly forward in time, some back, 5 % far back."""
    partitions = draw(st.integers(1, 3))
    steps = st.one_of(st.integers(0, 4), st.integers(0, 4), st.integers(-6, 8), st.integers(-40, -12))
    shape = st.tuples(st.integers(0, partitions - 1), st.sampled_from("abc"), st.one_of(st.none(), st.integers(-9, 9)), steps)
    clocks = dict.fromkeys(range(partitions), BASE_MS)
    records = []
    for number, (partition, letter, value, step) in enumerate(draw(st.lists(shape, max_size=50))):
        at_ms = clocks[partition] + step
        clocks[partition] = max(clocks[partition], at_ms)
        key = {"column": letter if letter != "c" else None, "record-key": f"{letter}{partition}", "globally": None}[keyed]
        records.append(Seen(partition, number, key, value, at_ms))
    return partitions, records


def append(rig: Rig, record: Seen) -> Callable[[], object]:
    value = json.dumps({"number": record.number, "key": record.key, "value": record.value, "at": record.at_ms}).encode()
    key = None if record.key is None else record.key.encode()
    return partial(rig.cluster.append, EVENTS, value, key, record.partition, BASE_MS)


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def results(rig: Rig, keyed: str) -> Counter[tuple[object, ...]]:
    """Committed results: (key, start, end, records, n, total, low, high, event time)."""
    found: Counter[tuple[object, ...]] = Counter()
    for record in rig.cluster.read(RESULTS):
        row = json.loads(record.value or b"")
        key = {"column": "key", "record-key": "key"}.get(keyed)
        group = (row[key] if key else None, milliseconds(row["window_start"]), milliseconds(row["window_end"]))
        found[(*group, row["records"], row["n"], row["total"], row["low"], row["high"])] += 1
    return found


def event_times(rig: Rig) -> Counter[tuple[bytes | None, int]]:
    """Every result as it was written, with its event time."""
    return Counter((record.value, record.timestamp) for record in rig.cluster.read(RESULTS))


def late_numbers(rig: Rig) -> list[int]:
    return sorted(json.loads(record.value or b"")["number"] for record in rig.cluster.read(LATE))


def expected_results(reference_values: dict[tuple[object, int, int], list[int | None]]) -> Counter[tuple[object, ...]]:
    rows: Counter[tuple[object, ...]] = Counter()
    for group, values in reference_values.items():
        records, total, low, high, _ = summary(values)
        rows[(*group, records, sum(value is not None for value in values), total, low, high)] += 1
    return rows


def task_watermark(reference: Reference, keyed: str, key: str | None) -> int:
    """What the task of this key knows of time: all partitions through a repartition topic, its own else."""
    if keyed == "record-key":
        assert key is not None
        return reference.watermarks[int(key[-1])]
    return min(reference.watermarks.values(), default=NEVER)


def check_open(rig: Rig, reference: Reference, grid: AnyWindow, keyed: str) -> None:
    """Before the end: closed are exactly the windows that the watermark has passed, and the state is what the others hold."""
    groups = list(reference.values)
    done = {g: reference.values[g] for g in groups if g in closed(reference, grid, task_watermark(reference, keyed, g[0]))}
    assert results(rig, keyed) == expected_results(done)
    assert late_numbers(rig) == sorted(reference.late)
    if isinstance(grid, Grid) and grid.step_ms != grid.size_ms:  # panes are put together when they close
        return
    held = {}
    for row in rig.store("agg"):
        start, end = (round(row[name].timestamp() * 1000) for name in ("window_start", "window_end"))
        held[row.get("key"), start, end] = (row.records, row.total, row.low, row.high)
    assert held == {g: summary(v)[:4] for g, v in reference.values.items() if g not in done}


def check_all(rig: Rig, reference: Reference, keyed: str) -> None:
    assert results(rig, keyed) == expected_results(reference.values)
    assert late_numbers(rig) == sorted(reference.late)
    assert rig.store("agg") == []
    assert rig.cluster.open_transactions() == []


def undisturbed(grid: AnyWindow, keyed: str, partitions: int, records: list[Seen]) -> Rig:
    """One worker, all records in one batch."""
    rig = Rig(make_app(grid, keyed), partitions)
    for record in records:
        append(rig, record)()
    rig.join("a")
    rig.settle()
    rig.end_of_input()
    return rig


@pytest.mark.parametrize("keyed", ["column", "record-key", "globally"])
@pytest.mark.parametrize("name", GRIDS)
@settings(bounded, max_examples=examples(25))
@given(data=st.data(), chaos=actions, dying=st.lists(crashes, max_size=3), max_records=st.sampled_from([1, 2, 7, 1000]))
def test_windows_and_late_records_are_those_of_the_reference(
    name: str, keyed: str, data: st.DataObject, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    grid = GRIDS[name]
    partitions, records = data.draw(inputs(keyed))
    reference = reference_of(grid)(records, grid, OUT_OF_ORDERNESS_MS, partitions)
    rig = Rig(make_app(grid, keyed), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    check_open(rig, reference, grid, keyed)
    end(rig, dying)
    check_all(rig, reference, keyed)
    assert event_times(rig) == event_times(undisturbed(grid, keyed, partitions, records))
