"""What becomes of a failed call: it is repeated, the committed state is brought back, or the service stops; and each is told."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence

import pytest

import streamkit as sk
from streamkit.errors import (
    AbortableError,
    AuthorizationError,
    FatalError,
    FencedError,
    KafkaError,
    RejectedRecordError,
    RetriableError,
)
from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.deadlines import NoGuard, patience
from streamkit.runtime.task import Task
from tests.driver.rig import Rig

CALLS = ("flush", "send_offsets", "commit")


class Event(sk.Model):
    value: int


def started() -> Rig:
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 1)
    rig.join("a")
    rig.settle()
    return rig


def send(rig: Rig, at_ms: int) -> None:
    rig.cluster.append("events", b'{"value":1}', b"k", 0, at_ms)


def totals(rig: Rig) -> list[int]:
    return [json.loads(record.value or b"")["total"] for record in rig.cluster.read("results")]


def tasks_in_memory() -> int:
    return sum(isinstance(found, Task) for found in gc.get_objects())


def finish(rig: Rig) -> None:
    rig.settle()
    assert rig.cluster.faults.planted == []
    send(rig, 1_050)
    send(rig, 1_100)
    rig.settle()
    assert totals(rig) == [2]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_retriable_call_is_repeated_and_nothing_is_brought_back(call: str, when: str) -> None:
    rig = started()
    send(rig, 1_000)
    rig.cluster.inject(call, error=RetriableError("no answer", code="_TIMED_OUT"), when=when)
    finish(rig)
    assert rig.events.of("rolled-back") == []


@pytest.mark.parametrize("call", CALLS)
def test_after_an_abortable_failure_the_committed_state_is_brought_back(call: str) -> None:
    """R7: the window holds each record once, though the first was processed twice."""
    rig = started()
    send(rig, 1_000)
    rig.cluster.inject(call, error=AbortableError("no", code="PLANTED"))
    finish(rig)
    assert len(rig.events.of("rolled-back")) == 1


def test_what_was_brought_back_is_not_in_memory_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks that are dropped go at once, with all their state: full collections are rare in a worker."""
    rig = started()
    producer = rig.processes["a"].worker._transaction.producer()

    def refused(*_: object) -> None:
        monkeypatch.undo()
        raise AbortableError("no", code="PLANTED")

    monkeypatch.setattr(producer, "send_offsets", refused)
    gc.collect()
    before = tasks_in_memory()
    gc.disable()
    try:
        send(rig, 1_000)
        rig.settle()
        assert len(rig.events.of("rolled-back")) == 1
        assert tasks_in_memory() == before
    finally:
        gc.enable()
    finish(rig)


@pytest.mark.parametrize("call", CALLS)
def test_a_fenced_producer_is_replaced(call: str) -> None:
    rig = started()
    send(rig, 1_000)
    rig.cluster.inject(call, error=FencedError("newer epoch", code="INVALID_PRODUCER_EPOCH"))
    finish(rig)
    assert rig.events.of("producer-replaced")


@pytest.mark.parametrize("call", ["begin", "produce_many", *CALLS])
def test_a_producer_with_a_fatal_error_is_replaced_and_the_committed_state_brought_back(call: str) -> None:
    """R5: INVALID_TXN_STATE, OUT_OF_ORDER_SEQUENCE_NUMBER and the like are the end of a producer, not of the worker."""
    rig = started()
    send(rig, 1_000)
    if call == "produce_many":  # only results are produced so
        send(rig, 1_050)
        send(rig, 1_100)
        rig.cluster.inject(call, error=FatalError("broken", code="INVALID_TXN_STATE"))
        rig.settle()
        assert rig.cluster.faults.planted == []
        assert totals(rig) == [2]
    else:
        rig.cluster.inject(call, error=FatalError("broken", code="INVALID_TXN_STATE"))
        finish(rig)
    assert len(rig.events.of("producer-replaced")) == 1
    assert len(rig.events.of("rolled-back")) == 1


def test_a_producer_that_breaks_again_and_again_stops_the_service() -> None:
    rig = started()
    send(rig, 1_000)
    for _ in range(20):
        rig.cluster.inject("flush", error=FatalError("broken", code="INVALID_TXN_STATE", call="flush"))
    with pytest.raises(FatalError, match=r"'app-a' failed 5 times within \d+ s.*INVALID_TXN_STATE"):
        rig.settle()
    assert totals(rig) == []


def test_what_the_cluster_does_not_allow_stops_the_service_at_once() -> None:
    rig = started()
    send(rig, 1_000)
    refused = AuthorizationError("not allowed: WRITE on topic 'results'", code="TOPIC_AUTHORIZATION_FAILED")
    rig.cluster.inject("flush", error=refused)
    with pytest.raises(AuthorizationError, match="WRITE on topic 'results'"):
        rig.settle()
    assert rig.events.of("producer-replaced") == []


