"""Sequences that a second reading of the engine found: each one lost, doubled or held something before."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import AbortableError, FatalError, FencedError, GenerationError, KafkaError, RetriableError, StateError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.control import decode, is_control
from streamkit.runtime.transaction import Transaction
from tests.driver.rig import Rig
from tests.support.examples import everything


class Event(sk.Model):
    key: str
    value: int


def results(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in rig.cluster.read("results")]


def put(rig: Rig, topic: str, key: str, partition: int, at_ms: int) -> None:
    rig.cluster.append(topic, json.dumps({"key": key, "value": 1}).encode(), key.encode(), partition, at_ms)


def put_by_key(rig: Rig, topics: list[str], keys: list[str], at_ms: int) -> None:
    """Where Kafka's partitioner puts them."""
    producer = MemoryClient(rig.cluster, client_id="input").producer("input")
    producer.init_transactions(1)
    producer.begin()
    for topic in topics:
        for key in keys:
            producer.produce(topic, json.dumps({"key": key, "value": 1}).encode(), key.encode(), -1, at_ms)
    producer.flush(1)
    producer.commit(1)


def test_a_repartition_topic_has_as_many_partitions_as_the_source_that_it_is_merged_with() -> None:
    """With as many as the topic it came from, a key was in one task by its source and in another by its repartition topic."""
    app = sk.App("app")
    one = app.stream(sk.Topic("one", key=str, value=Event))
    two = app.stream(sk.Topic("two", key=str, value=Event)).key_by("key", name="by-key")
    keyed = one.merge(two).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, {"one": 3, "two": 4})
    rig.join("a")
    keys = [f"k{number}" for number in range(20)]
    put_by_key(rig, ["one", "two"], keys, 1000)
    rig.settle()
    rig.end_of_input()
    assert Counter((row["key"], row["total"]) for row in results(rig)) == Counter({(key, 2): 1 for key in keys})


@pytest.mark.parametrize("is_keyed", [False, True])
def test_topics_of_unequal_counts_are_merged_by_two_workers(*, is_keyed: bool) -> None:
    """The group assigns partition 1 of the two topics to different workers: a task of both would run nowhere."""
    app = sk.App("app")
    merged = app.stream(sk.Topic("one", key=str, value=Event)).merge(app.stream(sk.Topic("two", key=str, value=Event)))
    if is_keyed:
        keyed = merged.key_by("key", name="by-key").window(sk.tumbling("100ms"))
        keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    else:
        merged.to(sk.Topic("results", value=Event))
    rig = Rig(app, {"one": 4, "two": 2})
    rig.join("a")
    rig.join("b")
    for partition in range(4):
        put(rig, "one", f"one-{partition}", partition, 1000)
    for partition in range(2):
        put(rig, "two", f"two-{partition}", partition, 1000)
    rig.settle()
    rig.end_of_input()
    expected = ["one-0", "one-1", "one-2", "one-3", "two-0", "two-1"]
    assert Counter(row["key"] for row in results(rig)) == Counter(expected)


def windows(size: str = "100ms") -> sk.App:
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling(size))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    return app


def test_an_abort_that_repeats_itself_stops_the_worker_although_restored_time_was_committed_in_between() -> None:
    rig = Rig(windows(), 1)
    worker = rig.join("a")
    put(rig, "events", "k", 0, 1000)
    rig.settle()

    class BrokenError(AbortableError):
        pass

    aborts = 0

    def refuse(*_: object) -> None:
        nonlocal aborts
        aborts += 1
        raise BrokenError("refused", code="REFUSED", call="produce")

    worker._transaction.produce_many = refuse
    put(rig, "events", "k", 0, 1300)
    with pytest.raises(BrokenError):
        rig.settle()
    assert aborts == 2


def test_an_abort_that_passes_by_is_forgotten() -> None:
    rig = Rig(windows(), 1)
    rig.join("a")
    rig.settle()
    for number in range(4):
        rig.cluster.inject("flush", error=AbortableError("now and then", code="SOMETIMES", call="flush"))
        put(rig, "events", "k", 0, 1000 + 100 * number)
        rig.settle()
    rig.end_of_input()
    assert [row["total"] for row in results(rig)] == [1, 1, 1, 1]


def test_a_slow_commit_puts_the_next_one_off_by_less_than_the_broker_waits() -> None:
    rig = Rig(windows(), 1)
    worker = rig.join("a")
    rig.settle()
    producer = worker._transaction.producer()
    flush = producer.flush

    def slow(timeout: float) -> None:
        rig.clock.advance(14.0)
        flush(timeout)

    producer.flush = slow
    put(rig, "events", "k", 0, 1000)
    while not worker.step(0.0).committed:
        pass
    producer.flush = flush
    put(rig, "events", "k", 0, 1300)
    rig.clock.advance(rig.settings.transaction_timeout_ms / 4000)
    rig._rest()
    assert [row["total"] for row in results(rig)] == [1]


def test_a_task_that_came_back_tells_its_time_anew() -> None:
    """Another worker may have called it idle meanwhile; to wait for the next heartbeat would let windows close without it."""
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).key_by("key", name="by-key").window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 2)
    rig.join("a")
    rig._rest()

    def words() -> int:
        records = rig.cluster.read("app.by-key.repartition")
        told = [word for record in records if is_control(record.headers) for word in decode(record.value, "here")]
        return sum(word.partition == 0 for word in told)

    before = words()
    rig.join("b")
    rig._rest()
    assert {tp.partition for task in rig.processes["a"].worker.tasks for tp in task.inputs} == {0}
    assert words() > before


