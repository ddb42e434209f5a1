"""Public failures of others, staged on real Kafka: each first with what a plain client does, then with what ours does.

The same cases run in the simulator under the same names. Here the broker's own answers are the judge.
"""

from __future__ import annotations

import time
import uuid

import confluent_kafka as ck
import pytest

import streamkit as sk
from streamkit.clock import SystemClock
from streamkit.config import EngineSettings
from streamkit.errors import AbortableError, GenerationError, RetriableError
from streamkit.instrument import Recorder
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent.bounded import NeverReturnedError, bounded
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.restore import Restore
from streamkit.runtime.task import TaskId
from streamkit.runtime.topics import lay_out
from streamkit.runtime.transaction import BrokenProducerError, Transaction
from streamkit.runtime.worker import Worker
from tests.chaos import topics
from tests.chaos.zoo import TRANSACTION_MS, Listener, member, plain_producer, until, values
from tests.support import proxy_rules as rules
from tests.support.cluster3 import ProxiedKafka
from tests.support.proxy_frames import Api

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


@pytest.fixture
def patient(kafka: ProxiedKafka) -> ConfluentClient:
    """Its transactions last as long as a busy machine may need for what happens while they are open."""
    return ConfluentClient(
        ConnectionSettings(kafka.bootstrap, client_id="ours", transaction_timeout_ms=60_000, session_timeout_ms=90_000)
    )


# ---- R1, R9: what brokers do not check


def join_and_shrink(client: ConfluentClient, topic: str, group: str, first, listener) -> object:
    """A second member joins; the first keeps polling until it has one partition left."""
    second, theirs = client.consumer(group), Listener()
    second.subscribe([topic], theirs)

    def balanced() -> bool:
        first.poll(1, 0.05)
        second.poll(1, 0.05)
        return len(listener.owned) == len(theirs.owned) == 1

    until(balanced, "the group did not settle", 40)
    return second


def test_r9_brokers_take_offsets_of_partitions_that_are_another_members(
    kafka: ProxiedKafka, patient: ConfluentClient, topic: str
) -> None:
    """KIP-1287. With metadata read anew after a rebalance, the zombie's work on a lost partition is committed."""
    group, listener = f"g-{uuid.uuid4().hex[:8]}", Listener()
    first = member(patient, topic, group, listener)
    producer = patient.producer(f"zombie-{group}")
    producer.init_transactions(30)
    producer.begin()
    producer.produce(topic, b"work on both partitions", None, 0)
    second = join_and_shrink(patient, topic, group, first, listener)
    (lost,) = {TopicPartition(topic, 0), TopicPartition(topic, 1)} - listener.owned
    producer.flush(10)
    producer.send_offsets({lost: Committed(7)}, first.group_metadata(), 10)
    producer.commit(10)
    assert values(kafka, topic) == [b"work on both partitions"]
    assert second.committed([lost], 10)[lost] == Committed(7)
    for one in (producer, first, second):
        one.close()


def test_r9_work_on_a_partition_that_was_taken_away_is_done_once(kafka: ProxiedKafka, topic: str) -> None:
    """The same with the engine: its commit inside the revocation fails, because the coordinator does not hear it; the group
    goes on without it. A peer in its exactly-once mode then gave 16 committed outputs for 8 inputs."""
    kafka.create_topics([f"{topic}-out"], 2)
    events = {name: Recorder() for name in ("a", "b")}
    first = engine(kafka, topic, "a", events["a"])
    send(kafka, topic, 8)
    until(lambda: first.step(0.1).records > 0, "nothing was processed", 40)
    until(lambda: not first.step(0.1).records, "more was processed than there is")
    assert values(kafka, f"{topic}-out") == []  # all of it is in a transaction that is open, of both partitions
    unheard = kafka.proxy.rule(rules.answer_dropped(), apis=[Api.TXN_OFFSET_COMMIT], clients="a", times=3)
    second = engine(kafka, topic, "b", events["b"])
    try:

        def shared() -> bool:
            first.step(0.05)
            second.step(0.05)
            return len(first.tasks) == len(second.tasks) == 1

        until(shared, "the group did not settle", 60)
        assert unheard.hits
        assert events["a"].of("revoke-aborted") or events["a"].of("rolled-back")
        kafka.proxy.remove(unheard)

        def all_out() -> bool:
            first.step(0.05)
            second.step(0.05)
            return len(values(kafka, f"{topic}-out")) >= 8

        until(all_out, "not everything was processed", 60)
        for worker in (first, second):
            worker.drain()
        assert sorted(values(kafka, f"{topic}-out")) == sorted(b'{"n":%d}' % n for n in range(8))
    finally:
        first.close()
        second.close()


