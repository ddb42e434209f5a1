"""`on_update()`: whatever happens, the last update of every window is its final result, and every one is the result of some
records of the window in their order."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import DeclarationError
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.driver.test_windows import EVENTS, OUT_OF_ORDERNESS_MS, Event, append, inputs, milliseconds
from tests.support.examples import examples
from tests.support.reference import Grid, Hops, summary, windowed
from tests.support.reference_sliding import AnyWindow, Rolls, Slides, reference_of

Every = str | None
GRIDS: dict[str, AnyWindow] = {
    "tumbling-grace": Grid(10, 10, -3, 7),
    "cumulating": Grid(12, 4, 5, 6),
    "hopping": Hops(12, 4, 5, 6),
    "hopping-size-no-multiple": Hops(10, 4, 0, 3),
    "sliding-grace": Slides(6, 3),
    "rolling-grace": Rolls(6, 4),
}
Key = tuple[Any, int, int]


def make_app(grid: AnyWindow, every: Every) -> sk.App:
    app = sk.App("updates")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    durations = {"grace": f"{grid.grace_ms}ms"}
    if isinstance(grid, Grid | Hops):
        durations["offset"] = f"{grid.offset_ms}ms"
    if isinstance(grid, Slides | Rolls):
        window = (sk.sliding if isinstance(grid, Slides) else sk.rolling)(f"{grid.size_ms}ms", **durations)
    elif isinstance(grid, Hops):
        window = sk.hopping(f"{grid.size_ms}ms", f"{grid.hop_ms}ms", **durations)
    elif grid.step_ms == grid.size_ms:
        window = sk.tumbling(f"{grid.size_ms}ms", **durations)
    else:
        window = sk.cumulating(f"{grid.size_ms}ms", f"{grid.step_ms}ms", **durations)
    totals = events.key_by("key").window(window).aggregate("agg", records=sk.count(), total=sk.sum("value"), high=sk.max("value"))
    totals.on_update(every).to(sk.Topic("updates"))
    totals.on_close().to(sk.Topic("results"))
    return app


def told(rig: Rig, topic: str) -> dict[Key, list[tuple[Any, ...]]]:
    """(key, start, end) -> (records, total, high), in the order of the partition."""
    found: dict[Key, list[tuple[Any, ...]]] = defaultdict(list)
    for record in rig.cluster.read(topic):
        row = json.loads(record.value or b"")
        key = (row["key"], milliseconds(row["window_start"]), milliseconds(row["window_end"]))
        found[key].append((row["records"], row["total"], row["high"]))
    return found


@pytest.mark.parametrize("every", [None, "5ms", "record"], ids=str)
@pytest.mark.parametrize("name", GRIDS)
@settings(bounded, max_examples=examples(25))
@given(data=st.data(), chaos=actions, dying=st.lists(crashes, max_size=3), max_records=st.sampled_from([1, 2, 7, 1000]))
def test_the_last_update_is_the_final_result(
    name: str, every: Every, data: st.DataObject, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    grid = GRIDS[name]
    partitions, records = data.draw(inputs("column"))
    reference = reference_of(grid)(records, grid, OUT_OF_ORDERNESS_MS, partitions)
    rig = Rig(make_app(grid, every), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    end(rig, dying)
    updates, results = told(rig, "updates"), told(rig, "results")
    assert set(updates) == set(results) == set(reference.values)
    for window, values in reference.values.items():
        counts = [count for count, _, _ in updates[window]]
        assert counts == sorted(counts)  # never back
        assert updates[window][-1] == results[window][-1] == (len(values), *summary(values)[1:4:2])
        if every == "record" and isinstance(grid, Slides | Rolls):  # a window may begin among records that were there before
            assert set(counts) >= set(range(counts[0], len(values) + 1))
            assert isinstance(grid, Slides) or len(set(counts)) == len(counts)
        elif every == "record":
            assert counts == list(range(1, len(values) + 1))


@settings(bounded, max_examples=examples(25))
@given(data=st.data(), every=st.sampled_from(["record", None]))
def test_of_one_partition_every_update_is_that_of_a_prefix(data: st.DataObject, every: Every) -> None:
    _, records = data.draw(inputs("column").filter(lambda drawn: drawn[0] == 1))
    grid = GRIDS["hopping"]
    reference = windowed(records, grid, OUT_OF_ORDERNESS_MS, 1)
    rig = Rig(make_app(grid, every), 1, max_records=data.draw(st.sampled_from([1, 3, 100])))
    rig.join("a")
    for record in records:
        append(rig, record)()
        if data.draw(st.booleans()):
            rig.settle()
    rig.settle()
    rig.end_of_input()
    for window, seen in told(rig, "updates").items():
        values = reference.values[window]
        for count, total, high in seen:
            assert (total, high) == summary(values[:count])[1:4:2]


# ---- when, and what they are called

AT = datetime.fromisoformat("2024-01-01T00:00:00Z")


class Sale(sk.Model):
    at: datetime
    shop: str
    amount: int


SALES = sk.Topic("sales", key=str, value=Sale)
LIVE = sk.Topic("live")


def shop(every: Every = None, **window: str) -> sk.App:
    app = sk.App("shop")
    sales = app.stream(SALES, event_time=sk.event_time("at"))
    totals = sales.by_record_key().window(sk.tumbling("10s", **window)).aggregate("totals", total=sk.sum("amount"))
    totals.on_update(every).to(LIVE)
    return app


def sale(second: int, amount: int) -> Sale:
    return Sale(AT + timedelta(seconds=second), "A", amount)


def live(driver: sk.TestDriver) -> list[tuple[int, str]]:
    """(total, what the header says) of every update so far."""
    records = driver.cluster.read("live")
    return [(json.loads(r.value or b"")["total"], dict(r.headers)["streamkit-result"].decode()) for r in records]


def test_the_header_says_early_on_time_or_late() -> None:
    with sk.TestDriver(shop(grace="5s")) as driver:
        driver.send(SALES, sale(1, 1), key="A")
        assert live(driver) == [(1, "early")]
        driver.send(SALES, sale(3, 2), key="A")
        driver.send(SALES, sale(2, 4), key="A")
        assert live(driver)[1:] == [(3, "early"), (7, "early")]
        driver.send(SALES, sale(12, 100), key="A")  # the watermark passes the end: nothing has changed since
        assert live(driver)[3:] == [(100, "early")]
        driver.send(SALES, sale(9, 8), key="A")  # within grace
        assert live(driver)[4:] == [(15, "late")]
        driver.send(SALES, sale(16, 200), key="A")  # closes: all was told
        assert live(driver)[5:] == [(300, "early")]


def test_a_timer_tells_at_most_so_often_and_as_the_watermark_passes() -> None:
    with sk.TestDriver(shop("1m", grace="5s")) as driver:
        driver.send(SALES, sale(1, 1), key="A")
        driver.send(SALES, sale(2, 2), key="A")
        first = live(driver)
        driver.send(SALES, sale(3, 4), key="A")
        assert live(driver) == first == [(1, "early")]
        driver.advance("61s")
        assert live(driver)[1:] == [(7, "early")]
        driver.advance("200s")
        assert len(live(driver)) == 2  # nothing has changed
        driver.send(SALES, sale(4, 8), key="A")
        driver.send(SALES, sale(5, 16), key="A")
        assert live(driver)[2:] == [(15, "early")]
        driver.send(SALES, sale(10, 32), key="A")
        assert live(driver)[3:] == [(31, "on-time")]


def test_after_a_kill_a_timer_tells_what_it_may_not_have_told() -> None:
    with sk.TestDriver(shop("1m")) as driver:
        driver.send(SALES, sale(1, 1), key="A")
        driver.send(SALES, sale(2, 2), key="A")
        driver.crash()
        driver.restart()
        driver.advance("61s")
        assert live(driver) == [(1, "early"), (3, "early")]


def test_several_updates_of_one_aggregate_and_steps_behind_them() -> None:
    app = shop("record")
    totals = next(node for part in app.topology().parts for node in part.nodes if type(node).__name__ == "WindowAggregate")
    assert totals.label == "aggregate 'totals' over tumbling(10s)"
    app = sk.App("shop")
    windows = app.stream(SALES, event_time=sk.event_time("at")).by_record_key().window(sk.tumbling("10s"))
    both = windows.aggregate("totals", total=sk.sum("amount"))
    both.on_update("record").to(sk.Topic("each"))
    both.on_update().map(lambda row: sk.Row(twice=2 * row.total)).to(LIVE)
    both.on_close().to(sk.Topic("final"))
    with sk.TestDriver(app) as driver:
        driver.send(SALES, sale(1, 1), sale(2, 2), key="A")
        driver.end_of_input()
        assert [json.loads(r.value or b"")["total"] for r in driver.cluster.read("each")] == [1, 3]
        assert json.loads(driver.cluster.read("live")[-1].value or b"") == {"twice": 6}
        assert [json.loads(r.value or b"")["total"] for r in driver.cluster.read("final")] == [3]
        assert dict(driver.cluster.read("final")[0].headers) == {}


@pytest.mark.parametrize(
    "every, says", [("0s", "every must be longer than 0"), ("often", "'often' is not a duration"), (5, "5 has no unit")]
)
def test_wrong_intervals(every: Any, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        shop(every)


def test_updates_cannot_be_aggregated() -> None:
    app = sk.App("shop")
    totals = app.stream(SALES).by_record_key().window(sk.tumbling("10s")).aggregate("totals", total=sk.sum("amount"))
    mapped = totals.on_update().map(lambda row: row)
    with pytest.raises(DeclarationError, match=r"'again' is over on_update\(\): an update replaces the one before"):
        mapped.globally().window(sk.tumbling("1m")).aggregate("again", n=sk.count())
    totals.on_close().globally().window(sk.tumbling("1m")).aggregate("again", n=sk.count())
