"""The extension against Messages and `produce`, on one real Kafka in one process: whatever is done, the results are the same."""

from __future__ import annotations

import gc
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from streamkit.errors import KafkaError, LostOffsetError
from streamkit.kafka.client import Headers, NewTopic, Polled, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent.consumer import GroupConsumer
from streamkit.kafka.confluent.intake import ColumnBatch
from streamkit.kafka.confluent.native import Extension
from streamkit.kafka.confluent.producer import TransactionalProducer

try:
    from streamkit.kafka.confluent import _native  # noqa: F401 - whether it is there
except ImportError as error:
    pytestmark = pytest.mark.skip(reason=f"the extension is not built: {error}")
else:
    pytestmark = pytest.mark.timeout(90)

NOW = int(time.time() * 1000)
BOTH = ("by column", "by message")
HEADERS: list[Headers | None] = [
    None,
    [],
    [("a", b"1")],
    [("null", None), ("empty", b""), ("twice", b"1"), ("twice", b"2")],
    [("", b"no name"), ("größe", b"\xff\x00")],
]
VALUES = [b"one", None, b"", b"\0four", b"x" * 200_000]
KEYS = [None, b"k", b"", b"k\0", b"key"]


class Listener:
    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()
        self.came: list[TopicPartition] = []

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.owned |= set(partitions)
        self.came += partitions

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.owned -= set(partitions)

    on_lost = on_revoked


class Kafka:
    """Clients of both kinds."""

    def __init__(self, bootstrap: str, stack: ExitStack, **settings: Any) -> None:
        of = ConnectionSettings(bootstrap, transaction_timeout_ms=10_000, **settings)
        self.clients = {
            "by column": ConfluentClient(of, extension=Extension()),
            "by message": ConfluentClient(of, extension=Extension(load=lambda _: None)),
        }
        self._stack = stack

    def topic(self, partitions: int = 1, **config: str) -> str:
        name = f"t-{uuid.uuid4().hex[:12]}"
        admin = self.clients["by column"].admin()
        admin.create_topics([NewTopic(name, partitions, 1, config)], 20)
        admin.close()
        return name

    def producer(self, way: str) -> TransactionalProducer:
        producer = self.clients[way].producer(f"w-{uuid.uuid4().hex[:8]}")
        self._stack.callback(producer.close)
        producer.init_transactions(20)
        return producer

    def write(self, topic: str, n: int, *, partition: int = 0, way: str = "by column", start: int = 0) -> None:
        producer = self.producer(way)
        producer.begin()
        producer.produce_many(topic, [b"%d" % i for i in range(start, start + n)], [b"k"] * n, partition, NOW)
        producer.flush(10)
        producer.commit(10)

    def member(self, way: str, topic: str, group: str | None = None) -> tuple[GroupConsumer, Listener]:
        consumer, listener = self.clients[way].consumer(group or f"g-{uuid.uuid4().hex[:12]}"), Listener()
        self._stack.callback(consumer.close)
        consumer.subscribe([topic], listener)
        return consumer, listener


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["classic", "consumer"])
def kafka(real_broker: str, stack: ExitStack, request: pytest.FixtureRequest) -> Kafka:
    return Kafka(real_broker, stack, group_protocol=request.param)


@pytest.fixture
def classic(real_broker: str, stack: ExitStack) -> Kafka:
    return Kafka(real_broker, stack)