def test_a_transaction_that_the_broker_timed_out_is_done_again() -> None:
    """It looks like fencing to the producer."""
    rig = started()
    rig.clock.advance(10)
    send(rig, 1_000)
    worker = rig.processes["a"].worker
    polled = worker._consumer.poll(10, 0.0)
    worker._process(polled)
    worker._transaction._begun().produce("results", b'{"total":0}')
    worker._transaction._begun().flush(1.0)
    rig.cluster.expire_transaction("app-a")
    finish(rig)  # what was produced before is not among the results
    assert rig.events.of("producer-replaced")


def test_a_disturbed_commit_replaces_the_producer_before_the_next_transaction() -> None:
    """R6: an EndTxn that was sent twice could end the next transaction of the same epoch."""
    rig = started()
    send(rig, 1_000)
    rig.cluster.faults.disturb("REQTMOUT on the coordinator's connection")
    finish(rig)
    assert rig.events.of("producer-disturbed") == [{"reason": "REQTMOUT on the coordinator's connection"}]
    assert rig.events.of("rolled-back") == []


def test_the_same_cause_twice_at_the_same_place_stops_the_service() -> None:
    rig = started()
    send(rig, 1_000)
    for _ in range(2):
        rig.cluster.inject("flush", error=AbortableError("never", code="SAME"))
    with pytest.raises(KafkaError, match="never"):
        rig.settle()
    assert totals(rig) == []


@pytest.mark.parametrize("code", ["_TIMED_OUT", "_MSG_TIMED_OUT", "NOT_ENOUGH_REPLICAS"])
def test_a_kafka_that_is_away_for_several_transactions_is_outlived(code: str) -> None:
    """The same cause with the same records, again and again; but it is none of theirs, and it passes."""
    rig = started()
    send(rig, 1_000)
    for _ in range(6):
        rig.cluster.inject("send_offsets", error=AbortableError("coordinator is gone", code=code))
    finish(rig)
    assert len(rig.events.of("rolled-back")) == 6


def test_a_record_of_an_internal_topic_that_the_broker_refuses_stops_the_service_at_once() -> None:
    """R5: replaying would be refused again. (Those of sinks: test_refused.py.)"""
    rig = started()
    send(rig, 1_000)
    topic = "app.agg.changelog"
    rig.cluster.inject("flush", error=RejectedRecordError("too large", code="MSG_SIZE_TOO_LARGE", topic=topic, partition=0))
    with pytest.raises(RejectedRecordError, match="too large"):
        rig.settle()


def test_a_transaction_without_input_sends_the_committed_offsets_again() -> None:
    """R1: only so does the broker fence a member that has gone stale. Here it is a heartbeat's."""
    app = sk.App("app")
    app.stream(sk.Topic("events", key=str, value=Event)).key_by("value").to(sk.Topic("results"))
    rig = Rig(app, 1)
    rig.join("a")
    rig.settle()

    def committed() -> tuple[int, str]:
        found = rig.processes["a"].client.admin().group_offsets("app", 1.0)[TopicPartition("events", 0)]
        return found.offset, found.metadata

    before = committed()
    rig.clock.advance(rig.settings.heartbeat_ms / 1000)
    rig.step("a")
    after = committed()
    assert after[0] == before[0]
    assert after[1] != before[1]  # the commit counter
    assert rig.cluster.open_transactions() == []


def test_a_commit_inside_a_rebalance_leaves_half_of_what_the_group_still_waits() -> None:
    """R8: a poll that has taken four of its six seconds leaves one to the commit; a transaction may take two and a half."""
    entered: list[tuple[str, float]] = []

    class Calls(NoGuard):
        def enter(self, doing: str, within_s: float) -> None:
            entered.append((doing, within_s))

    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    times = {"transaction_timeout_ms": 5_000, "session_timeout_ms": 6_000, "max_poll_interval_ms": 6_000}
    rig = Rig(app, {"events": 2}, commit_interval_ms=1_000, **times)
    worker = rig.join("a")
    rig.settle()
    send(rig, 1_000)
    rig.step("a")  # committed at once, being the first after a pause
    send(rig, 1_001)
    rig.step("a")  # processed, and not yet due
    assert any(task.touched for task in worker.tasks)
    poll = worker._consumer.poll

    def slow(most: int, timeout: float) -> Polled:
        rig.clock.advance(4.0)
        return poll(most, timeout)

    worker._transaction._guard = Calls()
    worker._consumer.poll = slow
    other = MemoryClient(rig.cluster, client_id="b").consumer("app")
    other.subscribe(["events"], Silent())
    other.poll(1, 0.0)
    worker.step(0.0)
    assert ("flush", patience(1.0)) in entered


class Silent:
    """A member that takes what it is given and does nothing with it."""

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        pass

    on_revoked = on_lost = on_assigned
