"""The librdkafka producer against a real Kafka: what becomes visible, and what each failure is called."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka import murmur2

from streamkit.clock import SystemClock
from streamkit.config import EngineSettings
from streamkit.errors import AbortableError, FatalError, FencedError, GenerationError, RejectedRecordError, RetriableError
from streamkit.instrument import Recorder
from streamkit.kafka.client import Committed, GroupMetadata, NewTopic, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent import producer as producers
from streamkit.kafka.confluent.producer import TransactionalProducer
from streamkit.runtime.transaction import Transaction

pytestmark = pytest.mark.timeout(60)
NOW = int(time.time() * 1000)


@pytest.fixture
def client(real_broker: str) -> ConfluentClient:
    return ConfluentClient(ConnectionSettings(real_broker, transaction_timeout_ms=10_000))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def producer(client, stack) -> TransactionalProducer:
    return start(client, stack, f"p-{uuid.uuid4().hex[:8]}")


def start(client: ConfluentClient, stack: ExitStack, name: str) -> TransactionalProducer:
    producer = client.producer(name)
    stack.callback(producer.close)
    producer.init_transactions(20)
    return producer


def make_topic(client: ConfluentClient, partitions: int = 1, **config: str) -> str:
    name = f"t-{uuid.uuid4().hex[:12]}"
    admin = client.admin()
    admin.create_topics([NewTopic(name, partitions, 1, {key.replace("_", "."): value for key, value in config.items()})], 20)
    admin.close()
    return name


def read(client: ConfluentClient, topic: str, partitions: int = 1) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    """All committed records: partition -> (key, value)."""
    tps = [TopicPartition(topic, p) for p in range(partitions)]
    admin, reader = client.admin(), client.reader()
    ends = admin.end_offsets(tps, 10)
    reader.assign(dict.fromkeys(tps, 0))
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {p: [] for p in range(partitions)}
    reached: dict[TopicPartition, int] = {}
    limit = time.monotonic() + 20
    while any(reached.get(tp, -1) < ends[tp] for tp in tps):
        assert time.monotonic() < limit
        polled = reader.poll(1000, 0.1)
        for batch in polled.batches:
            found[batch.tp.partition] += zip(batch.keys(), batch.values(), strict=True)
        reached |= polled.ends
    reader.close()
    return found


def test_committed_records_are_seen_and_aborted_ones_are_not(client, producer):
    topic = make_topic(client)
    for end, value in ((producer.commit, b"kept"), (producer.abort, b"dropped"), (producer.commit, b"kept too")):
        producer.begin()
        producer.produce(topic, value, b"k", 0, NOW)
        producer.flush(10)
        end(10)
        assert producer.disturbed() is None
    assert read(client, topic) == {0: [(b"k", b"kept"), (b"k", b"kept too")]}


def test_an_abort_behind_a_flush_that_timed_out_wants_another_producer(client, producer):
    """The abort takes the records off their way, and their sequence numbers with them."""
    topic = make_topic(client)
    producer.begin()
    for number in range(1_000):
        producer.produce(topic, b"%d" % number, b"k", 0, NOW)
    with pytest.raises(RetriableError, match="not acknowledged"):
        producer.flush(0.0)
    producer.abort(10)
    assert "sequence numbers are missing" in (producer.disturbed() or "")


def test_columns_arrive_in_order_also_when_the_queue_is_full(real_broker, stack):
    client = ConfluentClient(ConnectionSettings(real_broker, transaction_timeout_ms=10_000, send_queue_records=1_000))
    topic = make_topic(client)
    producer = start(client, stack, f"p-{topic}")
    producer.begin()
    n = 25_000
    producer.produce_many(topic, [b"%d" % i for i in range(n)], (b"k%d" % i for i in range(n)), 0, range(NOW, NOW + n))
    producer.produce_many(topic, [b"h"], [None], 0, NOW, [[("a", b"b")]])
    producer.flush(20)
    producer.commit(10)
    assert read(client, topic) == {0: [(b"k%d" % i, b"%d" % i) for i in range(n)] + [(None, b"h")]}


def test_a_column_that_is_too_short_is_refused(client, producer):
    producer.begin()
    with pytest.raises(ValueError, match="fewer keys"):
        producer.produce_many("t", [b"1", b"2"], [b"k"], 0, NOW)


def test_keys_are_partitioned_as_java_clients_do(client, producer):
    topic = make_topic(client, 7)
    keys = [b"key-%d" % i for i in range(50)]
    producer.begin()
    producer.produce_many(topic, [b""] * 50, keys, -1, NOW)
    producer.commit(10)
    found = read(client, topic, 7)
    assert {key: p for p, records in found.items() for key, _ in records} == {key: murmur2(key, 7) for key in keys}


def test_an_older_producer_of_the_same_id_is_fenced(client, stack):
    topic, name = make_topic(client), f"p-{uuid.uuid4().hex[:8]}"
    old = start(client, stack, name)
    old.begin()
    old.produce(topic, b"zombie", None, 0)
    old.flush(10)
    start(client, stack, name)
    with pytest.raises(FencedError):
        old.produce(topic, b"zombie", None, 0)
        old.flush(10)
        old.commit(10)
    with pytest.raises(FencedError):  # and every later call says the same
        old.abort(10)
    with pytest.raises(FencedError):
        old.produce(topic, b"zombie", None, 0)
    assert read(client, topic) == {0: []}


def test_a_transaction_that_the_broker_timed_out_is_fenced(real_broker, stack):
    client = ConfluentClient(ConnectionSettings(real_broker, transaction_timeout_ms=1_000))
    topic = make_topic(client)
    producer = start(client, stack, f"p-{topic}")
    producer.begin()
    producer.produce(topic, b"late", None, 0)
    producer.flush(10)
    admin = client.admin()
    limit = time.monotonic() + 30
    while admin.end_offsets([TopicPartition(topic, 0)], 10)[TopicPartition(topic, 0)] < 2:  # the abort marker
        assert time.monotonic() < limit
        time.sleep(0.1)
    with pytest.raises(FencedError):
        producer.commit(10)


def incompressible(size: int) -> bytes:
    return b"".join(uuid.uuid4().bytes for _ in range(size // 16))


def test_a_record_too_large_for_its_topic_is_named(client, stack):
    topic, name = make_topic(client, max_message_bytes="2000"), f"p-{uuid.uuid4().hex[:8]}"
    producer = start(client, stack, name)
    producer.begin()
    producer.produce(topic, incompressible(5000), b"b", 0, NOW)
    with pytest.raises(RejectedRecordError) as caught:
        producer.flush(10)
    assert (caught.value.topic, caught.value.partition, caught.value.key) == (topic, 0, b"b")
    assert caught.value.code == "MSG_SIZE_TOO_LARGE"
    assert not isinstance(caught.value, FencedError)
    producer.abort(10)
    reason = producer.disturbed()
    assert reason is not None
    assert "sequence numbers" in reason


REFUSALS = [
    pytest.param({"message_timestamp_after_max_ms": "3600000"}, b"v", NOW + 2 * 3600_000, "INVALID_TIMESTAMP", id="timestamp"),
    pytest.param({"max_message_bytes": "2000"}, incompressible(5000), NOW, "MSG_SIZE_TOO_LARGE", id="size"),
]


@pytest.mark.parametrize("config,value,timestamp,code", REFUSALS)
def test_the_replay_finds_the_record_that_was_refused_with_its_batch(client, stack, config, value, timestamp, code):
    topic, name = make_topic(client, **config), f"p-{uuid.uuid4().hex[:8]}"

    def attempt(*, without: bytes | None = None) -> TransactionalProducer:
        producer = start(client, stack, name)
        producer.begin()
        for key in (b"a", b"bad", b"c"):
            if key != without:
                bad = key == b"bad"
                producer.produce(topic, value if bad else b"v", key, 0, timestamp if bad else NOW)
        return producer

    producer = attempt()
    with pytest.raises(AbortableError) as first:
        producer.flush(10)
    assert first.value.code == "_BATCH_REFUSED"  # whichever it is: no record is blamed
    producer.abort(10)
    assert producer.disturbed()
    producer = attempt()
    with pytest.raises(RejectedRecordError) as second:
        producer.flush(10)
    assert (second.value.code, second.value.topic, second.value.partition, second.value.key) == (code, topic, 0, b"bad")
    producer.abort(10)
    producer = attempt(without=b"bad")
    producer.flush(10)
    producer.commit(10)
    assert producer.disturbed()  # it still sends one by one: to be replaced
    producer = attempt(without=b"bad")
    producer.commit(10)
    assert producer.disturbed() is None
    assert read(client, topic) == {0: [(b"a", b"v"), (b"c", b"v")] * 2}


def test_small_records_whose_batch_is_too_large_for_the_topic_are_delivered_by_the_replay(client, stack):
    topic, name = make_topic(client, max_message_bytes="2000"), f"p-{uuid.uuid4().hex[:8]}"
    values = [incompressible(500) for _ in range(20)]
    for expected in (AbortableError, None):
        producer = start(client, stack, name)
        producer.begin()
        producer.produce_many(topic, values, [b"k"] * 20, 0, NOW)
        if expected is not None:
            with pytest.raises(expected):
                producer.flush(10)
            producer.abort(10)
        else:
            producer.flush(10)
            producer.commit(10)
    assert read(client, topic) == {0: [(b"k", value) for value in values]}


def test_the_one_null_key_of_a_batch_is_named_at_once(client, producer):
    topic = make_topic(client, cleanup_policy="compact")
    producer.begin()
    producer.produce_many(topic, [b"v"] * 3, [b"a", None, b"c"], 0, NOW)
    with pytest.raises(RejectedRecordError) as caught:
        producer.flush(10)
    assert (caught.value.code, caught.value.topic, caught.value.key) == ("INVALID_RECORD", topic, None)
    with pytest.raises(AbortableError):
        producer.commit(10)
    producer.abort(10)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_record_too_large_for_the_client_is_named(client, producer, bulk):
    producer.begin()
    with pytest.raises(RejectedRecordError) as caught:
        if bulk:
            producer.produce_many("any", [b"small", b"x" * 2_000_000], [b"a", b"b"], 3, NOW)
        else:
            producer.produce("any", b"x" * 2_000_000, b"b", 3)
    assert (caught.value.topic, caught.value.partition, caught.value.key) == ("any", 3, b"b")
    producer.abort(10)


def test_produce_after_a_failure_says_what_failed(client, producer):
    topic = make_topic(client, cleanup_policy="compact")
    producer.begin()
    producer.produce(topic, b"refused", None, 0, NOW)
    limit = time.monotonic() + 10
    with pytest.raises(RejectedRecordError, match="INVALID_RECORD"):
        while time.monotonic() < limit:
            producer.produce(topic, b"fine", b"k", 0, NOW)
            time.sleep(0.05)
    producer.abort(10)


def test_offsets_commit_and_abort_with_the_transaction(client, producer, stack):
    topic = make_topic(client)
    tp = TopicPartition(topic, 0)
    consumer = client.consumer(f"g-{topic}")
    stack.callback(consumer.close)
    group = join(consumer, topic)
    for end, offset in ((producer.commit, 1), (producer.abort, 2)):
        producer.begin()
        producer.produce(topic, b"x", None, 0)
        producer.send_offsets({tp: Committed(offset, "meta", 0)}, group, 10)
        end(10)
    assert consumer.committed([tp], 10) == {tp: Committed(1, "meta", 0)}


def test_offsets_with_more_metadata_than_a_batch_of_the_broker_holds_are_committed(client, stack):
    """1.2 MB: in one request the broker answers with an error without a name, each time."""
    partitions = 300
    topic = make_topic(client, partitions)
    consumer = client.consumer(f"g-{topic}")
    stack.callback(consumer.close)
    group = join(consumer, topic)
    offsets = {TopicPartition(topic, number): Committed(number, "x" * 4_000, 0) for number in range(partitions)}
    transaction = Transaction(lambda: client.producer(f"p-{topic}"), SystemClock(), EngineSettings(), Recorder())
    stack.callback(transaction.close)
    transaction.commit(offsets, group)
    assert consumer.committed(list(offsets), 10) == offsets


def join(consumer, topic: str) -> GroupMetadata:
    class Quiet:
        assigned: list[TopicPartition] | None = None

        def on_assigned(self, partitions) -> None:
            self.assigned = partitions

        def on_revoked(self, partitions) -> None:
            pass

        on_lost = on_revoked

    listener = Quiet()
    consumer.subscribe([topic], listener)
    limit = time.monotonic() + 20
    while listener.assigned is None:
        assert time.monotonic() < limit
        consumer.poll(1, 0.1)
    return consumer.group_metadata()


def test_a_replaced_member_gets_a_generation_error(client, producer, stack):
    topic = make_topic(client)
    tp = TopicPartition(topic, 0)
    old = client.consumer(f"g-{topic}")
    stale = join(old, topic)
    old.close()
    new = client.consumer(f"g-{topic}")
    stack.callback(new.close)
    fresh = join(new, topic)
    older_generation = dataclasses.replace(fresh, generation=fresh.generation - 1, opaque=None)
    for group, code in ((stale, "UNKNOWN_MEMBER_ID"), (older_generation, "ILLEGAL_GENERATION")):
        producer.begin()
        producer.produce(topic, b"x", None, 0)
        with pytest.raises(GenerationError) as caught:
            producer.send_offsets({tp: Committed(1)}, group, 10)
        assert caught.value.code == code
        producer.abort(10)
    producer.begin()
    producer.send_offsets({tp: Committed(1)}, dataclasses.replace(fresh, opaque=None), 10)
    producer.commit(10)
    assert new.committed([tp], 10) == {tp: Committed(1)}


def test_offsets_that_no_broker_would_fence_are_not_sent(producer):
    producer.begin()
    with pytest.raises(GenerationError, match="not a member"):
        producer.send_offsets({TopicPartition("t", 0): Committed(1)}, GroupMetadata("g", -1, ""), 10)
    with pytest.raises(ValueError, match="without offsets"):
        producer.send_offsets({}, GroupMetadata("g", 1, "m"), 10)


def test_calls_out_of_order_are_fatal(client, stack):
    producer = client.producer(f"p-{uuid.uuid4().hex[:8]}")
    stack.callback(producer.close)
    with pytest.raises(FatalError):
        producer.begin()
    producer.init_transactions(20)
    with pytest.raises(FatalError):
        producer.produce("t", b"x", None, 0)


def test_close_does_not_wait_and_the_successor_aborts_what_was_left(client, stack, monkeypatch):
    topic, name = make_topic(client), f"p-{uuid.uuid4().hex[:8]}"
    old = start(client, stack, name)
    old.begin()
    old.produce(topic, b"sent", None, 0)
    old.flush(10)
    old.produce_many(topic, [b"queued"] * 1000, [None] * 1000, 0, NOW)
    closed, drop = threading.Event(), producers._drop
    stack.callback(closed.set)
    monkeypatch.setattr(producers, "_drop", lambda *dropped: (closed.wait(50), drop(*dropped)))
    old.close()  # returns while its client is still there
    old.close()
    assert [thread.name for thread in threading.enumerate()].count(f"drop {name}") == 1
    closed.set()
    new = start(client, stack, name)
    new.begin()
    new.produce(topic, b"new", None, 0)
    new.flush(10)
    new.commit(10)
    assert read(client, topic) == {0: [(None, b"new")]}
    limit = time.monotonic() + 10
    while any(thread.name == f"drop {name}" for thread in threading.enumerate()):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_nobody_there_is_retriable_and_in_time():
    client = ConfluentClient(ConnectionSettings("127.0.0.1:1", transaction_timeout_ms=2_000))
    producer = client.producer("nobody")
    started = time.monotonic()
    with pytest.raises(RetriableError):
        producer.init_transactions(1)
    producer.close()
    assert time.monotonic() - started < 20  # long for a busy machine, short beside for ever
