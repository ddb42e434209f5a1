"""Windows over results of windows: nothing is lost, nothing is late, whatever happens on the way."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.support.examples import examples
from tests.support.reference import Grid, Seen, chained, windowed

BASE_MS = 1_586_937_600_000


class Event(sk.Model):
    number: int
    key: str
    value: int
    at: int


FIRST = {"tumbling": Grid(10, 10, 0, 7), "cumulating": Grid(12, 4, 0, 5), "no-grace": Grid(10, 10)}
HOPS = ("record-key", "globally", "column")


def make_app(first: Grid, second: Grid, hop: str) -> sk.App:
    app = sk.App("chained")
    events = app.stream(sk.Topic("events", key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    one = events.key_by("key").window(window(first)).aggregate("first", total=sk.sum("value"))
    results = one.on_close()
    keyed = {
        "record-key": results.by_record_key,
        "globally": lambda: results.globally(name="all"),
        "column": lambda: results.key_by("key", name="again"),
    }[hop]()
    two = keyed.window(window(second)).aggregate("second", n=sk.count(), total=sk.sum("total"))
    two.on_close().to(sk.Topic("results"))
    two.late().to(sk.Topic("late-results"))
    one.late().to(sk.Topic("late", value=Event))
    return app


def window(grid: Grid):
    durations = {"offset": f"{grid.offset_ms}ms", "grace": f"{grid.grace_ms}ms"}
    if grid.step_ms == grid.size_ms:
        return sk.tumbling(f"{grid.size_ms}ms", **durations)
    return sk.cumulating(f"{grid.size_ms}ms", f"{grid.step_ms}ms", **durations)


@st.composite
def inputs(draw: st.DrawFn) -> tuple[int, list[Seen]]:
    partitions = draw(st.integers(1, 3))
    steps = st.one_of(st.integers(0, 5), st.integers(0, 5), st.integers(-6, 8), st.integers(-40, -12))
    shape = st.tuples(st.integers(0, partitions - 1), st.sampled_from("abc"), st.integers(-9, 9), steps)
    clocks = dict.fromkeys(range(partitions), BASE_MS)
    records = []
    for number, (partition, key, value, step) in enumerate(draw(st.lists(shape, max_size=40))):
        at_ms = clocks[partition] + step
        clocks[partition] = max(clocks[partition], at_ms)
        records.append(Seen(partition, number, key, value, at_ms))
    return partitions, records


def appends(rig: Rig, records: list[Seen]):
    for r in records:
        value = json.dumps({"number": r.number, "key": r.key, "value": r.value, "at": r.at_ms}).encode()
        yield partial(rig.cluster.append, "events", value, r.key.encode(), r.partition, BASE_MS)


def results(rig: Rig, *, with_key: bool) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for record in rig.cluster.read("results"):
        row = json.loads(record.value or b"")
        bounds = (round(datetime.fromisoformat(row[name]).timestamp() * 1000) for name in ("window_start", "window_end"))
        found[(row["key"] if with_key else None, *bounds, row["n"], row["total"])] += 1
    return found


def expected(records: list[Seen], first: Grid, second: Grid, partitions: int, *, with_key: bool) -> Counter[tuple[object, ...]]:
    groups: dict[tuple[object, int, int], tuple[int, int]] = {}
    values = windowed(records, first, 3, partitions).values
    for (key, start, stop), (n, total) in chained(values, second).items():
        group = (key if with_key else None, start, stop)
        before = groups.get(group, (0, 0))
        groups[group] = (before[0] + n, before[1] + total)
    return Counter((*group, *sums) for group, sums in groups.items())


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("name", FIRST)
@settings(bounded, max_examples=examples(20))
@given(
    data=st.data(),
    chaos=actions,
    dying=st.lists(crashes, max_size=2),
    grace_ms=st.sampled_from([0, 4]),
    max_records=st.sampled_from([1, 3, 1000]),
)
def test_windows_over_results_of_windows_lose_nothing(
    name: str, hop: str, data: st.DataObject, chaos: list[Action], dying: list[CrashIn], grace_ms: int, max_records: int
) -> None:
    first = FIRST[name]
    second = Grid(first.size_ms * 2, first.size_ms * 2, 0, grace_ms)
    partitions, records = data.draw(inputs())
    rig = Rig(make_app(first, second, hop), partitions, max_records=max_records)
    play(rig, chaos, list(appends(rig, records)))
    end(rig, dying)
    with_key = hop != "globally"
    assert results(rig, with_key=with_key) == expected(records, first, second, partitions, with_key=with_key)
    assert [record.value for record in rig.cluster.read("late-results")] == []
    late = sorted(json.loads(record.value or b"")["number"] for record in rig.cluster.read("late"))
    assert late == sorted(windowed(records, first, 3, partitions).late)


@pytest.mark.parametrize("hop", HOPS)
@settings(bounded, max_examples=examples(25))
@given(data=st.data(), chaos=actions, offset_ms=st.integers(0, 4), max_records=st.sampled_from([1, 3, 1000]))
def test_on_a_finer_grid_than_the_first_results_do_not_depend_on_what_happened(
    hop: str, data: st.DataObject, chaos: list[Action], offset_ms: int, max_records: int
) -> None:
    """The event time of a result that only the end of input releases decides its second window: no batch cut may change it."""
    app = make_app(FIRST["no-grace"], Grid(5, 5, offset_ms), hop)
    partitions, records = data.draw(inputs())
    calm, wild = Rig(app, partitions), Rig(app, partitions, max_records=max_records)
    play(calm, [], list(appends(calm, records)))
    play(wild, chaos, list(appends(wild, records)))
    for rig in (calm, wild):
        rig.end_of_input()
        assert [record.value for record in rig.cluster.read("late-results")] == []
    assert results(calm, with_key=hop != "globally") == results(wild, with_key=hop != "globally")
