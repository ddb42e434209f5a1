"""A poll that fails, and a Kafka that is away for a while: state stays in memory, nothing is lost or doubled, and it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import AbortableError, FatalError, RetriableError
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.task import Task, TaskId
from tests.driver.rig import Rig


class Event(sk.Model):
    value: int


def started() -> Rig:
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 2)
    rig.join("a")
    rig.settle()
    return rig


def send(rig: Rig, at_ms: int, *, partition: int = 0) -> None:
    rig.cluster.append("events", b'{"value":1}', b"k", partition, at_ms)


def totals(rig: Rig) -> list[int]:
    return [json.loads(record.value or b"")["total"] for record in rig.cluster.read("results")]


def fail_polls(rig: Rig, number: int, *, when: str = "before") -> None:
    for _ in range(number):
        rig.cluster.faults.inject("poll", when=when, error=RetriableError("no leader", code="LEADER_NOT_AVAILABLE", call="poll"))


def lose_answers(rig: Rig, number: int) -> None:
    for _ in range(number):
        rig.cluster.faults.inject("topic_names", error=RetriableError("refused", code="_TRANSPORT", call="list_topics"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_poll_that_fails_keeps_what_is_in_memory(when: str) -> None:
    rig = started()
    tasks = rig.processes["a"].worker.tasks
    send(rig, 1_000)
    fail_polls(rig, 3, when=when)  # "after": the records were taken from the consumer and are gone
    rig.settle()
    assert rig.cluster.faults.planted == []
    send(rig, 1_050)
    send(rig, 1_100)
    rig.settle()
    assert totals(rig) == [2]
    assert rig.processes["a"].worker.tasks == tasks  # the same objects: nothing was made anew
    assert rig.events.of("rolled-back") == []
    assert len(rig.events.of("poll-retried")) == 1


def test_while_kafka_is_away_nothing_is_tried_and_afterwards_it_goes_on() -> None:
    rig = started()
    tasks = rig.processes["a"].worker.tasks
    send(rig, 1_000)
    rig.settle()
    committed = len(rig.events.of("commit"))
    fail_polls(rig, 1)
    lose_answers(rig, 20)
    for _ in range(19):  # the failed poll asks as well
        assert not rig.step("a")
    assert len(rig.events.of("commit")) == committed
    send(rig, 1_050)
    send(rig, 1_100)
    rig.settle()
    assert totals(rig) == [2]
    assert rig.processes["a"].worker.tasks == tasks
    assert rig.events.of("rolled-back") == []
    assert len(rig.events.of("waiting-for-broker")) == 2  # at once, and ten seconds later
    assert len(rig.events.of("broker-back")) == 1


def test_records_that_come_are_an_answer() -> None:
    rig = started()
    fail_polls(rig, 1)
    lose_answers(rig, 20)
    rig.step("a")
    send(rig, 1_000)
    rig.settle()
    assert len(rig.events.of("broker-back")) == 1
    rig.calm()
    send(rig, 1_100)
    rig.settle()
    assert totals(rig) == [1]


def test_an_end_that_is_reached_meanwhile_is_not_forgotten() -> None:
    """It is told once. Behind the last record lie control records, so the position alone is never there, and nothing idle."""
    app = sk.App("app")
    time = sk.event_time("value", idle_after="10m")
    keyed = app.stream(sk.Topic("events", key=str, value=Event), event_time=time).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 1)
    rig.join("a")
    send(rig, 1_000)
    rig.settle()
    fail_polls(rig, 1)
    lose_answers(rig, 20)
    rig.step("a")
    stranger = MemoryClient(rig.cluster, client_id="stranger").producer("stranger")
    stranger.init_transactions(1.0)
    stranger.begin()
    stranger.produce("events", b'{"value":1}', b"k", 0)
    stranger.flush(1.0)
    stranger.abort(1.0)
    rig.step("a")
    assert rig.events.of("broker-back") == []
    rig.calm()
    rig.settle()
    assert rig.events.of("partition-idle") == []
    rig.clock.advance(601)
    rig.settle()
    assert [told["partition"] for told in rig.events.of("partition-idle")] == [0]


def test_an_outage_longer_than_a_restore_may_stall_does_not_end_the_service() -> None:
    rig = started()
    for _ in range(1_000):  # each its own commit, so that the changelog has more blocks than one step restores
        send(rig, 1_000)
        rig.step("a")
    rig.settle()
    rig.leave("a")
    worker = rig.join("a")
    while not worker.situation()["restoring"]:
        rig.step("a")
    fail_polls(rig, 1)
    lose_answers(rig, 20 + rig.settings.restore_stall_ms // 1000)
    rig.step("a")
    began = rig.clock.monotonic()
    while not rig.events.of("broker-back"):
        rig.step("a")
    assert rig.clock.monotonic() - began > rig.settings.restore_stall_ms / 1000
    send(rig, 1_200)
    rig.settle()
    assert totals(rig) == [1_000]


@pytest.mark.parametrize("call", ["flush", "init_transactions"])
def test_a_call_without_an_answer_is_told_as_an_outage_and_nothing_is_tried_until_it_is_over(call: str) -> None:
    rig = started()
    if call == "init_transactions":  # which a worker calls when it has lost its producer
        rig.cluster.faults.inject("commit", error=AbortableError("it has failed", code="UNKNOWN_MEMBER_ID", call="commit"))
        rig.cluster.faults.inject("abort", error=FatalError("gone", code="_FATAL", call="abort"))
    error = RetriableError("no answer", code="_TIMED_OUT", call=call)
    for _ in range(1_000):
        rig.cluster.faults.inject(call, error=error)
    send(rig, 1_000)
    lose_answers(rig, 20)
    while not rig.events.of("waiting-for-broker"):
        rig.step("a")
    for _ in range(19):  # the first question was lost when it was told
        left = sum(fault.call == call for fault in rig.cluster.faults.planted)
        assert not rig.step("a")
        assert sum(fault.call == call for fault in rig.cluster.faults.planted) == left  # not called
    assert rig.events.of("broker-back") == []
    rig.step("a")
    assert len(rig.events.of("broker-back")) == 1
    rig.calm()
    send(rig, 1_100)
    rig.settle()
    assert totals(rig) == [1]


def test_a_take_over_that_finds_kafka_away_is_the_last_that_is_tried() -> None:
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 2, protocol="consumer", commit_interval_ms=5_000)  # with it the tasks that stay run on
    for name in ("a", "b"):
        rig.join(name)
        rig.settle()
    rig.leave("b")
    for _ in range(1_000):
        rig.cluster.faults.inject("committed", error=RetriableError("no answer", code="_TIMED_OUT", call="committed"))
    lose_answers(rig, 20)
    committed = -1
    while not rig.events.of("waiting-for-broker"):
        committed = len(rig.events.of("commit"))
        for partition in (0, 1):
            send(rig, 1_000, partition=partition)
        rig.clock.advance(6)
        rig.step("a")
    assert committed > 0
    assert len(rig.events.of("commit")) == committed  # what was due waits
    rig.calm()
    for partition in (0, 1):
        send(rig, 1_100, partition=partition)
    rig.settle()
    rig.clock.advance(6)
    rig.settle()
    assert len(totals(rig)) == 2
    assert rig.events.of("rolled-back") == []


@pytest.mark.parametrize("kafka", ["there", "away"])
def test_the_producer_is_served_while_it_has_nothing_to_do(kafka: str) -> None:
    """What librdkafka has to say of brokers that are away would pile up in it, and each further line would cost more."""
    rig = started()
    if kafka == "away":
        fail_polls(rig, 1)
        lose_answers(rig, 1_000)
    producer = rig.processes["a"].worker._transaction.producer()
    served = []
    real = producer.disturbed
    producer.disturbed = lambda: served.append(rig.clock.monotonic()) or real()
    began = rig.clock.monotonic()
    while rig.clock.monotonic() < began + 30:
        rig.step("a")
        rig.clock.advance(0.1)
    assert 15 < len(served) <= 31


def test_a_take_over_that_is_not_answered_makes_no_task_twice() -> None:
    """Brokers refuse questions about a changelog that was only just created: each attempt made its hundreds of tasks anew."""
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 3)
    for _ in range(4):
        rig.cluster.faults.inject("end_offsets", error=RetriableError("no leader", code="NOT_LEADER", call="list_offsets"))
    rig.join("a")
    worker = rig.processes["a"].worker
    made: list[TaskId] = []
    make = worker._layout.task

    def task(task_id: TaskId, *arguments: Any) -> Task:
        made.append(task_id)
        return make(task_id, *arguments)

    worker._layout.task = task  # type: ignore[method-assign]  # counts
    rig.settle()
    assert len(rig.events.of("take-over-retried")) >= 2
    assert sorted(made) == sorted(worker._layout.task_inputs())
    for partition in range(3):
        send(rig, 1_000, partition=partition)
        send(rig, 1_100, partition=partition)
    rig.settle()
    assert totals(rig) == [1, 1, 1]
