"""Count windows: any batches, crashes, faults and rebalances give the windows of the brute-force reference, in its order."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import AggregateError, DeclarationError
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP
from tests.driver.chaos import Action, CrashIn, actions, bounded, crashes, end, play
from tests.driver.rig import Rig
from tests.driver.test_windows import EVENTS, OUT_OF_ORDERNESS_MS, Event, append, inputs, milliseconds
from tests.support.examples import examples
from tests.support.reference import Seen, summary
from tests.support.reference_timeless import Counted, Counting, counted

RESULTS, UPDATES = "results", "updates"
Every = str | None

countings = st.one_of(
    st.integers(1, 6).map(lambda size: Counting(size, size)), st.builds(Counting, st.integers(1, 9), st.integers(1, 9))
)


def make_app(counting: Counting, keyed: str = "record-key", every: Every = "never") -> sk.App:
    app = sk.App("counts")
    events = app.stream(sk.Topic(EVENTS, key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="3ms"))
    stream = {"column": lambda: events.key_by("key"), "record-key": events.by_record_key, "globally": events.globally}[keyed]()
    totals = stream.window(sk.count_window(counting.size, counting.every)).aggregate(
        "agg",
        records=sk.count(),
        total=sk.sum("value"),
        low=sk.min("value"),
        high=sk.max("value"),
        numbers=sk.collect("number", limit=100),
        latest=sk.last("number"),
    )
    totals.on_close().to(sk.Topic(RESULTS))
    if every != "never":
        totals.on_update(every).to(sk.Topic(UPDATES))
    return app


def told(rig: Rig, topic: str) -> list[tuple[Any, ...]]:
    """(key, numbers, start, end, summary, event time, kind) of every committed result; of each partition in order."""
    found = []
    for record in rig.cluster.read(topic):
        row = json.loads(record.value or b"")
        key, bounds = row.get("key"), (milliseconds(row["window_start"]), milliseconds(row["window_end"]))
        content = (row["records"], row["total"], row["low"], row["high"])
        kind = dict(record.headers or ()).get("streamkit-result", b"").decode()
        assert row["latest"] == row["numbers"][-1]
        found.append((key, sorted(row["numbers"]), *bounds, content, record.timestamp, kind))
    return found


def shown(one: Counted, kind: str = "") -> tuple[Any, ...]:
    return one.key, sorted(one.numbers), one.start_ms, one.end_ms, summary(one.values)[:4], one.event_time_ms, kind


def by_key(found: list[tuple[Any, ...]]) -> dict[Any, list[tuple[Any, ...]]]:
    groups: dict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    for one in found:
        groups[one[0]].append(one)
    return groups


def state(rig: Rig) -> dict[Any, tuple[Any, ...]]:
    return {row.get("key"): (sorted(row.numbers), row.records, row.total) for row in rig.store("agg")}


@settings(bounded, max_examples=examples(60))
@given(
    data=st.data(),
    counting=countings,
    chaos=actions,
    dying=st.lists(crashes, max_size=3),
    max_records=st.sampled_from([1, 2, 7, 1000]),
)
def test_count_windows_are_those_of_the_log(
    data: st.DataObject, counting: Counting, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    partitions, records = data.draw(inputs("record-key"))
    expected, left, _ = counted(records, counting, OUT_OF_ORDERNESS_MS)
    rig = Rig(make_app(counting), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    held = {key: (sorted(one.numbers), *summary(one.values)[:2]) for key, one in left.items()}
    for _ in range(2):  # before the end, and behind it: an end fills nothing
        assert by_key(told(rig, RESULTS)) == by_key([shown(one) for one in expected])
        assert state(rig) == held
        end(rig, dying)
    assert rig.cluster.open_transactions() == []


@pytest.mark.parametrize("keyed", ["column", "globally"])
@settings(bounded, max_examples=examples(25))
@given(data=st.data(), counting=countings, chaos=actions, max_records=st.sampled_from([1, 3, 1000]))
def test_behind_a_repartition_topic_nothing_is_lost_twice_or_out_of_its_order(
    keyed: str, data: st.DataObject, counting: Counting, chaos: list[Action], max_records: int
) -> None:
    """How the records of several partitions interleave there is not given; in any case they keep the order of their own."""
    partitions, records = data.draw(inputs(keyed))
    rig = Rig(make_app(counting, keyed), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    end(rig, [])
    left = state(rig)
    for key, windows in by_key(told(rig, RESULTS)).items():
        own = [record for record in records if record.key == key]
        check_order(own, counting, [numbers for _, numbers, *_ in windows])
        for position, (_, numbers, start, stop, content, _, _) in enumerate(windows):
            inside = [record for record in own if record.number in numbers]
            assert len(inside) == min(counting.size, (position + 1) * counting.every)
            assert (start, stop - 1) == (min(r.at_ms for r in inside), max(r.at_ms for r in inside))
            assert content == summary([record.value for record in inside])[:4]
    counts = {key: sum(record.key == key for record in records) for key in {record.key for record in records}}
    if counting.size == counting.every:
        assert {key: count % counting.size for key, count in counts.items() if count % counting.size} == {
            key: row[1] for key, row in left.items()
        }


def check_order(own: list[Seen], counting: Counting, windows: list[list[int]]) -> None:
    """A record that is in a window and not in the next stands, in its own partition, before all that come in later ones."""
    assert len(windows) == len(own) // counting.every
    for earlier, later in pairwise(windows):
        for partition in {record.partition for record in own}:
            gone = [r.number for r in own if r.partition == partition and r.number in set(earlier) - set(later)]
            there = [r.number for r in own if r.partition == partition and r.number in later]
            assert not gone or not there or max(gone) < min(there)


@pytest.mark.parametrize("every", [None, "5ms", "record"], ids=str)
@settings(bounded, max_examples=examples(25))
@given(
    data=st.data(),
    counting=countings,
    chaos=actions,
    dying=st.lists(crashes, max_size=3),
    max_records=st.sampled_from([1, 2, 7, 1000]),
)
def test_updates_tell_every_filled_window_once_and_last_what_is_left(
    every: Every, data: st.DataObject, counting: Counting, chaos: list[Action], dying: list[CrashIn], max_records: int
) -> None:
    partitions, records = data.draw(inputs("record-key"))
    expected, left, _ = counted(records, counting, OUT_OF_ORDERNESS_MS)
    rig = Rig(make_app(counting, every=every), partitions, max_records=max_records)
    play(rig, chaos, [append(rig, record) for record in records])
    end(rig, dying)
    updates = by_key(told(rig, UPDATES))
    finals = by_key([shown(one, "on-time") for one in expected])
    assert {key: [one for one in found if one[-1] == "on-time"] for key, found in updates.items()} == {
        key: finals.get(key, []) for key in updates
    }
    assert {key: found[-1][1:5] for key, found in updates.items() if found[-1][-1] == "early"} == {
        key: shown(one)[1:5] for key, one in left.items()
    }
    for found in updates.values():
        for early, after in pairwise(found):
            assert early[-1] == "on-time" or set(early[1]) <= set(after[1])  # an early one grows into what follows


class Value(sk.Model):
    n: int


VALUES, OUT = sk.Topic("values", key=str, value=Value), sk.Topic("out")


def simple(window: Any) -> sk.App:
    app = sk.App("simple")
    totals = app.stream(VALUES).by_record_key().window(window).aggregate("agg", n=sk.count(), total=sk.sum("n"))
    totals.on_close().to(OUT)
    return app


def results(driver: sk.TestDriver) -> list[tuple[int, int]]:
    return [(record.value.n, record.value.total) for record in driver.read(OUT)]


def test_flinks_first_results_hold_fewer_records() -> None:
    """countWindow(5, 2): after 2, 4 and 6 records over 2, 4 and 5 of them."""
    with sk.TestDriver(simple(sk.count_window(5, every=2))) as driver:
        driver.send(VALUES, *map(Value, [1, 2, 4, 8, 16, 32, 64]), key="a")
        assert results(driver) == [(2, 3), (4, 15), (5, 62)]
        driver.crash()
        driver.restart()
        driver.send(VALUES, Value(128), key="a")
        assert results(driver) == [(5, 8 + 16 + 32 + 64 + 128)]


def test_records_between_windows_are_in_no_result() -> None:
    with sk.TestDriver(simple(sk.count_window(2, every=5))) as driver:
        driver.send(VALUES, *map(Value, range(1, 11)), key="a")
        assert results(driver) == [(2, 9), (2, 19)]


def test_a_record_that_is_refused_is_not_counted() -> None:
    """The third makes the sum of the first window too large; the last would, had the third been counted."""
    for batch in (1, 100):
        rig = Rig(simple(sk.count_window(3)), 1, on_error="skip", max_records=batch)
        for n in (2**62, 2**62 - 1, 5, -7, 2**62, 2**62 - 2, 1):
            rig.cluster.append("values", b'{"n":%d}' % n, b"a", 0, 1_000)
        rig.join("a")
        rig.settle()
        found = [json.loads(record.value or b"") for record in rig.cluster.read("out")]
        assert [row["total"] for row in found] == [2**63 - 8, 2**63 - 1]
        assert rig.store("agg") == []


class Pair(sk.Model):
    x: int
    y: int


def test_of_several_that_are_refused_the_first_decides_where_the_others_are() -> None:
    """The second is refused for its y, so that the fourth is in another window than the third, whose x it would not go with."""
    app = sk.App("pairs")
    pairs = app.stream(sk.Topic("pairs", key=str, value=Pair)).by_record_key().window(sk.count_window(2))
    pairs.aggregate("agg", x=sk.sum("x"), y=sk.sum("y")).on_close().to(OUT)
    rig = Rig(app, 1, on_error="skip")
    for x, y in ((1, 2**62), (0, 2**62), (2**62, 0), (2**62, 0), (0, 0)):
        rig.cluster.append("pairs", b'{"x":%d,"y":%d}' % (x, y), b"a", 0, 1_000)
    rig.join("a")
    rig.settle()
    assert [json.loads(record.value or b"")["x"] for record in rig.cluster.read("out")] == [2**62 + 1, 2**62]


def test_with_a_timer_what_waits_is_told_after_a_restart_and_at_the_end() -> None:
    app = sk.App("simple")
    windows = app.stream(VALUES).by_record_key().window(sk.count_window(5))
    windows.aggregate("agg", n=sk.count(), total=sk.sum("n")).on_update("1m").to(OUT)
    with sk.TestDriver(app) as driver:
        driver.send(VALUES, Value(1), key="a")
        driver.send(VALUES, Value(2), key="a")
        assert results(driver) == [(1, 1)]
        driver.crash()
        driver.restart()
        assert results(driver) == [(2, 3)]
        driver.send(VALUES, Value(4), key="a")
        assert results(driver) == []
        driver.end_of_input()
        assert results(driver) == [(3, 7)]


def test_a_window_over_panes_that_overflows_names_its_key() -> None:
    with (
        sk.TestDriver(simple(sk.count_window(4, every=2))) as driver,
        pytest.raises(AggregateError, match=r"values-0@3: the result of key 'b' in the window .* does not fit into 64 bits"),
    ):
        driver.send(VALUES, *map(Value, [2**62, 1, 2**62, 1]), key="b")


def test_results_may_go_into_a_window_again_and_none_is_late() -> None:
    """The second window is filled by a record a day behind its partition: its result counts where time is by then."""
    app = sk.App("again")
    events = app.stream(sk.Topic("events", key=str, value=Event), event_time=sk.event_time("at"))
    threes = events.by_record_key().window(sk.count_window(2)).aggregate("twos", total=sk.sum("value"))
    days = threes.on_close().by_record_key().window(sk.tumbling("1m")).aggregate("minutes", n=sk.count(), total=sk.sum("total"))
    days.on_close().to(OUT)
    for batch in (1, 100):
        rig = Rig(app, 1, max_records=batch)
        rig.join("a")
        for at, value in ((1_000, 1), (2_000, 2), (3_000, 4), (600_000, 8), (100_000, 16), (600_001, 32), (50_000, 64)):
            key = b"k" if value not in (8, 32) else b"other"
            rig.cluster.append("events", json.dumps({"number": 0, "key": None, "value": value, "at": at}).encode(), key, 0, at)
        rig.settle()
        rig.end_of_input()
        found = [json.loads(r.value or b"") for r in rig.cluster.read("out")]
        assert [(row["key"], row["n"], row["total"]) for row in found] == [("k", 1, 3), ("k", 1, 20), ("other", 1, 40)]


def test_late_records_of_count_windows_are_refused_where_they_are_asked_for() -> None:
    totals = sk.App("a").stream(VALUES).globally().window(sk.count_window(3)).aggregate("agg", n=sk.count())
    with pytest.raises(
        DeclarationError, match=r"aggregate 'agg': late\(\) of count_window\(3\) would be empty, since no watermark"
    ):
        totals.late()


@pytest.mark.parametrize("size, every", [(0, None), (-1, None), (2, 0), (True, None), (1.5, None), ("3", None)])
def test_sizes_are_numbers_of_records(size: Any, every: Any) -> None:
    with pytest.raises(DeclarationError, match="must be a whole number of records, at least 1"):
        sk.count_window(size, every)


def test_another_size_is_another_state() -> None:
    driver = sk.TestDriver(simple(sk.count_window(3)))
    driver.send(VALUES, Value(1), key="a")
    again = Rig(simple(sk.count_window(4)), 1)
    again.cluster = driver.cluster
    driver.close()
    again.join("b")
    with pytest.raises(sk.errors.RestoreError, match="was written with another window"):
        again.settle()


@pytest.mark.parametrize("at", [MIN_TIMESTAMP, MAX_TIMESTAMP])
@pytest.mark.parametrize(
    "window", [sk.count_window(2), sk.count_window(2, every=1), sk.global_window(), sk.session("36500d")], ids=str
)
def test_at_both_ends_of_time(window: Any, at: int) -> None:
    """Bounds and event times of results can be written, and results may go into a window again."""
    app = sk.App("ends")
    events = app.stream(sk.Topic("events", key=str, value=Event), event_time=sk.event_time("at", out_of_orderness="36500d"))
    totals = events.by_record_key().window(window).aggregate("agg", n=sk.count())
    totals.on_close().by_record_key().window(sk.tumbling("1d")).aggregate("days", n=sk.count()).on_close().to(OUT)
    totals.on_update().to(sk.Topic(UPDATES))
    with sk.TestDriver(app) as driver:
        driver.send(sk.Topic("events", key=str, value=Event), *(Event(n, None, n, at) for n in range(2)), key="a")
        driver.end_of_input()
        assert len(driver.cluster.read(UPDATES)) == 1 + (window.kind == "count_window" and "every" in str(window))
        assert [record.value.n for record in driver.read(OUT)] == [2 if "every" in str(window) else 1]
