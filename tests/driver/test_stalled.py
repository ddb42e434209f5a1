"""Records wait, the partition is ours, and nothing comes of it: a named error. And everything that only looks like it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import streamkit as sk
from streamkit.errors import AbortableError, RetriableError, StalledError
from streamkit.kafka.client import Committed, Polled, TopicPartition
from streamkit.kafka.memory import MemoryClient
from tests.driver.rig import Rig

BOUND_S = 40.0
PARTITION = TopicPartition("events", 0)


class Event(sk.Model):
    key: str
    value: int


def started(*, until_end: bool = False, partitions: int = 1) -> Rig:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    totals = events.by_record_key().window(sk.tumbling("100ms")).aggregate("agg", total=sk.sum("value"))
    totals.on_close().to(sk.Topic("results"))
    rig = Rig(app, {"events": partitions}, stalled_after_ms=int(BOUND_S * 1000), until_end=until_end)
    send(rig)
    rig.join("a")
    rig.settle()
    return rig


def send(rig: Rig, *, partition: int = 0) -> None:
    rig.cluster.append("events", b'{"key":"k","value":1}', b"k", partition, 1_000)


def steps(rig: Rig, seconds: float, before: Callable[[], None] = lambda: None) -> None:
    for _ in range(round(seconds)):
        before()
        rig.processes["a"].worker.step(0.0)
        rig.clock.advance(1.0)


def test_a_consumer_that_delivers_nothing_although_there_are_records() -> None:
    rig = started()
    worker = rig.processes["a"].worker
    worker._consumer.poll = lambda *_: Polled()
    send(rig)
    says = r"events-0 is assigned .* up to offset 2, .* still at offset 1 .* offset 1 can be read"
    with pytest.raises(StalledError, match=says) as caught:
        steps(rig, 2 * BOUND_S)
    error = caught.value
    assert (error.topic, error.partition, error.position, error.end) == ("events", 0, 1, 2)
    assert BOUND_S < error.seconds < 1.5 * BOUND_S
    worker.close()
    assert rig.cluster.open_transactions() == []


def test_a_worker_that_aborts_and_replays_for_ever() -> None:
    """Each time for another reason, so that no count of repetitions ends it."""
    rig = started()
    send(rig)
    number = 0

    def fail() -> None:
        nonlocal number
        number += 1
        rig.cluster.inject("flush", error=AbortableError("no", code=f"REASON_{number}"))

    with pytest.raises(StalledError, match="events-0"):
        steps(rig, 10 * BOUND_S, fail)


def test_a_task_that_can_never_be_started() -> None:
    rig = started()
    rig.leave("a")
    send(rig)
    rig.join("a")
    worker = rig.processes["a"].worker

    def pending(*_: object) -> object:
        raise RetriableError("offsets are pending", code="UNSTABLE_OFFSET_COMMIT", call="committed")

    worker._consumer.committed = pending
    with pytest.raises(StalledError, match=r"no task could be started for it; lately: .*offsets are pending"):
        steps(rig, 3 * BOUND_S)


def test_positions_that_a_lost_transaction_holds_are_said_to_be_that() -> None:
    """Brokers may lose track of one: then nobody ends it, and starting again is no answer."""
    rig = started()
    rig.leave("a")
    send(rig)
    lost = MemoryClient(rig.cluster, client_id="lost").producer("nobody-comes-back-for-this-one")
    lost.init_transactions(1)
    lost.begin()
    rig.join("a")
    worker = rig.processes["a"].worker
    while worker._consumer.group_metadata().generation < 0 or not worker._assignment.owned:
        worker._consumer.poll(1, 0.0)
    lost.send_offsets({PARTITION: Committed(1)}, worker._consumer.group_metadata(), 1)
    with pytest.raises(StalledError) as caught:
        steps(rig, 3 * BOUND_S)
    says = str(caught.value)
    assert "lately: committed: offsets of open transactions: events-0" in says
    assert "`kafka-transactions.sh --bootstrap-server embedded broker find-hanging --broker-id N" in says
    assert "abort --topic T --partition P --start-offset O`" in says
    assert "Start the worker again" not in says
    worker.close()
    lost.abort(1)  # as that tool does
    rig.join("a")
    rig.settle()
    assert position(rig) == end(rig)


# ---- what only looks like it: the worker is looked at again and again, is not stopped, and still does its work


def position(rig: Rig, partition: int = 0) -> int:
    return MemoryClient(rig.cluster).admin().group_offsets("app", 1.0)[TopicPartition("events", partition)].offset


def end(rig: Rig, partition: int = 0) -> int:
    tp = TopicPartition("events", partition)
    return MemoryClient(rig.cluster).admin().end_offsets([tp], 1.0)[tp]


def still_works(rig: Rig, partition: int = 0) -> None:
    """What arrives now is processed and committed, by the same worker and the same task."""
    tasks = rig.processes["a"].worker.tasks
    send(rig, partition=partition)
    rig.settle()
    assert position(rig, partition) == end(rig, partition)
    assert rig.processes["a"].worker.tasks == tasks
    assert rig.events.of("rolled-back") == []


def test_a_partition_without_records_is_none() -> None:
    rig = started(partitions=2)
    steps(rig, 5 * BOUND_S)
    assert end(rig, 1) == 0
    still_works(rig, partition=1)


def test_a_log_whose_end_is_control_records_is_none() -> None:
    rig = started()
    producer = MemoryClient(rig.cluster, client_id="input").producer("input")
    producer.init_transactions(1)
    for _ in range(3):
        producer.begin()
        producer.produce("events", b'{"key":"k","value":1}', b"k", 0, 1_000)
        producer.flush(1)
        producer.abort(1)
    worker = rig.processes["a"].worker
    real = worker._consumer.poll

    def without_ends(most: int, timeout: float) -> Polled:
        return Polled(real(most, timeout).batches)

    worker._consumer.poll = without_ends
    steps(rig, 5 * BOUND_S)
    assert position(rig) < end(rig)  # it did look like records that wait
    assert rig.events.of("held-up") != []  # and was judged
    worker._consumer.poll = real
    still_works(rig)


def test_an_open_transaction_in_front_is_told_and_is_none() -> None:
    rig = started()
    producer = MemoryClient(rig.cluster, client_id="input").producer("input")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("events", b'{"key":"k","value":1}', b"k", 0, 1_000)
    producer.flush(1)
    send(rig)  # waits behind it
    steps(rig, 2 * BOUND_S)
    assert rig.events.of("held-up")[0] == {"topic": "events", "partition": 0, "position": 1, "end": 3}


def test_a_bounded_run_whose_input_goes_on_behind_its_end_is_none() -> None:
    rig = started(until_end=True)
    send(rig)
    steps(rig, 5 * BOUND_S)
    assert rig.processes["a"].worker.finished
    assert (position(rig), end(rig)) == (1, 2)


def test_a_broker_that_does_not_answer_is_none() -> None:
    rig = started()
    worker = rig.processes["a"].worker
    real = worker._consumer.poll
    worker._consumer.poll = lambda *_: Polled()
    send(rig)

    def away() -> None:
        rig.calm()
        rig.cluster.inject("end_offsets", error=RetriableError("no answer", code="_TIMED_OUT"))

    steps(rig, 3 * BOUND_S, away)
    rig.calm()
    assert (position(rig), end(rig)) == (1, 2)  # a record waited all the while
    worker._consumer.poll = real
    still_works(rig)


def test_a_process_that_was_stopped_for_an_hour_with_records_waiting_is_none() -> None:
    rig = started()
    steps(rig, BOUND_S / 2)
    send(rig)
    rig.clock.advance(3_600)
    steps(rig, BOUND_S)
    assert position(rig) == 2
    still_works(rig)