def engine(kafka: ProxiedKafka, topic: str, name: str, events: Recorder) -> Worker:
    """A worker of the engine in this thread, which commits so seldom that its transaction stays open."""
    app = sk.App(f"app-{topic}")
    app.stream(sk.Topic(topic, value=Number)).to(sk.Topic(f"{topic}-out", value=Number))
    settings = EngineSettings(commit_interval_ms=3_000, transaction_timeout_ms=TRANSACTION_MS, session_timeout_ms=15_000)
    client = ConfluentClient(
        ConnectionSettings(kafka.bootstrap, client_id=name, transaction_timeout_ms=TRANSACTION_MS, session_timeout_ms=15_000)
    )
    admin = client.admin()
    layout = lay_out(app.topology(), admin, settings, events)
    admin.close()
    failures = FailurePolicy("stop", events)
    worker = Worker(layout, client, SystemClock(), settings, failures, events, transactional_id=f"{topic}-{name}")
    worker.start()
    return worker


class Number(sk.Model):
    n: int


def send(kafka: ProxiedKafka, topic: str, count: int) -> None:
    producer = ck.Producer({"bootstrap.servers": kafka.direct, "log_level": 0})
    for number in range(count):
        producer.produce(topic, b'{"n":%d}' % number, partition=number % 2)
    assert producer.flush(20) == 0


def test_r1_a_stale_member_that_sends_no_offsets_is_not_fenced(kafka: ProxiedKafka, client: ConfluentClient, topic: str) -> None:
    """librdkafka leaves out a request with nothing in it, so no broker sees the stale generation; with one offset it does."""
    group, listener = f"g-{uuid.uuid4().hex[:8]}", Listener()
    first = member(client, topic, group, listener)
    stale = first.group_metadata()
    second = join_and_shrink(client, topic, group, first, listener)
    plain = plain_producer(kafka, "stale")
    plain.begin_transaction()
    plain.produce(topic, b"of a zombie", partition=0)
    plain.send_offsets_to_transaction([], stale.opaque or first._consumer.consumer_group_metadata(), 10)
    plain.commit_transaction(20)
    assert values(kafka, topic) == [b"of a zombie"]
    ours = client.producer(f"stale-{group}")
    ours.init_transactions(30)
    ours.begin()
    ours.produce(topic, b"of a zombie of ours", None, 0)
    with pytest.raises(ValueError, match="would not fence"):
        ours.send_offsets({}, stale, 10)
    with pytest.raises((GenerationError, AbortableError)):
        ours.send_offsets({TopicPartition(topic, 0): Committed(1)}, stale, 10)
    ours.abort(10)
    assert values(kafka, topic) == [b"of a zombie"]
    for one in (ours, first, second):
        one.close()


# ---- KAFKA-10167, KAFKA-12951, Quix #1017: where a restore ends


class StubTask:
    """A task with one changelog that keeps what it is given."""

    def __init__(self, changelog: str) -> None:
        self.id = TaskId("task", 0)
        self.changelog = changelog
        self.got: list[bytes | None] = []
        self.ready = False

    def changelog_topics(self) -> list[str]:
        return [self.changelog]

    def restore(self, _topic: str, _key: bytes | None, value: bytes | None) -> int:
        self.got.append(value)
        return 1

    def restored(self) -> None:
        self.ready = True


def write(producer, topic: str, value: bytes, end: str = "commit") -> None:
    producer.begin()
    producer.produce(topic, value, b"k", 0)
    producer.flush(10)
    if end == "commit":
        producer.commit(10)
    elif end == "abort":
        producer.abort(10)


def two_producers(client: ConfluentClient):
    made = [client.producer(f"p-{uuid.uuid4().hex[:8]}") for _ in range(2)]
    for producer in made:
        producer.init_transactions(30)
    return made


