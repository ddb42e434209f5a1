"""Sketches, top_k, reduce and users' own aggregates through whole apps: whatever the cuts, interleavings, crashes and rebalances,
the results are those of brute force over the records of each window; and what is done where one cannot be added."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.support.reference import Gap, Grid, Hops, Seen, Windows, sessions, windowed

EVENTS, RESULTS = "events", "results"
BASE_MS = 1_586_937_600_000


class Event(sk.Model):
    number: int
    key: str
    value: int | None
    word: str | None
    at: int


class Words(sk.Model):
    count: int = 0
    seen: set[str] = msgspec.field(default_factory=set)


def add_word(state: Words, word: str) -> Words:
    state.count += 1
    state.seen.add(word)
    return state


def merge_words(one: Words, other: Words) -> Words:
    one.count += other.count
    one.seen |= other.seen
    return one


def all_words(state: Words) -> list[Any]:
    return [state.count, *sorted(state.seen)]


def longer(one: str, other: str) -> str:
    return max(one, other, key=lambda word: (len(word), word))


def later(one: Event, other: Event) -> Event:
    return max(one, other, key=lambda event: (event.at, event.number))


def add_row(state: int, event: Event) -> int:
    return state + event.number


words = sk.aggregator("words", init=Words, add=add_word, merge=merge_words, result=all_words)
numbers = sk.aggregator("numbers", init=int, add=add_row, merge=lambda one, other: one + other)
OUTPUTS: dict[str, Any] = {
    "distinct": sk.approx_count_distinct("word"),
    "middle": sk.median("value"),
    "parts": sk.quantiles("value", [0, 0.25, 1]),
    "rows": sk.top_k(2, by="value"),
    "names": sk.top_k(2, by="value", x="word"),
    "longest": sk.reduce(longer, "word"),
    "latest": sk.reduce(later),
    "words": words("word"),
    "numbers": numbers(),
}
WINDOWS: dict[str, Windows | Gap] = {
    "tumbling": Grid(10, 10, -3, 7),
    "cumulating": Grid(12, 4, 5, 6),
    "hopping": Hops(10, 4, 0, 3),
    "session": Gap(5, 6),
}


def make_app(grid: Windows | Gap) -> sk.App:
    app = sk.App("aggregators")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    grace = f"{grid.grace_ms}ms"
    if isinstance(grid, Gap):
        window = sk.session(f"{grid.gap_ms}ms", grace=grace)
    elif isinstance(grid, Hops):
        window = sk.hopping(f"{grid.size_ms}ms", f"{grid.hop_ms}ms", grace=grace)
    elif grid.step_ms == grid.size_ms:
        window = sk.tumbling(f"{grid.size_ms}ms", offset=f"{grid.offset_ms}ms", grace=grace)
    else:
        window = sk.cumulating(f"{grid.size_ms}ms", f"{grid.step_ms}ms", offset=f"{grid.offset_ms}ms", grace=grace)
    events.key_by("key").window(window).aggregate("agg", **OUTPUTS).on_close().to(sk.Topic(RESULTS))
    return app


@st.composite
def inputs(draw: st.DrawFn) -> tuple[int, list[Seen]]:
    """Partitions, and records in the order in which they are appended; each carries its whole event as its value."""
    partitions = draw(st.integers(1, 3))
    steps = st.one_of(st.integers(0, 4), st.integers(-6, 8), st.integers(-30, -12))
    values = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
    shape = st.tuples(
        st.integers(0, partitions - 1), st.sampled_from("ab"), values, st.none() | st.text("xyz", max_size=3), steps
    )
    clocks = dict.fromkeys(range(partitions), BASE_MS)
    records = []
    for number, (at, key, value, word, step) in enumerate(draw(st.lists(shape, max_size=40))):
        at_ms = clocks[at] + step
        clocks[at] = max(clocks[at], at_ms)
        event: Any = Event(number, key, value, word, at_ms)
        records.append(Seen(at, number, key, event, at_ms))
    return partitions, records


def append(rig: Rig, record: Seen) -> Callable[[], object]:
    return partial(rig.cluster.append, EVENTS, msgspec.json.encode(record.value), None, record.partition, BASE_MS)


def expected(events: list[Event]) -> dict[str, Any]:
    """What the outputs must be, from the records of one window."""
    found = [event.word for event in events if event.word is not None]
    values = sorted(event.value for event in events if event.value is not None)
    ranked = sorted((event for event in events if event.value is not None), key=_by_rank)

    def quantile(share: float) -> Any:
        exact = values[max(-int(-share * len(values) // 1) - 1, 0)]
        return exact if share in (0, 1) else pytest.approx(exact, rel=0.01)

    return {
        "distinct": len(set(found)),
        "middle": quantile(0.5) if values else None,
        "parts": [float(values[0]), quantile(0.25), float(values[-1])] if values else None,
        "rows": [msgspec.to_builtins(event) for event in ranked[:2]],
        "names": [event.word for event in ranked if event.word is not None][:2],
        "longest": max(found, key=lambda word: (len(word), word), default=None),
        "latest": msgspec.to_builtins(max(events, key=lambda event: (event.at, event.number))),
        "words": [len(found), *sorted(set(found))],
        "numbers": sum(event.number for event in events),
    }


def _by_rank(event: Event) -> tuple[int, int, int]:
    assert event.value is not None
    return -event.value, event.at, event.number  # the encoded row begins with the number, which is below 128


def results(rig: Rig) -> dict[tuple[str, int, int], dict[str, Any]]:
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for record in rig.cluster.read(RESULTS):
        row = json.loads(record.value or b"")
        bounds = (round(datetime.fromisoformat(row.pop(name)).timestamp() * 1000) for name in ("window_start", "window_end"))
        group = (row.pop("key"), *bounds)
        assert group not in found
        found[group] = row
    return found


@pytest.mark.parametrize("name", WINDOWS)
@settings(bounded, max_examples=20)
@given(data=st.data(), chaos=actions, dying=st.lists(crashes, max_size=3), max_records=st.sampled_from([1, 2, 7, 1000]))
def test_results_are_those_of_brute_force(
    name: str, data: st.DataObject, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    grid = WINDOWS[name]
    partitions, records = data.draw(inputs())
    reference = (sessions if isinstance(grid, Gap) else windowed)(records, grid, 3, partitions)
    rig = Rig(make_app(grid), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    end(rig, dying)
    wanted: Any = {group: expected(events) for group, events in reference.values.items()}  # type: ignore[arg-type]  # whole events
    assert results(rig) == wanted
