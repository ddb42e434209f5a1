"""Sketches, top_k, reduce and users' own aggregates through whole apps: whatever the cuts, interleavings, crashes and rebalances,
the results are those of brute force over the records of each window; and what is done where one cannot be added."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import AggregateError, StateError
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.support.examples import examples
from tests.support.reference import Gap, Grid, Hops, Seen
from tests.support.reference_sliding import AnyWindow, Rolls, Slides, reference_of

EVENTS, RESULTS, UPDATES = "events", "results", "updates"
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
WINDOWS: dict[str, AnyWindow] = {
    "tumbling": Grid(10, 10, -3, 7),
    "cumulating": Grid(12, 4, 5, 6),
    "hopping": Hops(10, 4, 0, 3),
    "session": Gap(5, 6),
    "sliding": Slides(7, 4),
    "rolling": Rolls(7, 4),
}


def make_app(grid: AnyWindow) -> sk.App:
    app = sk.App("aggregators")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    grace = f"{grid.grace_ms}ms"
    if isinstance(grid, Gap):
        window = sk.session(f"{grid.gap_ms}ms", grace=grace)
    elif isinstance(grid, Slides | Rolls):
        window = (sk.sliding if isinstance(grid, Slides) else sk.rolling)(f"{grid.size_ms}ms", grace=grace)
    elif isinstance(grid, Hops):
        window = sk.hopping(f"{grid.size_ms}ms", f"{grid.hop_ms}ms", grace=grace)
    elif grid.step_ms == grid.size_ms:
        window = sk.tumbling(f"{grid.size_ms}ms", offset=f"{grid.offset_ms}ms", grace=grace)
    else:
        window = sk.cumulating(f"{grid.size_ms}ms", f"{grid.step_ms}ms", offset=f"{grid.offset_ms}ms", grace=grace)
    outputs = events.key_by("key").window(window).aggregate("agg", **OUTPUTS)
    outputs.on_close().to(sk.Topic(RESULTS))
    if isinstance(grid, Grid | Hops):
        outputs.on_update().to(sk.Topic(UPDATES))
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


def results(rig: Rig, topic: str = RESULTS) -> dict[tuple[str, int, int], dict[str, Any]]:
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for record in rig.cluster.read(topic):
        row = json.loads(record.value or b"")
        bounds = (round(datetime.fromisoformat(row.pop(name)).timestamp() * 1000) for name in ("window_start", "window_end"))
        group = (row.pop("key"), *bounds)
        assert group not in found or topic == UPDATES
        found[group] = row
    return found


@pytest.mark.parametrize("name", WINDOWS)
@settings(bounded, max_examples=examples(12))
@given(data=st.data(), chaos=actions, dying=st.lists(crashes, max_size=3), max_records=st.sampled_from([1, 2, 7, 1000]))
def test_results_are_those_of_brute_force(
    name: str, data: st.DataObject, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    grid = WINDOWS[name]
    partitions, records = data.draw(inputs())
    reference = reference_of(grid)(records, grid, 3, partitions)
    rig = Rig(make_app(grid), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    end(rig, dying)
    wanted: Any = {group: expected(events) for group, events in reference.values.items()}  # type: ignore[arg-type]  # whole events
    assert results(rig) == wanted
    if isinstance(grid, Grid | Hops):
        assert results(rig, UPDATES) == wanted  # the last ones


SALES: sk.Topic[str, Any] = sk.Topic("sales", key=str)


def sales_app(window: Any, **outputs: Any) -> sk.App:
    app = sk.App("shop")
    sales = app.stream(SALES, event_time=sk.event_time("at"))
    sales.by_record_key().window(window).aggregate("agg", **outputs).on_close().to(sk.Topic("results"))
    return app


def sale(second: int, amount: Any, **more: Any) -> sk.Row:
    return sk.Row(at=f"2024-01-01T00:00:{second:02}Z", amount=amount, **more)


def written(driver: sk.TestDriver) -> list[dict[str, Any]]:
    rows = [json.loads(record.value or b"") for record in driver.cluster.read("results")]
    return [{name: value for name, value in row.items() if not name.startswith("window_")} for row in rows]


def no_odd(one: int, other: int) -> int:
    if other % 2:
        raise ValueError(f"{other} is odd")
    return one + other


def test_an_error_of_a_users_function_names_the_record() -> None:
    with sk.TestDriver(sales_app(sk.tumbling("1m"), even=sk.reduce(no_odd, "amount"))) as driver:
        driver.send(SALES, sale(1, 2), key="a")
        with pytest.raises(AggregateError, match=r"sales-0@1: .*key 'a': ValueError: 7 is odd"):
            driver.send(SALES, sale(2, 7), key="a")
    for at_once in (False, True):
        with sk.TestDriver(sales_app(sk.tumbling("1m"), even=sk.reduce(no_odd, "amount")), on_error="skip") as driver:
            rows = [sale(second, amount) for second, amount in enumerate([2, 7, 4, "x", None, 6, 9])]
            for batch in [rows] if at_once else [[row] for row in rows]:
                driver.send(SALES, *batch, key="a")
            driver.end_of_input()
            assert written(driver) == [{"key": "a", "even": 12}]


class Sale(sk.Model):
    at: datetime
    amount: int


@pytest.mark.parametrize("typed", [False, True], ids=["untyped", "typed"])
@pytest.mark.parametrize(
    "output",
    [
        sk.sum("amount"),
        sk.mean("amount"),
        sk.reduce(lambda one, other: one + other, "amount"),
        sk.aggregator("sum", init=int, add=lambda s, v: s + v, merge=lambda a, b: a + b)("amount"),
    ],
    ids=["sum", "mean", "reduce", "aggregator"],
)
def test_a_window_whose_parts_cannot_be_put_together_is_the_only_one_without_a_result(output: Any, typed: bool) -> None:  # noqa: FBT001 - parameters
    """It stopped the service, whatever on_error said."""
    topic: sk.Topic[str, Any] = sk.Topic("sales", key=str, value=Sale) if typed else SALES
    app = sk.App("shop")
    keyed = app.stream(topic, event_time=sk.event_time("at")).by_record_key().window(sk.hopping("20s", hop="10s"))
    keyed.aggregate("agg", total=output).on_close().to(sk.Topic("results"))
    rows = [sale(1, 2**62), sale(11, 2**62), sale(21, -6)]
    reason = (
        r"sales-0@2: the result of key 'a' in the window from \d+ to \d+ \(milliseconds\) cannot be had: "
        r".*(64 bits|9223372036854775807)"
    )
    with sk.TestDriver(app) as driver:
        for row in rows:
            driver.send_raw("sales", msgspec.json.encode(row), key=b"a", settle=False)
        with pytest.raises(AggregateError, match=reason):
            driver.settle()
    with sk.TestDriver(app, on_error="skip") as driver:
        for row in rows:
            driver.send_raw("sales", msgspec.json.encode(row), key=b"a")
            driver.send_raw("sales", msgspec.json.encode({**row, "amount": 1}), key=b"b")
            driver.crash()
            driver.restart()
        driver.end_of_input()
        mean = str(output).startswith("mean")
        expected = [2.0**62, (2**62 - 6) / 2, -6.0] if mean else [2**62, 2**62 - 6, -6]
        assert [row["total"] for row in written(driver) if row["key"] == "a"] == expected
        assert [row["total"] for row in written(driver) if row["key"] == "b"] == ([1] * 4 if mean else [1, 2, 2, 1])


def test_a_result_function_that_fails_leaves_out_that_result() -> None:
    ratio = sk.aggregator(
        "ratio", init=lambda: [0, 0], add=lambda s, v: [s[0] + v, s[1] + 1], merge=lambda a, b: [a[0] + b[0], a[1] + b[1]],
        result=lambda s: s[1] / s[0],
    )  # fmt: skip
    with sk.TestDriver(sales_app(sk.tumbling("1m"), ratio=ratio("amount")), on_error="skip") as driver:
        for key, amount in (("a", 4), ("b", 0), ("c", 2)):
            driver.send(SALES, sale(1, amount), key=key)
        assert [row.key for row in driver.store("agg")] == ["a", "c"]
        driver.end_of_input()
        assert written(driver) == [{"key": "a", "ratio": 0.25}, {"key": "c", "ratio": 0.5}]


class Seller(sk.Model):
    name: str
    amount: int
    at: datetime


class Best(sk.Model):
    key: str | None
    window_start: datetime
    window_end: datetime
    top: list[Seller]
    names: list[str]
    parts: list[float] | None
    middle: float | None
    people: int
    longest: str | None
    words: list[str]


word_list = sk.aggregator("word-list", init=list[str], add=lambda s, v: [*s, v], merge=lambda a, b: [*a, *b], result=sorted)


@pytest.mark.parametrize("serde", ["json", "avro"])
def test_every_result_can_be_written_and_read(serde: str) -> None:
    topic: sk.Topic[Any, Best] = sk.Topic("results", value=Best if serde == "json" else sk.avro(Best))
    sellers = sk.Topic("sellers", key=str, value=Seller)
    app = sk.App("shop")
    keyed = app.stream(sellers, event_time=sk.event_time("at")).by_record_key().window(sk.tumbling("1m"))
    keyed.aggregate(
        "agg",
        top=sk.top_k(2, by="amount"),
        names=sk.top_k(1, by=pl.col("amount") * -1, x="name"),
        parts=sk.quantiles("amount", [0, 1]),
        middle=sk.median("amount"),
        people=sk.approx_count_distinct("name"),
        longest=sk.reduce(longer, "name"),
        words=word_list("name"),
    ).on_close().to(topic)
    at = datetime.fromisoformat("2024-01-01T00:00:01Z")
    with sk.TestDriver(app) as driver:
        driver.send(sellers, Seller("bo", 3, at), Seller("al", 5, at), Seller("cleo", 1, at), key="a")
        driver.end_of_input()
        (found,) = driver.read(topic)
    assert found.value.top == [Seller("al", 5, at), Seller("bo", 3, at)]
    assert (found.value.names, found.value.parts, found.value.people) == (["cleo"], [1.0, 5.0], 3)
    assert found.value.middle == pytest.approx(3, rel=0.01)
    assert (found.value.longest, found.value.words) == ("cleo", ["al", "bo", "cleo"])


def test_a_changed_definition_is_noticed_and_a_corrected_function_is_not() -> None:
    def app(version: int = 1, state: Any = int, plus: int = 0) -> sk.App:
        mine = sk.aggregator("mine", init=state, add=lambda s, v: s + v + plus, merge=lambda a, b: a + b, version=version)
        return sales_app(sk.tumbling("1m"), mine=mine("amount"))

    rig = Rig(app(), 1)
    rig.cluster.append("sales", msgspec.json.encode(sale(1, 5)), b"a", 0, BASE_MS)
    rig.join("a")
    rig.settle()
    for changed in (app(version=2), app(state=float)):
        rig.crash("a")
        rig.topology = changed.topology()
        rig.join("a")
        with pytest.raises(StateError, match="written with another window, key or output types"):
            rig.settle()
    rig.crash("a")
    rig.topology = app(plus=1).topology()
    rig.cluster.append("sales", msgspec.json.encode(sale(2, 5)), b"a", 0, BASE_MS)
    rig.join("b")
    rig.settle()
    rig.end_of_input()
    assert [json.loads(record.value or b"")["mine"] for record in rig.cluster.read("results")] == [11]


def test_the_largest_results_of_windows() -> None:
    """Rows of an aggregate before, with their datetimes, over partitions and restarts."""
    app = sk.App("shops")
    minutes = app.stream(SALES, event_time=sk.event_time("at")).key_by("shop").window(sk.tumbling("10s"))
    kpis = minutes.aggregate("kpis", revenue=sk.sum("amount"), customers=sk.approx_count_distinct("customer"))
    top = kpis.on_close().globally().window(sk.tumbling("1m")).aggregate("top", top=sk.top_k(2, by="revenue"))
    top.on_close().to(sk.Topic("results"))
    with sk.TestDriver(app) as driver:
        for second, shop, amount in ((1, "a", 5), (2, "b", 3), (3, "c", 5), (12, "a", 4), (13, "b", 9), (25, "c", 1)):
            driver.send(SALES, sale(second, amount, shop=shop, customer=second), key=shop)
            driver.crash()
            driver.restart()
        driver.end_of_input()
        (row,) = written(driver)
    begin = [f"2024-01-01T00:00:{second:02}Z" for second in (0, 10, 20)]
    assert row["top"] == [
        {"shop": "b", "window_start": begin[1], "window_end": begin[2], "revenue": 9, "customers": 1},
        {"shop": "a", "window_start": begin[0], "window_end": begin[1], "revenue": 5, "customers": 1},
    ]
