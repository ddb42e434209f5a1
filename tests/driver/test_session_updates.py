"""`on_update()` of sessions: whoever keeps the last row of each (key, window_start), and drops what is withdrawn, ends with the
final results, whatever happens."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.driver.test_windows import EVENTS, OUT_OF_ORDERNESS_MS, Event, append, inputs, milliseconds
from tests.support.examples import examples
from tests.support.reference import Gap, sessions, summary

Every = str | None
Row = tuple[Any, ...]
GAPS = {"session": Gap(7), "session-grace": Gap(5, 6)}


def make_app(gap: Gap, every: Every, keyed: str = "column") -> sk.App:
    app = sk.App("updates")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    stream: Any = events.key_by("key") if keyed == "column" else events.by_record_key()
    totals = stream.window(sk.session(f"{gap.gap_ms}ms", grace=f"{gap.grace_ms}ms")).aggregate(
        "agg", records=sk.count(), total=sk.sum("value"), high=sk.max("value")
    )
    totals.on_update(every).to(sk.Topic("updates"))
    totals.on_close().to(sk.Topic("results"))
    return app


def told(rig: Rig, topic: str) -> list[tuple[str, tuple[Any, int], Row]]:
    """(kind, (key, start), (end, records, total, high)) in the order of the partitions."""
    found = []
    for record in rig.cluster.read(topic):
        row = json.loads(record.value or b"")
        kind = dict(record.headers or ()).get("streamkit-result", b"").decode()
        identity = (row["key"], milliseconds(row["window_start"]))
        found.append((kind, identity, (milliseconds(row["window_end"]), row["records"], row["total"], row["high"])))
    return found


def kept(updates: list[tuple[str, tuple[Any, int], Row]]) -> dict[tuple[Any, int], Row]:
    """What a consumer has that follows the rule."""
    table: dict[tuple[Any, int], Row] = {}
    for kind, identity, row in updates:
        if kind == "withdrawn":
            table.pop(identity, None)
        else:
            table[identity] = row
    return table


@pytest.mark.parametrize("every", [None, "5ms", "record"], ids=str)
@pytest.mark.parametrize("name", GAPS)
@settings(bounded, max_examples=examples(20))
@given(
    data=st.data(),
    chaos=actions,
    dying=st.lists(crashes, max_size=3),
    max_records=st.sampled_from([1, 2, 7, 1000]),
    keyed=st.sampled_from(["column", "record-key"]),
    commit_ms=st.sampled_from([1, 40]),  # with many steps in between
)
def test_a_table_of_updates_ends_with_the_final_results(
    name: str,
    every: Every,
    data: st.DataObject,
    chaos: list[Action],
    dying: list[CrashIn],
    max_records: int,
    keyed: str,
    commit_ms: int,
) -> None:
    gap = GAPS[name]
    partitions, records = data.draw(inputs(keyed))
    reference = sessions(records, gap, OUT_OF_ORDERNESS_MS, partitions)
    rig = Rig(make_app(gap, every, keyed), partitions, max_records=max_records, commit_interval_ms=commit_ms)
    play(rig, chaos, [append(rig, record) for record in records])
    if every != "5ms":  # each change is told with its commit: at rest the table is the state and what has closed
        finals = {identity: row for _, identity, row in told(rig, "results")}
        held = {}
        for row in rig.store("agg"):
            start, stop = (round(row[name].timestamp() * 1000) for name in ("window_start", "window_end"))
            held[row.key, start] = (stop, row.records, row.total, row.high)
        assert kept(told(rig, "updates")) == finals | held
    end(rig, dying)
    must = {
        (key, start): (stop, *summary(values)[:2], summary(values)[3]) for (key, start, stop), values in reference.values.items()
    }
    updates = told(rig, "updates")
    assert kept(updates) == {identity: row for _, identity, row in told(rig, "results")} == must
    withdrawn = [identity for kind, identity, _ in updates if kind == "withdrawn"]
    assert len(withdrawn) == len(set(withdrawn))
    if every != "5ms":  # a timer does not remember over a restart which ones it had told
        assert all(any(kind != "withdrawn" and told == identity for kind, told, _ in updates) for identity in withdrawn)
    for identity in withdrawn:  # and is never told again
        last = max(index for index, (_, told, _) in enumerate(updates) if told == identity)
        assert updates[last][0] == "withdrawn"


# ---- by hand

AT = datetime.fromisoformat("2024-01-01T00:00:00Z")


class Click(sk.Model):
    at: datetime
    n: int


CLICKS, LIVE = sk.Topic("clicks", key=str, value=Click), sk.Topic("live")


def clicks(every: Every = None, **window: str) -> sk.App:
    app = sk.App("clicks")
    stream = app.stream(CLICKS, event_time=sk.event_time("at", out_of_orderness="60s"))
    stream.by_record_key().window(sk.session("10s", **window)).aggregate("clicks", n=sk.sum("n")).on_update(every).to(LIVE)
    return app


def click(second: int, n: int) -> Click:
    return Click(AT + timedelta(seconds=second), n)


def live(driver: sk.TestDriver) -> list[tuple[str, int, int, int]]:
    """(kind, start, end, n) of what is new, seconds."""
    found = []
    for record in driver.read(LIVE):
        row: Any = record.value
        start, stop = (round((datetime.fromisoformat(row[f"window_{which}"]) - AT).total_seconds()) for which in ("start", "end"))
        found.append((record.headers["streamkit-result"].decode(), start, stop, row.n))
    return found


@pytest.mark.parametrize("every", [None, "record"], ids=str)
def test_sessions_that_are_put_together_are_withdrawn_but_for_the_first(every: Every) -> None:
    with sk.TestDriver(clicks(every)) as driver:
        driver.send(CLICKS, click(20, 1), key="A")
        driver.send(CLICKS, click(35, 2), key="A")
        assert live(driver) == [("early", 20, 30, 1), ("early", 35, 45, 2)]
        driver.send(CLICKS, click(28, 4), key="A")  # between both
        assert live(driver) == [("withdrawn", 35, 45, 2), ("early", 20, 45, 7)]
        driver.send(CLICKS, click(15, 8), key="A")  # before the first
        assert live(driver) == [("withdrawn", 20, 45, 7), ("early", 15, 45, 15)]
        driver.crash()
        driver.restart()
        driver.send(CLICKS, click(6, 16), key="A")
        assert live(driver) == [("withdrawn", 15, 45, 15), ("early", 6, 45, 31)]
        driver.send(CLICKS, click(104, 0), key="B")  # the watermark passes 44
        assert live(driver) == [("early", 104, 114, 0)]  # nothing of A's has changed


def test_what_comes_and_goes_within_a_commit_is_never_told() -> None:
    with sk.TestDriver(clicks()) as driver:
        driver.send(CLICKS, click(20, 1), click(35, 2), click(28, 4), click(15, 8), key="A")
        assert live(driver) == [("early", 15, 45, 15)]


@pytest.mark.parametrize("every", [None, "1m"])
def test_what_was_told_is_withdrawn_also_where_it_went_into_what_was_not(every: Every) -> None:
    with sk.TestDriver(clicks(every)) as driver:
        driver.send(CLICKS, click(20, 1), key="A")
        driver.send(CLICKS, click(9, 2), click(15, 4), click(0, 8), click(-5, 16), key="A")  # 20 goes into 9, and that into 0
        assert live(driver) == [("early", 20, 30, 1), ("withdrawn", 20, 30, 1), ("early", -5, 30, 31)]


def test_a_start_that_no_commit_saw_is_not_withdrawn() -> None:
    """Batches of one record, of which several are committed together: each puts the start further back."""
    rig = Rig(clicks(), 1, max_records=1, commit_interval_ms=5_000)
    rig.join("a")
    for second in (60, 54, 48, 42, 36, 30, 24):
        value = json.dumps({"at": f"2024-01-01T00:00:{second % 60:02}Z" if second < 60 else "2024-01-01T00:01:00Z", "n": 1})
        rig.cluster.append("clicks", value.encode(), b"A", 0, 1_000)
    rig.settle()
    starts = [
        (dict(record.headers or ())["streamkit-result"], json.loads(record.value or b"")["window_start"])
        for record in rig.cluster.read("live")
    ]
    told = {start for kind, start in starts if kind != b"withdrawn"}
    withdrawn = {start for kind, start in starts if kind == b"withdrawn"}
    assert withdrawn == told - {"2024-01-01T00:00:24Z"}
    assert len(told) < 7


def test_with_a_timer_a_withdrawal_does_not_wait() -> None:
    with sk.TestDriver(clicks("1m")) as driver:
        driver.send(CLICKS, click(20, 1), key="A")
        driver.send(CLICKS, click(22, 2), click(40, 4), key="A")
        assert live(driver) == [("early", 20, 30, 1)]
        driver.send(CLICKS, click(18, 8), key="A")
        assert live(driver) == [("withdrawn", 20, 32, 3), ("early", 18, 32, 11)]
        driver.crash()
        driver.restart()  # (40, 4) waits; whether it was told is not known any more
        driver.send(CLICKS, click(39, 16), key="A")
        assert live(driver)[-3:] == [("early", 18, 32, 11), ("withdrawn", 40, 50, 4), ("early", 39, 50, 20)]


def test_a_session_is_told_on_time_and_within_grace() -> None:
    with sk.TestDriver(clicks("1m", grace="30s")) as driver:
        driver.send(CLICKS, click(20, 1), key="A")
        driver.send(CLICKS, click(21, 2), key="A")
        assert live(driver) == [("early", 20, 30, 1)]
        driver.send(CLICKS, click(93, 0), key="B")  # the watermark passes 32
        assert live(driver) == [("on-time", 20, 31, 3)]
        driver.send(CLICKS, click(19, 4), key="A")
        assert live(driver) == [("withdrawn", 20, 31, 3), ("late", 19, 31, 7)]
        driver.send(CLICKS, click(22, 8), key="A")
        driver.send(CLICKS, click(122, 0), key="B")
        assert live(driver)[0] == ("late", 19, 32, 15)
