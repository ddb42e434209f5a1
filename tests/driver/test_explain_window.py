"""Why a window is still open: as the worker has it, and as Kafka holds it. Both must say the same, and it must be so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.kafka.memory import MemoryClient
from streamkit.kafka.murmur2 import partition_for
from tests.driver.explained import EVENTS, RESULTS, START, T0, Explained, facts, make_app, values
from tests.support.examples import examples


def test_the_partition_that_is_behind_is_named_with_what_would_close_the_window() -> None:
    case = Explained(make_app("globally", sk.tumbling("10m", grace="1m")), partitions=3)
    for partition, second in ((0, 30), (0, 700), (1, 900), (2, 300)):
        case.send(partition, second)
    live, stored = case.live(None), case.stored(f"@{START}")
    assert facts(live) == facts(stored)
    assert (live.state, live.held_back_by, values(live)) == ("open", "bids-2", {"n": 2})
    assert live.watermark == T0 + timedelta(seconds=295, milliseconds=-1)
    assert live.closes_at == T0 + timedelta(minutes=11, milliseconds=-1)
    assert live.sentence == (
        "The window from 2020-04-15T08:00:00Z to 2020-04-15T08:10:00Z (grace 1m) is open because task bids-globally/0 is at "
        "2020-04-15T08:04:54.999Z, 6m 5s short of 2020-04-15T08:10:59.999Z, at which it closes, held back by task bids/2, "
        "which has told 2020-04-15T08:04:54.999Z through app.bids-globally.repartition and is held back by bids-2: its latest "
        "record is of 2020-04-15T08:05:00Z (the last one was written 2020-01-01T00:00:00Z), it is read to its end, and without "
        "idle_after a silent partition counts for ever; the window closes once bids-2 has a record of 2020-04-15T08:11:05Z or "
        "later."
    )
    assert "* bids/2     2020-04-15T08:04:54.999Z  -6m 5s  active  0" in str(stored)
    case.send(2, 664.999)
    assert case.live(None).state == "open"
    case.send(2, 665)
    assert (case.live(None).state, case.stored(f"@{START}").state) == ("closed", "closed")


def test_one_partition() -> None:
    case = Explained(make_app())
    case.send(0, 30)
    found = case.both()
    assert (found.state, found.held_back_by, values(found)) == ("open", "bids-0", {"key": "A", "n": 1})
    assert "the window closes once bids-0 has a record of 2020-04-15T08:10:05Z or later" in found.sentence


def test_a_partition_that_never_had_a_record() -> None:
    case = Explained(make_app("column"), partitions=2)
    case.send(0, 30, 5_000)
    found = case.both()
    assert (found.held_back_by, found.watermark) == ("bids-1", None)
    assert "task bids/1, which has told nothing yet" in found.sentence
    assert "it has had no record yet, it is read to its end" in found.sentence


def test_closed_empty_and_never() -> None:
    case = Explained(make_app())
    case.send(0, 30, 700)
    assert case.both().state == "closed"
    empty = case.live("A", T0 + timedelta(minutes=20))
    assert (empty.state, empty.result) == ("empty", None)
    assert "holds nothing, so it would close without a result; it takes records until the watermark is" in empty.sentence
    other = case.stored(f"B@{START}")
    assert other.state == "closed"
    assert "If anything had arrived in it" in other.sentence
    assert case.live("B", None).sentence == (
        "Key 'B' has no open window in aggregate 'total'; what came for it, if anything did, is in windows that have closed, or "
        "was late."
    )


def test_without_a_start_the_oldest_open_window_is_meant() -> None:
    case = Explained(make_app(window=sk.tumbling("10m", grace="1h")))
    case.send(0, 30, 700, 1300)
    assert case.stored("A@").sentence == case.live("A", None).sentence
    assert "from 2020-04-15T08:00:00Z to 2020-04-15T08:10:00Z" in case.live("A", None).sentence
    assert "open as well    2020-04-15T08:20:00Z to 2020-04-15T08:30:00Z" in str(case.live("A", None))


def test_records_that_wait_are_told() -> None:
    """Nobody runs, or the service is behind: that, and not the partition, is what holds time back."""
    case = Explained(make_app())
    case.send(0, 30)
    for second in (40, 700):
        event = b'{"at": "%s"}' % (T0 + timedelta(seconds=second)).isoformat().encode()
        case.driver.send_raw("bids", event, key=b"A", partition=0, settle=False)
    assert "and about 2 records wait in it unread (does a worker run" in case.both().sentence
    assert case.stored("A@2020-04-15T08:20:00Z").sentence.endswith(
        "but records wait unread in bids-0 (about 2 records), so it may be that what belongs there has not been processed yet."
    )


def test_an_idle_partition_no_longer_holds_time_back() -> None:
    case = Explained(make_app("column", idle_after="30s"), partitions=3)
    for partition, second in ((0, 30), (0, 500), (1, 5_000), (2, 100)):
        case.send(partition, second)
    found = case.both()
    assert found.held_back_by == "bids-2"
    assert "it counts until it has been silent for 30s" in found.sentence
    case.driver.advance("20s")
    case.send(0, 510)
    case.driver.advance("20s")  # 1 and 2 are silent for 40 s now
    for found in (case.live(), case.stored()):
        assert (found.state, found.held_back_by) == ("open", "bids-0")
    states = {each["input"]: each["state"] for each in case.live().as_dict()["task"]["inputs"]}
    assert states == {"bids/0": "active", "bids/1": "idle", "bids/2": "idle"}
    stored = {each["input"]: each["state"] for each in case.stored().as_dict()["task"]["inputs"]}
    assert stored["bids/2"] == "idle"  # time has gone on without it; of 1, which is ahead, Kafka says nothing


def test_all_idle() -> None:
    case = Explained(make_app("column", idle_after="30s", moves="1m"), partitions=2)
    case.send(0, 30)
    case.send(1, 100)
    case.driver.advance("40s")
    found = case.live()
    assert "all its inputs are idle, so time stands" in found.sentence
    assert "or by the wall clock once they have been silent for 1m" not in found.sentence  # tasks upstream move it, not this one
    case.driver.advance("1h")
    assert case.live().state == case.stored().state == "closed"


def test_a_window_over_results_needs_the_graces_before_it() -> None:
    case = Explained(make_app("column", sk.tumbling("10m", grace="1m"), second=sk.tumbling("1h", grace="2m")), partitions=2)
    for partition, second in ((0, 30), (0, 700), (1, 900), (1, 4_000), (0, 3_500)):
        case.send(partition, second)
    live, stored = case.live(aggregate="again"), case.stored(aggregate="again")
    assert facts(live) == facts(stored)
    assert live.held_back_by == "bids-0"
    assert live.closes_at == T0 + timedelta(hours=1, minutes=3, milliseconds=-1)
    assert "bids-0 has a record of 2020-04-15T09:03:05Z or later" in live.sentence


def test_sessions_are_found_by_any_time_within() -> None:
    case = Explained(make_app(window=sk.session("10m")))
    case.send(0, 30, 400)
    for second in (30, 500):
        found = case.live("A", T0 + timedelta(seconds=second))
        assert (found.state, values(found)) == ("open", {"key": "A", "n": 2})
        assert "from 2020-04-15T08:00:30Z to 2020-04-15T08:16:40Z" in found.sentence
    assert case.live("A", T0).state == "empty"
    assert case.stored("A@2020-04-15T08:05:00Z").held_back_by == "bids-0"


def test_cumulating_windows_start_together() -> None:
    case = Explained(make_app(window=sk.cumulating("10m", step="2m")))
    case.send(0, 30, 130)
    assert "to 2020-04-15T08:04:00Z" in case.both().sentence  # the first of them has closed
    assert case.stored(f"A@{START}/2020-04-15T08:02:00Z").state == "closed"
    assert "to 2020-04-15T08:10:00Z" in case.stored(f"A@{START}/2020-04-15T08:10:00Z").sentence
    with pytest.raises(sk.errors.DeclarationError, match=r"may end at: 2020-04-15T08:02:00Z, .*08:10:00Z$"):
        case.stored(f"A@{START}/2020-04-15T08:03:00Z")


def test_hopping_and_calendar_windows() -> None:
    case = Explained(make_app(window=sk.hopping("10m", hop="4m")))
    case.send(0, 420)
    for minute in (0, 4):
        assert case.live("A", T0 + timedelta(minutes=minute)).state == "open"
    assert case.live("A", T0 + timedelta(minutes=8)).state == "empty"
    with pytest.raises(sk.errors.DeclarationError, match=r"starts at 2020-04-15T08:02:00Z; near it .*08:00:00Z, .*08:04:00Z"):
        case.live("A", T0 + timedelta(minutes=2))
    case = Explained(make_app(window=sk.calendar("day", tz="Europe/Tallinn")))
    case.send(0, 0)
    found = case.stored("A@2020-04-15T00:00:00+03:00")
    assert (found.state, found.closes_at) == ("open", datetime(2020, 4, 15, 20, 59, 59, 999000, UTC))


@pytest.mark.parametrize("window", [sk.sliding("5m"), sk.rolling("5m", grace="1m")], ids=str)
def test_windows_that_lie_where_the_records_are(window: Any) -> None:
    case = Explained(make_app("column", window), partitions=2)
    case.send(0, 30)
    case.send(1, 40, 1_000)
    live, stored = case.live("A", None), case.stored("A@")
    assert facts(live) == facts(stored)
    assert (live.state, live.held_back_by, values(live)) == ("open", "bids-0", {"item": "A", "n": 1})
    assert "from 2020-04-15T07:55:30Z to 2020-04-15T08:00:30.001Z" in live.sentence
    assert facts(case.stored("A@2020-04-15T07:55:30Z")) == facts(live)
    assert case.stored(f"A@{START}").state == "empty"
    assert case.stored("A@2020-04-15T07:00:00Z").state == "closed"


def test_after_the_end_of_the_input_everything_is_closed() -> None:
    case = Explained(make_app("column"), partitions=2)
    case.send(0, 30)
    case.driver.end_of_input()
    for found in (case.live(), case.stored()):
        assert found.state == "closed"
        assert "has run to the end of its input" in found.sentence


def test_state_that_was_restored_and_compacted_is_found() -> None:
    case = Explained(make_app("column"), partitions=2)
    for number in range(50):
        case.send(0, number, key=f"k{number % 7}")
    case.driver.crash()
    case.driver.restart()
    case.send(0, 55, key="k3")
    found = case.stored(f"k3@{START}")
    assert values(found) == {"item": "k3", "n": 8}


def test_keys_of_every_type() -> None:
    class Typed(sk.Model):
        at: datetime
        item: str
        number: int

    topic = sk.Topic("typed", key=str, value=Typed)
    cases: dict[str, tuple[tuple[str, ...], list[str]]] = {
        "number": (("number",), ["7"]),
        "both": (("item", "number"), ['["A",7]', '["A", 7]']),
    }
    for name, (columns, texts) in cases.items():
        app = sk.App("app")
        stream = app.stream(topic, event_time=sk.event_time("at")).key_by(*columns, name=name)
        stream.window(sk.tumbling("10m")).aggregate("n", n=sk.count()).on_close().to(RESULTS)
        driver = sk.TestDriver(app, partitions=2)
        driver.send(topic, Typed(T0, "A", 7), Typed(T0, "B", 8))
        broker = sk.Broker(MemoryClient(driver.cluster), is_embedded=True)
        for text in texts:
            found = app.explain_window(f"{text}@{START}", broker=broker)
            assert found.result is not None, text
            assert found.result["n"] == 1
        with pytest.raises(sk.errors.DeclarationError, match=r"has keys of type .* is none"):
            app.explain_window(f"[A@{START}", broker=broker)


def test_keys_whose_type_is_known_only_at_run_time() -> None:
    app = sk.App("app")
    rows = app.stream(sk.Topic("rows"), event_time=sk.event_time("at"))
    rows.key_by(lambda row: row.key, name="by-key").window(sk.tumbling("10m")).aggregate("n", n=sk.count()).on_close().to(RESULTS)
    driver = sk.TestDriver(app, partitions=2)
    driver.send(sk.Topic("rows"), *(sk.Row(at=T0, key=key) for key in (7, 1.5, "A", None)))
    broker = sk.Broker(MemoryClient(driver.cluster), is_embedded=True)
    for text, key in (("7", 7), ("1.5", 1.5), ("A", "A"), ("null", None)):
        found = app.explain_window(f"{text}@{START}", broker=broker)
        assert values(found) == {"key": key, "n": 1}


def test_null_keys() -> None:
    case = Explained(make_app("column"), partitions=2)
    case.send(1, 30, key=None)
    for found in (case.live(None), case.stored(f"null@{START}")):
        assert values(found) == {"item": None, "n": 1}
        assert "of key null" in found.sentence


def test_a_rule_of_the_user_says_no_record_that_would_do() -> None:
    class Slow(sk.WatermarkGenerator):
        def follow(self, timestamps: Any, state: Any) -> Any:
            return timestamps - 60_001, state

    app = sk.App("app")
    events = app.stream(EVENTS, event_time=sk.event_time("at", watermark=Slow()))
    events.by_record_key().window(sk.tumbling("10m")).aggregate("total", n=sk.sum("n")).on_close().to(RESULTS)
    case = Explained(app)
    case.send(0, 30, 600)
    found = case.both()
    assert found.watermark == T0 + timedelta(minutes=9, milliseconds=-1)
    assert "the window closes once the watermark of bids-0 gets there" in found.sentence


def test_inspect() -> None:
    case = Explained(make_app("column", idle_after="30s"), partitions=2)
    case.send(0, 30)
    case.send(1, 100)
    case.driver.advance("20s")
    case.send(1, 200)
    case.driver.advance("20s")
    told = {each["task"]: each for each in case.driver.inspect()}
    assert list(told) == ["bids/0", "bids/1", "bids-by-item/0", "bids-by-item/1"]
    assert told["bids/0"]["inputs"] == [
        {"input": "bids-0", "watermark": "2020-04-15T08:00:24.999Z", "state": "idle", "position": 1, "silent_s": 40.0}
    ]
    assert told["bids/1"]["held_back_by"] == "bids-1"
    assert told["bids-by-item/1"]["held_back_by"] == "bids/1"
    assert told["bids-by-item/1"]["watermark"] == "2020-04-15T08:03:14.999Z"
    assert sum(each["aggregates"]["total"]["rows"] for each in told.values() if each["aggregates"]) == 1


def test_an_app_of_another_shape_is_refused() -> None:
    case = Explained(make_app())
    case.send(0, 30)
    case.app = make_app(window=sk.tumbling("20m"))
    with pytest.raises(sk.errors.RestoreError, match=r"app\.total\.changelog-0@0: .* written with another window"):
        case.stored(f"A@{START}")


@pytest.mark.parametrize(
    "window,aggregate,says",
    [
        ("A", None, "write KEY@START"),
        ("A@2020-04-15T08:00:00", None, "a time without its zone"),
        ("A@soon", None, "'soon' behind the last @ is no START"),
        ("A@1586937600001", None, "no window of tumbling(10m) starts at 2020-04-15T08:00:00.001Z"),
        (f"A@{10**15}", None, "outside the years 101 to 9899"),
        (f"A@{START}", "totals", "no aggregate 'totals' in app 'app'; did you mean 'total'?"),
    ],
)
def test_wrong_questions(window: str, aggregate: str | None, says: str) -> None:
    case = Explained(make_app())
    case.send(0, 30)
    with pytest.raises(sk.errors.DeclarationError) as raised:
        case.stored(window, aggregate)
    assert says in str(raised.value)


def test_several_aggregates_have_to_be_told_apart() -> None:
    case = Explained(make_app(second=sk.tumbling("1h")))
    with pytest.raises(sk.errors.DeclarationError, match="has several aggregates, say which: total, again"):
        case.stored()


def test_of_an_app_that_has_not_run_there_is_nothing_to_say() -> None:
    app, broker = make_app("column"), sk.Broker.embedded()
    for topic in (EVENTS, RESULTS):
        broker.create_topic(topic)
    with pytest.raises(sk.errors.StartError, match="app 'app' has committed nothing on embedded broker"):
        app.explain_window(f"A@{START}", broker=broker)
    assert "app.total.changelog" not in broker.client.admin().topic_names(1.0)  # looking creates nothing


def test_looking_reads_only_what_belongs_to_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With state of millions of keys the answer takes no more memory than its own rows."""
    from streamkit.state.window_store import WindowStore

    case = Explained(make_app("column"), partitions=2)
    for number in range(40):
        case.send(0, 30, key=f"k{number}")
    loaded: list[int] = []
    load = WindowStore.load

    def counting(self: WindowStore, entries: Any) -> Any:
        loaded.append(len(entries))
        return load(self, entries)

    monkeypatch.setattr(WindowStore, "load", counting)
    assert case.stored(f"k7@{START}").state == "open"
    assert sum(loaded) == 1


