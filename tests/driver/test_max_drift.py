"""max_drift: a partition that runs ahead of those that it meets waits; nobody waits for ever, and no result is another."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import DeclarationError, RetriableError
from streamkit.kafka.client import TopicPartition
from streamkit.runtime.alignment import MOST_WAIT_S, RELEASED_AFTER_S
from tests.driver.rig import Rig
from tests.support.examples import examples

START_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
A, B = sk.Topic("a", key=str), sk.Topic("b", key=str)
SECOND = 1_000


class Seen(list[tuple[str, int]]):
    """(topic, second) of every record, in the order of processing."""

    def largest_drift(self) -> int:
        """How far one topic was ahead of the other as it was processed, while the other was still to come."""
        last = {topic: max(index for index, (t, _) in enumerate(self) if t == topic) for topic in ("a", "b")}
        latest, found = {"a": 0, "b": 0}, 0
        for index, (topic, second) in enumerate(self):
            latest[topic] = max(latest[topic], second)
            other = "b" if topic == "a" else "a"
            if index < last[other]:
                found = max(found, latest[topic] - latest[other])
        return found


def app(seen: Seen, *, keyed: bool = False, drift: str | None = "20s", **time: Any) -> sk.App:
    app = sk.App("app")

    def note(record: sk.Record[str, Any]) -> sk.Row:
        seen.append((record.topic, record.value.at // SECOND))
        return sk.Row(n=1)

    event_time = sk.event_time("at", max_drift=drift, **time)
    streams = [app.stream(topic, event_time=event_time) for topic in (A, B)]
    noted = streams[0].merge(streams[1]).records().map(note)
    by = noted.key_by(lambda _: "k", name="by-k") if keyed else noted.by_record_key()
    counts = by.window(sk.tumbling("10s")).aggregate("agg", n=sk.count())
    counts.on_close().to(sk.Topic("out"))
    return app


def fill(cluster: Any, topic: str, seconds: Iterator[int] | range, partition: int = 0) -> None:
    for second in seconds:
        cluster.append(topic, json.dumps({"at": second * SECOND}).encode(), b"k", partition, START_MS)


def driver(made: sk.App, *, partitions: Any = 1, max_records: int = 10, **settings: Any) -> sk.TestDriver:
    engine = sk.EngineSettings(control_interval_ms=0, max_records=max_records, **settings)
    return sk.TestDriver(made, partitions=partitions, settings=engine)


def counts(cluster: Any) -> list[int]:
    return [json.loads(record.value or b"")["n"] for record in cluster.read("out")]


def paused(driver: sk.TestDriver) -> set[TopicPartition]:
    return set(driver.worker._pauses.held)


# ---- it waits


@pytest.mark.parametrize("keyed", [False, True], ids=["in one task", "behind a repartition topic"])
@pytest.mark.parametrize("ahead", ["a", "b"])
def test_who_is_ahead_waits_for_the_other(ahead: str, keyed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """One record a second, then a hundred of them: without it one topic is read to its end before the other is half-way."""
    drifts = {}
    for drift in (None, "20s"):
        seen = Seen()
        with driver(app(seen, keyed=keyed, drift=drift)) as found:
            fill(found.cluster, ahead, range(400))
            fill(found.cluster, "b" if ahead == "a" else "a", (n // 4 for n in range(1_600)))
            found.settle()
            drifts[drift] = seen.largest_drift()
            found.end_of_input()
            assert counts(found.cluster) == [50] * 40
            assert not paused(found)
    assert drifts["20s"] <= 20 + 10  # a batch is not cut
    assert drifts[None] > 100


def test_beyond_some_records_in_hand_it_is_paused_and_only_now_and_then() -> None:
    seen = Seen()
    with driver(app(seen)) as found:
        calls = {"pause": 0, "resume": 0}
        consumer = found.worker._consumer

        def counted(name: str, call: Any, partitions: Any) -> None:
            calls[name] += 1
            call(partitions)

        for name in calls:
            setattr(consumer, name, functools.partial(counted, name, getattr(consumer, name)))
        fill(found.cluster, "a", range(400))
        fill(found.cluster, "b", (n // 10 for n in range(4_000)))
        most = 0
        for _ in range(20_000):
            step = found.worker.step(0.0)
            most = max(most, found.worker._alignment.records)
            if not step.busy:
                break
        found.settle()
        assert most <= 60  # four polls of ten, and what came with them
        assert 1 <= calls["pause"] == calls["resume"] <= 400 / 30  # of 400 records 30 go at least from pause to pause
        assert seen.largest_drift() <= 30
        assert len(seen) == 4_400


def test_of_many_that_are_held_the_sum_is_bounded() -> None:
    made = sk.App("app")
    made.stream(A, event_time=sk.event_time("at", max_drift="5s")).key_by(lambda _: 1, name="k").window(
        sk.tumbling("10s")
    ).aggregate("agg", n=sk.count()).on_close().to(sk.Topic("out"))
    with driver(made, partitions=30, max_records=5) as found:
        for partition in range(29):
            fill(found.cluster, "a", (100 + n for n in range(50)), partition)
        fill(found.cluster, "a", (n // 10 for n in range(1_500)), 29)
        most = 0
        while found.worker.step(0.0).busy:
            most = max(most, found.worker._alignment.records)
        found.settle()
        found.end_of_input()
        assert 20 * 5 < most <= 20 * 5 + 2 * 5
        assert sum(counts(found.cluster)) == 29 * 50 + 1_500


# ---- nobody waits for ever


def test_who_is_idle_or_read_to_its_end_holds_nobody_up() -> None:
    seen = Seen()
    with driver(app(seen, idle_after="10s")) as found:
        fill(found.cluster, "a", range(500))
        found.settle()  # b is empty
        assert len(seen) == 500
        fill(found.cluster, "b", range(5))
        found.settle()
        fill(found.cluster, "a", range(500, 1_000))
        found.settle()
        assert len(seen) == 1_005
        assert found.events.of("partition-held") == []


def open_transaction(found: sk.TestDriver, topic: str) -> Any:
    """In front of what is written later: a reader of committed records gets nothing of it."""
    from streamkit.kafka.memory import MemoryClient

    producer = MemoryClient(found.cluster, client_id="stranger").producer("stranger")
    producer.init_transactions(1.0)
    producer.begin()
    producer.produce(topic, b'{"at":0}', b"k", 0)
    producer.flush(1.0)
    return producer


def test_one_that_has_records_and_gives_none_is_waited_for_so_long_and_no_longer() -> None:
    seen = Seen()
    with driver(app(seen)) as found:
        fill(found.cluster, "b", range(3))
        found.settle()
        stranger = open_transaction(found, "b")
        fill(found.cluster, "b", range(3, 6))
        # b was read to its end before; what comes now waits behind the open transaction
        found.worker.tasks[0].inputs[TopicPartition("b", 0)].caught_up_at = -1
        fill(found.cluster, "a", range(200))
        found.settle()
        held = len(seen)
        assert held < 50
        assert [dict(event) for event in found.events.of("partition-held")] == [
            {"topic": "a", "partition": 0, "waits_for": "b-0"}
        ]
        found.advance(f"{int(MOST_WAIT_S) - 1}s")
        assert len(seen) == held
        found.advance("2s")
        assert len(seen) == 203
        (released,) = found.events.of("partition-released")
        assert released["reason"] == "b-0 has given nothing newer for 10 s"
        stranger.commit(1.0)
        found.settle()
        assert len(seen) == 207


def test_one_that_is_paused_when_a_poll_fails_is_read_again() -> None:
    """What was in hand of it is dropped, and the other one gives nothing that would have it looked at."""
    seen = Seen()
    with driver(app(seen)) as found:
        fill(found.cluster, "b", range(3))
        found.settle()
        open_transaction(found, "b")
        fill(found.cluster, "b", range(3, 6))
        found.worker.tasks[0].inputs[TopicPartition("b", 0)].caught_up_at = -1
        fill(found.cluster, "a", range(200))
        found.settle()
        assert paused(found) == {TopicPartition("a", 0)}
        found.cluster.inject("poll", error=RetriableError("the test says so", code="_TRANSPORT"))
        found.settle()
        found.advance(f"{int(MOST_WAIT_S) + 1}s")
        assert len(seen) == 203
        assert not paused(found)


def test_a_partition_that_is_held_for_long_is_not_taken_for_stalled_or_idle() -> None:
    seen = Seen()
    with driver(app(seen, idle_after="1s"), stalled_after_ms=4_000) as found:
        fill(found.cluster, "b", range(3))
        found.settle()
        open_transaction(found, "b")
        fill(found.cluster, "a", range(60))  # all of it is in hand, so its end has been polled, and it is not paused
        found.worker.tasks[0].inputs[TopicPartition("b", 0)].caught_up_at = -1
        for _ in range(9):
            found.advance("1s")  # nine seconds: twice the bound for what stands still
            assert found.worker._alignment.records >= 30
            assert not paused(found)
        assert found.events.of("partition-idle") == []
        assert len(seen) < 35


def test_a_bounded_run_is_not_over_while_records_are_in_hand() -> None:
    seen = Seen()
    with driver(app(seen)) as found:
        fill(found.cluster, "a", range(60))
        fill(found.cluster, "b", (n // 20 for n in range(200)))
        found.end_of_input()
        assert found.worker.finished
        assert len(seen) == 260
        assert sum(counts(found.cluster)) == 260


def test_it_is_told_once_for_a_backlog_and_again_when_it_is_over() -> None:
    seen = Seen()
    with driver(app(seen)) as found:
        fill(found.cluster, "a", range(200))
        fill(found.cluster, "b", (n // 4 for n in range(800)))
        found.settle()
        assert len(found.events.of("partition-held")) == 1
        assert found.events.of("partition-released") == []
        found.advance(f"{int(RELEASED_AFTER_S)}s")
        (released,) = found.events.of("partition-released")
        assert (released["topic"], released["reason"]) == ("a", "it is no longer that far ahead")


# ---- nothing is lost, nothing twice


RECORDS = {1: 60, 10: 250}
"""By the number of records of a second."""


@settings(max_examples=examples(25))
@given(st.data())
def test_whatever_happens_to_workers_the_results_are_those_without_it(data: st.DataObject) -> None:
    seen = Seen()
    rig = Rig(app(seen, keyed=data.draw(st.booleans())), 2, max_records=5)
    rates = {(topic, n): data.draw(st.sampled_from([1, 10])) for topic in ("a", "b") for n in (0, 1)}
    for (topic, partition), rate in rates.items():  # the slow ones have the more records, so that the others wait for long
        fill(rig.cluster, topic, (n // rate for n in range(RECORDS[rate])), partition)
    rig.join("w0")
    for number in range(data.draw(st.integers(2, 6))):
        for _ in range(data.draw(st.integers(1, 40))):
            rig.step(data.draw(st.sampled_from(sorted(rig.processes))))
        what = data.draw(st.sampled_from(["join", "crash", "fail a poll", "fail a commit", "wait"]))
        if what == "join" and len(rig.processes) < 3:
            rig.join(f"w{number + 1}")
        elif what == "crash":
            rig.replace(min(rig.processes))
        elif what == "fail a poll":
            rig.cluster.inject("poll", error=RetriableError("the test says so", code="_TRANSPORT"))
        elif what == "fail a commit":
            rig.cluster.inject("commit", error=RetriableError("the test says so", code="_TIMED_OUT"))
        else:
            rig.clock.advance(MOST_WAIT_S)
    rig.calm()
    rig.settle()
    rig.end_of_input()
    expected: dict[int, int] = {}
    for rate in rates.values():
        for n in range(RECORDS[rate]):
            expected[n // rate // 10] = expected.get(n // rate // 10, 0) + 1
    found: dict[int, int] = {}
    for record in rig.cluster.read("out"):
        row = json.loads(record.value or b"")
        window = int(datetime.fromisoformat(row["window_start"]).timestamp()) // 10
        found[window] = found.get(window, 0) + row["n"]
    assert found == expected


# ---- declared


def test_a_drift_is_a_duration() -> None:
    with pytest.raises(DeclarationError, match="event_time: max_drift must be longer than 0"):
        sk.event_time("at", max_drift="0s")
    with pytest.raises(DeclarationError, match="event_time: max_drift: 'far' is not a duration"):
        sk.event_time("at", max_drift="far")
    assert "waits when 20s ahead of the others" in app(Seen()).describe()