def begin_restore(task: StubTask, client: ConfluentClient, admin) -> Restore:
    """As the engine does: asks again where Kafka does not answer in time."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return Restore([task], client, admin, SystemClock(), 60.0, Recorder())
        except RetriableError:
            assert time.monotonic() < deadline


def run_restore(restore: Restore, task: StubTask, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if restore.step(0.1):
            return True
    return task.ready


def test_kafka_10167_a_restore_waits_for_committed_data_behind_an_open_transaction(patient: ConfluentClient, topic: str) -> None:
    """The last stable offset lies below committed records while an older transaction is open. Who takes it for the end of the
    changelog starts without them."""
    dead, alive = two_producers(patient)
    write(alive, topic, b"old")
    write(dead, topic, b"of a dead worker", end="leave open")
    write(alive, topic, b"committed behind it")
    task, admin = StubTask(topic), patient.admin()
    restore = begin_restore(task, patient, admin)
    until(lambda: restore.step(0.1) or task.got, "nothing was restored")
    assert not run_restore(restore, task, 3)
    assert task.got == [b"old"]
    dead.abort(10)
    assert run_restore(restore, task, 20)
    assert task.got == [b"old", b"committed behind it"]
    for one in (dead, alive, admin):
        one.close()


@pytest.mark.parametrize("last", ["commit", "abort"])
def test_kafka_12951_and_quix_1017_a_restore_ends_though_markers_are_the_last_of_the_log(
    client: ConfluentClient, topic: str, last: str
) -> None:
    """Nobody is given a marker, or an aborted record: who waits for the record before the end waits for ever."""
    one, other = two_producers(client)
    write(one, topic, b"kept")
    write(other, topic, b"more" if last == "commit" else b"aborted", end=last)
    task, admin = StubTask(topic), client.admin()
    restore = begin_restore(task, client, admin)
    assert run_restore(restore, task, 20)
    assert task.got == ([b"kept", b"more"] if last == "commit" else [b"kept"])
    for closing in (one, other, admin):
        closing.close()


def test_a_changelog_of_nothing_but_an_aborted_transaction_is_restored_at_once(client: ConfluentClient, topic: str) -> None:
    one, other = two_producers(client)
    write(one, topic, b"aborted", end="abort")
    task, admin = StubTask(topic), client.admin()
    restore = begin_restore(task, client, admin)
    assert run_restore(restore, task, 20)
    assert task.got == []
    for closing in (one, other, admin):
        closing.close()


# ---- librdkafka #5456, #5511: send_offsets waits for ever for a coordinator that has left the cluster


def group_of_one(kafka: ProxiedKafka, client: ConfluentClient, topic: str):
    """A consumer, its group and the node that coordinates it."""
    group = f"g-{uuid.uuid4().hex[:8]}"
    consumer = member(client, topic, group)
    return consumer, kafka.group_coordinator(group)


def lose(kafka: ProxiedKafka, node: int, knows) -> None:
    """Kills a node; returns when the client's metadata is without it, as `knows` tells."""
    kafka.kill(node)
    until(lambda: node not in knows(), f"broker {node} stayed in the metadata", 40)


def test_librdkafka_5511_a_plain_producer_hangs(kafka: ProxiedKafka, client: ConfluentClient, topic: str) -> None:
    """What R31 is for. If this fails, librdkafka has repaired it. (Three tries: on a busy machine another broker may have become
    coordinator before it is asked for.)"""
    assert any(hangs(kafka, client, topic, f"hangs-{attempt}") for attempt in range(3))


def hangs(kafka: ProxiedKafka, client: ConfluentClient, topic: str, name: str) -> bool:
    consumer, node = group_of_one(kafka, client, topic)
    producer = plain_producer(kafka, name)

    def transact() -> None:
        producer.begin_transaction()
        producer.produce(topic, b"x", partition=0)
        metadata = consumer._consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction([ck.TopicPartition(topic, 0, 1)], metadata, 2)

    transact()
    producer.commit_transaction(20)
    try:
        lose(kafka, node, lambda: producer.list_topics(timeout=10).brokers)
        bounded(transact, 10, name)
    except NeverReturnedError:
        return True
    except ck.KafkaException:  # it was told that the coordinator is away
        return False
    else:
        return False
    finally:
        kafka.launch(node)
        kafka.wait_healthy(topics.names(kafka.direct))
        consumer.close()


@pytest.mark.parametrize("when", ["between transactions", "within one"])
def test_librdkafka_5511_our_producer_is_replaced_and_the_worker_lives_on(
    kafka: ProxiedKafka, client: ConfluentClient, topic: str, when: str
) -> None:
    consumer, node = group_of_one(kafka, client, topic)
    events = Recorder()
    settings = EngineSettings(transaction_timeout_ms=TRANSACTION_MS, session_timeout_ms=15_000)
    transaction = Transaction(lambda: client.producer(f"ours-{topic}"), SystemClock(), settings, events)
    offsets = {TopicPartition(topic, 0): Committed(1)}

    def transact() -> None:
        transaction.produce(topic, b"x", None, 0)
        transaction.commit(offsets, consumer.group_metadata())

    transact()
    if when == "within one":
        transaction.produce(topic, b"x", None, 0)
    producer = transaction.producer()
    try:
        lose(kafka, node, lambda: producer._client.list_topics(timeout=10).brokers)
        started = time.monotonic()
        if when == "within one":
            with pytest.raises((BrokenProducerError, RetriableError)):
                transact()
            transaction.abort()
            transaction.replace()
        until_committed(transact, transaction)
        assert time.monotonic() - started < 25
    finally:
        kafka.launch(node)
        kafka.wait_healthy(topics.names(kafka.direct))
    assert events.of("producer-replaced")
    assert values(kafka, topic) == [b"x", b"x"]
    transaction.close()
    consumer.close()


def until_committed(transact, transaction: Transaction) -> None:
    """As the worker goes on: a new coordinator loads for a moment, and a producer that did not hear of it in time is replaced."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return transact()
        except RetriableError:
            assert time.monotonic() < deadline
        except BrokenProducerError:
            assert time.monotonic() < deadline
            transaction.abort()
            transaction.replace()
