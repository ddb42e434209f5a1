"""The global window: all records of a key, told by updates, closed by nothing but the end of a bounded input."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import DeclarationError
from streamkit.state import changelog
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.driver.test_windows import EVENTS, Event, append, inputs
from tests.support.examples import examples
from tests.support.reference import summary
from tests.support.reference_timeless import all_of_time

Every = str | None


def make_app(keyed: str, every: Every) -> sk.App:
    app = sk.App("all")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    stream = {"column": lambda: events.key_by("key"), "record-key": events.by_record_key, "globally": events.globally}[keyed]()
    totals = stream.window(sk.global_window()).aggregate(
        "agg", records=sk.count(), total=sk.sum("value"), low=sk.min("value"), high=sk.max("value")
    )
    totals.on_close().to(sk.Topic("results"))
    totals.on_update(every).to(sk.Topic("updates"))
    return app


def told(rig: Rig, topic: str) -> dict[Any, list[tuple[Any, ...]]]:
    """Key -> its rows, in the order of their partition."""
    found: dict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    for record in rig.cluster.read(topic):
        row = json.loads(record.value or b"")
        assert set(row) - {"key"} == {"records", "total", "low", "high"}
        found[row.get("key")].append((row["records"], row["total"], row["low"], row["high"]))
    return found


@pytest.mark.parametrize("keyed", ["column", "record-key", "globally"])
@settings(bounded, max_examples=examples(20))
@given(
    data=st.data(),
    every=st.sampled_from([None, "5ms", "record"]),
    chaos=actions,
    dying=st.lists(crashes, max_size=3),
    max_records=st.sampled_from([1, 2, 7, 1000]),
)
def test_every_record_counts_whatever_its_time(
    keyed: str, data: st.DataObject, every: Every, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    partitions, records = data.draw(inputs(keyed))
    must = {key: summary(values)[:4] for key, values in all_of_time(records).items()}
    rig = Rig(make_app(keyed, every), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    assert told(rig, "results") == {}
    assert {row.get("key"): (row.records, row.total, row.low, row.high) for row in rig.store("agg")} == must
    end(rig, dying)
    updates = told(rig, "updates")
    assert told(rig, "results") == {key: [row] for key, row in must.items()}
    assert {key: rows[-1] for key, rows in updates.items()} == must
    for rows in updates.values():
        counts = [records for records, *_ in rows]
        assert counts == (list(range(1, counts[-1] + 1)) if every == "record" else sorted(counts))
    assert rig.store("agg") == []


class Sale(sk.Model):
    amount: int


SALES, LIVE, FINAL = sk.Topic("sales", key=str, value=Sale), sk.Topic("live"), sk.Topic("final")


def sold() -> tuple[sk.App, Any]:
    app = sk.App("sold")
    return app, app.stream(SALES).by_record_key().window(sk.global_window()).aggregate("sold", total=sk.sum("amount"))


def test_a_finished_run_gives_no_second_result() -> None:
    app, totals = sold()
    totals.on_close().to(FINAL)
    rig = Rig(app, 1, until_end=True)
    rig.cluster.append("sales", b'{"amount":1}', b"a", 0, 1_000)
    for _ in range(2):
        rig.join("a")
        rig.settle()
        rig.leave("a")
    assert [json.loads(record.value or b"") for record in rig.cluster.read("final")] == [{"key": "a", "total": 1}]


def test_its_changelog_keeps_no_more_than_its_rows_however_often_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """No watermark ever frees a block; the oldest is written anew instead."""
    monkeypatch.setattr(changelog, "REWRITE_SLACK_ROWS", 4)
    app, totals = sold()
    totals.on_update().to(LIVE)
    with sk.TestDriver(app) as driver:
        for number in range(200):
            driver.send(SALES, Sale(number), key=f"k{number % 7}")
        blocks = {r.key: r.value for r in driver.cluster.read("sold.sold.changelog") if (r.key or b"").startswith(b"block:")}
        assert sum(value is not None for value in blocks.values()) <= 2 * 7 + 4 + 1
        driver.crash()
        driver.restart()
        driver.send(SALES, Sale(0), key="k0")
        assert {row.key: row.total for row in driver.store("sold")} == {f"k{k}": sum(range(k, 200, 7)) for k in range(7)}
        assert driver.read(LIVE)[-1].value == sk.Row(key="k0", total=sum(range(0, 200, 7)))


def test_its_results_have_no_bounds_and_its_outputs_may_have_their_names() -> None:
    app = sk.App("sold")
    stream = app.stream(SALES).globally().window(sk.global_window())
    totals = stream.aggregate("sold", window_start=sk.min("amount"), n=sk.count())
    assert repr(totals) == "<Aggregated 'sold': {window_start: int, n: int}>"
    totals.on_update("record").to(LIVE)
    with sk.TestDriver(app) as driver:
        driver.send(SALES, Sale(5), Sale(3), key="a")
        assert [record.value for record in driver.read(LIVE)] == [{"window_start": 5, "n": 1}, {"window_start": 3, "n": 2}]


def test_late_records_of_it_are_refused_where_they_are_asked_for() -> None:
    _, totals = sold()
    with pytest.raises(DeclarationError, match=r"aggregate 'sold': late\(\) of global_window\(\) would be empty"):
        totals.late()