def poll_until(done: Callable[[], bool], *polls: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it took too long"
        for poll in polls:
            poll()


class Seen:
    """The columns of each partition, in the order in which they came."""

    def __init__(self) -> None:
        self.rows: dict[TopicPartition, list[tuple[Any, ...]]] = {}
        self.ends: dict[TopicPartition, int] = {}
        self.kinds: set[type] = set()

    def add(self, polled: Polled) -> None:
        self.ends |= polled.ends
        for batch in polled.batches:
            self.kinds.add(type(batch))
            columns = (batch.offsets().tolist(), batch.timestamps().tolist(), batch.values(), batch.keys(), batch.headers())
            self.rows.setdefault(batch.tp, []).extend((*row, batch.leader_epoch) for row in zip(*columns, strict=True))
            assert (batch.first_offset, batch.next_offset) == (columns[0][0], columns[0][-1] + 1)

    def offsets(self, tp: TopicPartition) -> list[int]:
        return [row[0] for row in self.rows.get(tp, [])]


def placed(consumer: GroupConsumer, listener: Listener, count: int, offset: int = 0) -> list[TopicPartition]:
    poll_until(lambda: len(listener.owned) == count, lambda: consumer.poll(100, 0.1))
    tps = sorted(listener.owned)
    for tp in tps:
        consumer.seek(tp, offset)
    consumer.resume(tps)
    return tps


def read(kafka: Kafka, way: str, topic: str, partitions: int = 1, most: int = 1_000) -> Seen:
    consumer, listener = kafka.member(way, topic)
    tps = placed(consumer, listener, partitions)
    seen = Seen()
    poll_until(lambda: set(tps) <= set(seen.ends), lambda: seen.add(consumer.poll(most, 0.1)))
    return seen


def fill(producer: TransactionalProducer, topic: str, partition: int, *, rounds: int = 40) -> None:
    producer.begin()
    for _ in range(rounds):
        producer.produce_many(topic, VALUES, KEYS, partition, [NOW + i for i in range(5)], HEADERS)
        producer.produce_many(topic, VALUES[:3], [None] * 3, partition, NOW)
    producer.flush(20)
    producer.commit(10)


@pytest.mark.parametrize("writer", BOTH)
def test_all_columns_are_read_alike_whoever_wrote_them(classic, writer):
    topic = classic.topic(2)
    for partition in range(2):
        fill(classic.producer(writer), topic, partition)
    columns, messages = (read(classic, way, topic, 2, most=7) for way in BOTH)
    assert columns.rows == messages.rows
    assert columns.ends == messages.ends
    assert (columns.kinds, len(messages.kinds - {ColumnBatch})) == ({ColumnBatch}, 1)
    assert [len(rows) for rows in columns.rows.values()] == [320, 320]
    _, stamps, values, keys, headers, epochs = (list(of) for of in zip(*columns.rows[TopicPartition(topic, 1)][:8], strict=True))
    assert stamps == [*range(NOW, NOW + 5), NOW, NOW, NOW]
    assert values == VALUES + VALUES[:3]
    assert keys == KEYS + [None] * 3
    assert headers == [None, *([None] if headers[1] is None else [[]]), *HEADERS[2:], None, None, None]
    assert set(epochs) == {0}


def test_keys_choose_the_same_partitions(classic):
    topics = {way: classic.topic(5) for way in BOTH}
    keys = [b"%d" % i for i in range(500)]
    for way, topic in topics.items():
        producer = classic.producer(way)
        producer.begin()
        producer.produce_many(topic, keys, keys, -1, NOW)
        producer.flush(10)
        producer.commit(10)
    by_partition = [
        {tp.partition: rows for tp, rows in read(classic, "by column", topic, 5).rows.items()} for topic in topics.values()
    ]
    assert by_partition[0] == by_partition[1]
    assert len(by_partition[0]) == 5


def what(error: KafkaError) -> tuple[Any, ...]:
    """All but its words: they name the producer, and librdkafka's `produce` says once more that it could not."""
    return type(error), error.code, error.call, *(getattr(error, name, None) for name in ("topic", "partition", "key"))


REFUSALS: dict[str, tuple[dict[str, str], list[tuple[bytes | None, bytes | None, int]]]] = {
    "one record too large for its topic": ({"max.message.bytes": "2000"}, [(os.urandom(5_000), b"k", NOW)]),
    "a batch of which one is too large": (
        {"max.message.bytes": "2000"},
        [(b"v", b"a", NOW), (os.urandom(5_000), b"k", NOW), (b"v", b"b", NOW)],
    ),
    "one too large for the client": ({}, [(b"v", b"a", NOW), (b"x" * 2_000_000, b"k", NOW)]),
    "null keys into a compacted topic": (
        {"cleanup.policy": "compact"},
        [(b"v", b"a", NOW), (b"v", None, NOW), (b"v", b"b", NOW)],
    ),
    "several null keys": ({"cleanup.policy": "compact"}, [(b"v", b"a", NOW), (b"v", None, NOW), (b"v", None, NOW)]),
    "a time that the topic refuses": ({"message.timestamp.before.max.ms": "1000"}, [(b"v", b"a", NOW), (b"v", b"b", 1_000_000)]),
    "only times that the topic refuses": ({"message.timestamp.before.max.ms": "1000"}, [(b"v", b"b", 1_000_000)] * 3),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_fails_alike(classic, case):
    config, records = REFUSALS[case]
    topic = classic.topic(1, **config)
    failed = []
    for way in BOTH:
        producer = classic.producer(way)
        producer.begin()
        with pytest.raises(KafkaError) as raised:
            columns = [list(column) for column in zip(*records, strict=True)]
            producer.produce_many(topic, columns[0], columns[1], 0, columns[2])
            producer.flush(10)
        producer.abort(10)
        failed.append((*what(raised.value), bool(producer.disturbed())))
    assert failed[0] == failed[1]


@pytest.mark.parametrize("topic", ["no/topic", "x" * 600])
def test_a_topic_that_cannot_be_fails_alike(classic, topic):
    failed = []
    for way in BOTH:
        producer = classic.producer(way)
        producer.begin()
        with pytest.raises(KafkaError) as raised:
            producer.produce_many(topic, [b"v"], [b"k"], 0, NOW)
            producer.flush(10)
        failed.append(what(raised.value))
    assert failed[0] == failed[1]


def test_writing_outside_of_a_transaction_fails_alike(classic):
    topic, failed = classic.topic(), []
    for way in BOTH:
        with pytest.raises(KafkaError) as raised:
            classic.producer(way).produce_many(topic, [b"v"], [b"k"], 0, NOW)
        failed.append(what(raised.value))
    assert failed[0] == failed[1]


@pytest.mark.parametrize("way", BOTH)
def test_what_an_abort_takes_back_is_no_failure_of_the_next_transaction(classic, way):
    topic, producer = classic.topic(), classic.producer(way)
    for _ in range(3):
        producer.begin()
        producer.produce_many(topic, [b"aborted"] * 5_000, [b"k"] * 5_000, 0, NOW)
        producer.abort(10)
    producer.begin()
    producer.produce_many(topic, [b"committed"], [b"k"], 0, NOW)
    producer.flush(10)
    producer.commit(10)
    (rows,) = read(classic, way, topic).rows.values()
    assert [row[2] for row in rows] == [b"committed"]


@pytest.mark.parametrize("way", BOTH)
def test_seeks_and_pauses_while_records_flow_give_what_they_say(kafka, way):
    topic = kafka.topic(3)
    for partition in range(3):
        kafka.write(topic, 3_000, partition=partition)
    consumer, listener = kafka.member(way, topic)
    tps = placed(consumer, listener, 3)
    wanted = dict.fromkeys(tps, 0)
    paused: set[TopicPartition] = set()
    for step in range(400):
        polled = consumer.poll(37, 0.05)
        for batch in polled.batches:
            assert batch.tp not in paused
            assert batch.offsets().tolist() == list(range(wanted[batch.tp], wanted[batch.tp] + len(batch)))
            assert batch.values() == [b"%d" % offset for offset in batch.offsets().tolist()]
            wanted[batch.tp] = batch.next_offset
        tp = tps[step % 3]
        if step % 7 == 3:
            wanted[tp] = step * 5 if step % 2 else 2_900
            consumer.seek(tp, wanted[tp])
        elif step % 11 == 4:
            consumer.pause([tp])
            paused.add(tp)
        elif step % 13 == 5:
            consumer.resume(paused)
            paused.clear()
    consumer.resume(paused)
    for tp in tps:
        wanted[tp] = 2_990
        consumer.seek(tp, 2_990)
    last = Seen()
    poll_until(lambda: set(last.ends) == set(tps), lambda: last.add(consumer.poll(1_000, 0.1)))
    assert [last.offsets(tp) for tp in tps] == [list(range(2_990, 3_000))] * 3


def test_members_come_and_go_while_records_flow(kafka):
    """What a member is given of a partition goes on without a gap from where it was placed, whoever had it before. They read
    slowly until all have joined: on a busy machine that takes seconds, and there has to be something left."""
    topic, n = kafka.topic(4), 4_000
    for partition in range(4):
        kafka.write(topic, n, partition=partition)
    group = f"g-{uuid.uuid4().hex[:12]}"
    done = dict.fromkeys((TopicPartition(topic, partition) for partition in range(4)), 0)

    class Member:
        most = 5

        def __init__(self) -> None:
            self.consumer, self.listener = kafka.member("by column", topic, group)
            self.read = 0

        def poll(self) -> None:
            came, self.listener.came = self.listener.came, []
            came = [tp for tp in came if tp in self.listener.owned]
            for tp in came:
                self.consumer.seek(tp, done[tp])
            self.consumer.resume(came)
            for batch in self.consumer.poll(self.most, 0.02).batches:
                assert batch.tp in self.listener.owned
                assert batch.offsets().tolist() == list(range(done[batch.tp], done[batch.tp] + len(batch)))
                done[batch.tp] = batch.next_offset
                self.read += len(batch)

    first, second = Member(), Member()
    poll_until(lambda: first.read > 200 and second.read > 200, first.poll, second.poll)
    third = Member()
    poll_until(lambda: third.read > 200, first.poll, second.poll, third.poll)
    Member.most = 20
    second.consumer.close()
    poll_until(lambda: len(first.listener.owned | third.listener.owned) == 4, first.poll, third.poll)
    poll_until(lambda: set(done.values()) == {n}, first.poll, third.poll)


@pytest.mark.parametrize("way", BOTH)
def test_a_place_that_is_lost_again_and_again_while_others_are_read(kafka, way):
    """Each time librdkafka gives the partition up, and it has to be assigned anew: with the classic protocol, all have to."""
    topic = kafka.topic(2)
    lost, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    kafka.write(topic, 300)
    consumer, listener = kafka.member(way, topic)
    placed(consumer, listener, 2)
    seen = Seen()

    def poll() -> None:
        seen.add(consumer.poll(100, 0.05))

    for turn in range(1, 5):
        consumer.seek(lost, 9_999)
        with pytest.raises(LostOffsetError):
            poll_until(lambda: False, poll)
        seen.rows.pop(lost, None)
        consumer.seek(lost, 295)
        kafka.write(topic, 10, partition=1)
        poll_until(lambda: seen.offsets(lost) == [*range(295, 300)], poll)
        poll_until(lambda turn=turn: len(seen.offsets(other)) == 10 * turn, poll)  # type: ignore[misc] # a default binds the turn
    assert [row[2] for row in seen.rows[other]] == [b"%d" % i for i in range(10)] * 4


@pytest.mark.parametrize("way", BOTH)
def test_a_topic_that_is_made_anew_is_read_from_its_start(kafka, way):
    topic = kafka.topic()
    kafka.write(topic, 50)
    consumer, listener = kafka.member(way, topic)
    (tp,) = placed(consumer, listener, 1)
    seen = Seen()
    poll_until(lambda: len(seen.offsets(tp)) == 50, lambda: seen.add(consumer.poll(100, 0.1)))
    admin = kafka.clients[way].admin()
    admin.delete_topics([topic], 20)
    admin.create_topics([NewTopic(topic, 1, 1, {})], 20)
    admin.close()
    kafka.write(topic, 20, start=100)
    again = Seen()

    def poll() -> None:
        for tp in [tp for tp in listener.came if tp in listener.owned]:
            consumer.seek(tp, 0)
            consumer.resume([tp])
        listener.came.clear()
        try:
            again.add(consumer.poll(100, 0.1))
        except KafkaError:
            listener.came += listener.owned

    listener.came = [tp]
    poll_until(lambda: len(again.offsets(tp)) >= 20, poll, seconds=60)
    assert [row[2] for row in again.rows[tp]] == [b"%d" % i for i in range(100, 120)]


@pytest.mark.parametrize("how", ["close", "drop", "drop with a batch", "close before it has joined"])
def test_a_consumer_goes_in_time_whatever_it_had_fetched(kafka, how):
    """librdkafka waits for what is held of it, so what we hold has to be let go of first."""
    topic = kafka.topic(2)
    for partition in range(2):
        kafka.write(topic, 5_000, partition=partition)
    held: list[Any] = []

    def live() -> None:
        consumer, listener = kafka.clients["by column"].consumer(f"g-{uuid.uuid4().hex[:12]}"), Listener()
        consumer.subscribe([topic], listener)
        if how == "close before it has joined":
            consumer.poll(1, 0)
            time.sleep(4)  # the assignment comes, and nobody asks for it before `close`
        else:
            placed(consumer, listener, 2)
            deadline = time.monotonic() + 20
            while not held and time.monotonic() < deadline:
                held.extend(consumer.poll(10, 0.1).batches)
            time.sleep(0.5)  # more is fetched
        if how.startswith("close"):
            consumer.close()
        if held and not how.endswith("batch"):
            held[:] = ["something"]
        del consumer
        gc.collect()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for ever"
    assert held or how.startswith("close before")


@pytest.mark.parametrize("way", BOTH)
def test_a_listener_that_commits_as_the_consumer_closes_may_ask_for_headers(kafka, way):
    topic = kafka.topic()
    fill(kafka.producer(way), topic, 0, rounds=1)
    batches: list[Any] = []
    asked: list[Headers | None] = []

    class Committing(Listener):
        def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
            super().on_revoked(partitions)
            asked.extend(batches[0].headers(np.array([2, 3], np.int64)))

    consumer, listener = kafka.clients[way].consumer(f"g-{uuid.uuid4().hex[:12]}"), Committing()
    consumer.subscribe([topic], listener)
    placed(consumer, listener, 1)
    poll_until(lambda: bool(batches), lambda: batches.extend(consumer.poll(100, 0.1).batches))
    consumer.close()
    assert asked == HEADERS[2:4]


def test_headers_of_a_batch_whose_consumer_is_closed_are_gone_and_its_other_columns_are_not(classic):
    topic = classic.topic()
    fill(classic.producer("by column"), topic, 0, rounds=1)
    consumer, listener = classic.member("by column", topic)
    placed(consumer, listener, 1)
    batches: list[Any] = []
    poll_until(lambda: bool(batches), lambda: batches.extend(consumer.poll(100, 0.1).batches))
    at = np.array([3], np.int64)
    assert batches[0].headers(at) == [HEADERS[3]]
    with pytest.raises(IndexError):
        batches[0].headers(np.array([len(batches[0])], np.int64))
    consumer.close()
    assert batches[0].values()[:5] == VALUES
    with pytest.raises(ValueError, match="the consumer is closed"):
        batches[0].headers(at)