WINDOWS = (
    lambda: sk.tumbling("10m", grace="1m"),
    lambda: sk.hopping("10m", hop="5m"),
    lambda: sk.cumulating("10m", step="5m"),
    lambda: sk.session("5m", grace="30s"),
    lambda: sk.sliding("5m", grace="1m"),
    lambda: sk.rolling("5m"),
)


@settings(max_examples=examples(25))
@given(
    st.sampled_from(("record", "column", "globally")),
    st.sampled_from(WINDOWS),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1_500)), min_size=1, max_size=12),
    st.booleans(),
)
def test_who_follows_the_advice_closes_the_window(keyed, window, partitions, records, crash) -> None:
    """A record one millisecond earlier than the one asked for changes nothing; the one asked for brings that partition out of the
    way; and when all have been asked, the window closes."""
    case = Explained(make_app(keyed, window()), partitions=partitions)
    own = partition_for(b"A", partitions)
    for partition, second in records:
        case.send(own if keyed == "record" else partition % partitions, second)
    if crash:
        case.driver.crash()
        case.driver.restart()
    key, text = (None, "") if keyed == "globally" else ("A", "A")
    found = case.live(key, None)
    if found.state != "open":
        return
    start = found.as_dict()["window_start"]
    asked = []
    for _ in range(partitions + 1):
        live, stored = (
            case.live(key, datetime.fromisoformat(start)),
            case.stored(f"{text}@{start}/{found.as_dict()['window_end']}"),
        )
        if stored.state == "closed":
            break
        assert facts(live) == facts(stored)
        held = live.held_back_by
        assert held is not None
        assert held not in asked
        asked.append(held)
        needs = next(each["needs_record_of"] for each in _inputs(live.as_dict()["task"]) if each["input"] == held)
        at = (datetime.fromisoformat(needs) - T0).total_seconds()
        number = int(held.rpartition("-")[2])
        case.send(number, at - 0.001, key="elsewhere")
        assert case.live(key, datetime.fromisoformat(start)).state == "open"
        case.send(number, at, key="elsewhere")
    assert case.stored(f"{text}@{start}/{found.as_dict()['window_end']}").state == "closed"


def _inputs(task: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(task["inputs"])
    for each in task["inputs"]:
        if each["upstream"] is not None:
            found += _inputs(each["upstream"])
    return found