def test_time_of_windows_of_another_shape_is_refused_when_no_block_is_left() -> None:
    rig = Rig(windows(), 1)
    rig.join("a")
    put(rig, "events", "k", 0, 1000)
    rig.settle()
    rig.leave("a")
    tp = TopicPartition("app.agg.changelog", 0)
    last = rig.cluster.read(tp.topic)[-1]
    assert last.key == b"time"
    MemoryClient(rig.cluster, client_id="compaction").admin().delete_records({tp: last.offset}, 1)
    rig.topology = windows("150ms").topology()
    rig.join("a")
    with pytest.raises(StateError, match="another window"):
        rig.settle()


def test_a_producer_that_cannot_begin_is_closed() -> None:
    closed = []

    class Refused:
        def init_transactions(self, timeout: float) -> None:  # noqa: ARG002 - a producer's signature
            raise FatalError("no", code="NO", call="init_transactions")

        def close(self) -> None:
            closed.append(self)

    rig = Rig(windows(), 1)
    transaction = Transaction(Refused, rig.clock, rig.settings, rig.events)
    with pytest.raises(FatalError):
        transaction.producer()
    assert len(closed) == 1


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_a_bounded_run_goes_on_when_a_partition_that_has_ended_gets_more_records(*, is_taken_over: bool) -> None:
    rig = Rig(windows(), 2, until_end=True)
    put(rig, "events", "zero", 0, 1000)
    producer = MemoryClient(rig.cluster, client_id="input").producer("input")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("events", b'{"key":"one","value":1}', b"one", 1, 1000)
    producer.flush(1)
    rig.join("a")
    if is_taken_over:
        rig.join("b")
    rig.settle()  # partition 0 ends, partition 1 waits for the transaction
    assert [row["key"] for row in results(rig)] == ["zero"]
    put(rig, "events", "zero", 0, 1000)
    if is_taken_over:
        rig.leave("a")
    else:
        rig.cluster.inject("flush", error=AbortableError("passes by", code="ONCE", call="flush"))
    producer.commit(1)
    rig.settle()
    assert [row["key"] for row in results(rig)] == ["zero", "one"]
    assert all(process.worker.finished for process in rig.processes.values())


_CALLS = (
    "poll", "pause", "resume", "seek", "committed", "group_metadata", "assign", "begin", "produce", "produce_many", "flush",
    "send_offsets", "commit", "abort", "end_offsets", "start_offsets",
)  # fmt: skip


@pytest.mark.parametrize("is_at_start", [True, False])
@pytest.mark.parametrize("kind", [RetriableError, AbortableError, FencedError, GenerationError])
@pytest.mark.parametrize("call", _CALLS)
def test_whatever_call_fails_once_the_worker_goes_on_and_gives_each_result_once(
    call: str, kind: type[KafkaError], *, is_at_start: bool
) -> None:
    times = (("before", 0), ("after", 1), ("after", 0), ("before", 1))
    for when, skip in times if everything() else times[:2]:
        rig = Rig(windows(), 2)
        if is_at_start:
            rig.cluster.inject(call, error=kind("planted", code="PLANTED", call=call), when=when, skip=skip)
        rig.join("a")
        rig.settle()
        put_in_both(rig, 1000)
        rig.settle()
        if not is_at_start:
            rig.cluster.inject(call, error=kind("planted", code="PLANTED", call=call), when=when, skip=skip)
        put_in_both(rig, 1050)
        put_in_both(rig, 1300)
        rig.settle()
        rig.join("b")
        rig.settle()
        put_in_both(rig, 1500)
        rig.settle()
        rig.leave("b")
        rig.settle()
        rig.end_of_input()
        totals = Counter((row["key"], row["total"]) for row in results(rig))
        assert totals == {("k0", 2): 1, ("k0", 1): 2, ("k1", 2): 1, ("k1", 1): 2}, (when, skip)
        assert not rig.cluster.open_transactions()


def put_in_both(rig: Rig, at_ms: int) -> None:
    for partition in range(2):
        put(rig, "events", f"k{partition}", partition, at_ms)


def test_time_that_was_kept_without_a_position_is_refused() -> None:
    app = sk.App("app")
    first = app.stream(sk.Topic("events", key=str, value=Event)).key_by("key", name="one")
    first.map(lambda event: event).key_by("value", name="two").to(sk.Topic("results"))
    rig = Rig(app, 1)
    rig.join("a")
    put(rig, "events", "k", 0, 1000)
    rig.settle()
    rig.leave("a")
    MemoryClient(rig.cluster, client_id="somebody").admin().delete_group("app", 1)
    rig.join("a")
    with pytest.raises(StateError, match="no committed position"):
        rig.settle()


def test_a_broker_that_is_away_is_asked_for_idle_partitions_once_not_for_each_task() -> None:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event), event_time=sk.event_time(idle_after="5s"))
    events.by_record_key().window(sk.tumbling("100ms")).aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 3)
    worker = rig.join("a")
    rig._rest()
    rig.clock.advance(6.0)
    for _ in range(2):
        rig.cluster.inject("end_offsets", error=RetriableError("away", code="_TIMED_OUT", call="end_offsets"))
    worker.step(0.0)
    assert len(rig.cluster.faults.planted) == 1
    assert not rig.events.of("partition-idle")
    rig.calm()
    rig.clock.advance(2.0)
    worker.step(0.0)
    assert len(rig.events.of("partition-idle")) == 3
