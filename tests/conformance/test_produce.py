"""Produce: order, partitions, what a record carries, and what a broker refuses."""

from __future__ import annotations

import random

import numpy as np
import pytest

from streamkit.errors import AbortableError, RejectedRecordError
from streamkit.kafka.client import Producer, TopicPartition
from streamkit.kafka.murmur2 import partition_for
from tests.conformance.world import PATIENCE_S, World, values

YEAR_2020_MS = 1_586_937_900_000


def rejected(
    producer: Producer, topic: str, value: bytes | None, key: bytes | None = b"k", timestamp: int = 0
) -> RejectedRecordError:
    """The error of a transaction in which one record is refused; it comes at the latest with the flush."""
    producer.begin()
    with pytest.raises(RejectedRecordError) as caught:
        producer.produce(topic, value, key, 0, timestamp)
        producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    return caught.value


def test_records_keep_their_order_within_a_partition(world: World):
    topic = world.topic(2)
    producer = world.producer()
    producer.begin()
    for i in range(300):
        producer.produce(topic, b"%d" % i, b"k", i % 2)
    producer.commit(PATIENCE_S)
    for partition in (0, 1):
        got = world.read(topic, partition)
        assert values(got) == [b"%d" % i for i in range(partition, 300, 2)]
        assert [record.offset for record in got] == list(range(150))


def test_produce_many_appends_columns(world: World):
    topic = world.topic(2)
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"first", b"k0", 1, 1)
    producer.produce_many(topic, [b"a", None, b"c"], [b"k1", b"k2", None], 1, [10, 20, 30], [None, [("h", b"1")], None])
    producer.produce_many(topic, [b"d"], [b"k4"], 1, 40)
    producer.commit(PATIENCE_S)
    got = [(r.value, r.key, r.timestamp, r.headers or []) for r in world.read(topic, 1)]
    assert got == [
        (b"first", b"k0", 1, []),
        (b"a", b"k1", 10, []),
        (None, b"k2", 20, [("h", b"1")]),
        (b"c", None, 30, []),
        (b"d", b"k4", 40, []),
    ]


def test_produce_many_takes_numpy_times_and_iterators(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce_many(topic, [b"a", b"b"], iter([b"k", b"k"]), 0, np.array([5, 6]), iter([None, None]))
    producer.produce_many(topic, [b"c"], [b"k"], 0, np.array([7]))
    producer.commit(PATIENCE_S)
    assert [(r.value, r.timestamp) for r in world.read(topic)] == [(b"a", 5), (b"b", 6), (b"c", 7)]


def test_the_key_chooses_the_partition_as_in_java(world: World):
    topic = world.topic(7)
    keys = [b"item-%d" % i for i in range(190)] + [
        b"",
        b"\0",
        b"a",
        b"ab",
        b"abc",
        b"abcd",
        "ä€".encode(),
        b"\xff" * 9,
        b"x" * 300,
        b"0",
    ]
    producer = world.producer()
    producer.begin()
    for key in keys:
        producer.produce(topic, b"v", key)
    producer.commit(PATIENCE_S)
    found = {record.key: record.tp.partition for record in world.read_all(topic, 7)}
    assert found == {key: partition_for(key, 7) for key in keys}


def test_a_null_key_goes_to_any_partition(world: World):
    topic = world.topic(3)
    producer = world.producer()
    producer.begin()
    for i in range(20):
        producer.produce(topic, b"%d" % i, None)
    producer.commit(PATIENCE_S)
    got = world.read_all(topic, 3)
    assert sorted(values(got)) == sorted(b"%d" % i for i in range(20))
    assert {record.key for record in got} == {None}


def test_the_timestamp_is_kept_and_zero_means_now(world: World):
    topic = world.topic()
    before = world.clock.now_ms()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"then", b"k", 0, YEAR_2020_MS)
    producer.produce(topic, b"now", b"k", 0)
    producer.commit(PATIENCE_S)
    then, now = (record.timestamp for record in world.read(topic))
    assert then == YEAR_2020_MS
    assert before <= now <= world.clock.now_ms()


def test_log_append_time_replaces_the_timestamp(world: World):
    topic = world.topic(config={"message.timestamp.type": "LogAppendTime"})
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"v", b"k", 0, YEAR_2020_MS)
    producer.commit(PATIENCE_S)
    [record] = world.read(topic)
    assert abs(record.timestamp - world.clock.now_ms()) < 60_000


@pytest.mark.parametrize(
    "headers",
    [
        [("a", b"1")],
        [("a", None), ("empty", b"")],
        [("twice", b"1"), ("other", b"\x00\xff"), ("twice", b"2")],
        [("näme", b"v")],
    ],
    ids=["one", "null and empty value", "duplicates", "utf-8 name"],
)
def test_headers_come_back_as_they_were(world: World, headers):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"with", b"k", 0, 0, headers)
    producer.produce(topic, b"without", b"k", 0)
    producer.commit(PATIENCE_S)
    with_headers, without = world.read(topic)
    assert with_headers.headers == headers
    assert without.headers is None


def test_null_and_empty_values_and_keys_differ(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    for value, key in ((None, b"k"), (b"", b"k"), (b"v", None), (b"v", b"")):
        producer.produce(topic, value, key, 0)
    producer.commit(PATIENCE_S)
    assert [(r.value, r.key) for r in world.read(topic)] == [(None, b"k"), (b"", b"k"), (b"v", None), (b"v", b"")]


def test_a_record_over_the_limit_of_the_topic_is_rejected(world: World):
    topic = world.topic(config={"max.message.bytes": "1000"})
    error = rejected(world.producer(), topic, random.Random(1).randbytes(2_000))
    assert error.code == "MSG_SIZE_TOO_LARGE"


def test_a_record_over_the_default_limit_is_rejected(world: World):
    topic = world.topic()
    error = rejected(world.producer(), topic, random.Random(1).randbytes(2_000_000))
    assert error.code == "MSG_SIZE_TOO_LARGE"


def test_a_null_key_in_a_compacted_topic_is_rejected(world: World):
    topic = world.topic(config={"cleanup.policy": "compact"})
    error = rejected(world.producer(), topic, b"v", None)
    assert error.code == "INVALID_RECORD"
    assert error.topic in {topic, ""}


def test_a_timestamp_too_far_ahead_is_rejected(world: World):
    topic = world.topic()
    in_two_hours = world.clock.now_ms() + 7_200_000
    error = rejected(world.producer(), topic, b"v", timestamp=in_two_hours)
    assert error.code == "INVALID_TIMESTAMP"


def test_a_timestamp_too_far_back_is_rejected(world: World):
    topic = world.topic(config={"message.timestamp.before.max.ms": "60000"})
    error = rejected(world.producer(), topic, b"v", timestamp=YEAR_2020_MS)
    assert error.code == "INVALID_TIMESTAMP"


def test_limits_at_their_maximum_take_any_timestamp(world: World):
    maximum = str(2**63 - 1)
    topic = world.topic(config={"message.timestamp.before.max.ms": maximum, "message.timestamp.after.max.ms": maximum})
    producer = world.producer()
    producer.begin()
    times = [1, YEAR_2020_MS, 4_102_444_800_000]
    producer.produce_many(topic, [b"a", b"b", b"c"], [b"k"] * 3, 0, times)
    producer.commit(PATIENCE_S)
    assert [record.timestamp for record in world.read(topic)] == times


def after_a_rejection(world: World, topic: str, transactional_id: str) -> Producer:
    """A producer whose transaction was aborted because the broker took one of its records and refused the next."""
    producer = world.producer(transactional_id)
    producer.begin()
    producer.produce(topic, b"in the same transaction", b"k", 0)
    producer.flush(PATIENCE_S)
    producer.produce(topic, b"refused", None, 0)
    with pytest.raises(RejectedRecordError):
        producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    return producer


def test_after_a_rejection_a_new_producer_goes_on(world: World):
    topic = world.topic(config={"cleanup.policy": "compact"})
    transactional_id = world.name("txn")
    after_a_rejection(world, topic, transactional_id)
    producer = world.producer(transactional_id)
    producer.begin()
    producer.produce(topic, b"later", b"k", 0)
    producer.commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"later"]


def test_after_a_rejection_the_same_producer_goes_on_within_two_transactions(world: World):
    """librdkafka counts the refused batch's sequence numbers as used, so on a real Kafka the next transaction may fail with
    OUT_OF_ORDER_SEQUENCE_NUMBER; its abort bumps the epoch and starts the numbers anew."""
    topic = world.topic(config={"cleanup.policy": "compact"})
    producer = after_a_rejection(world, topic, world.name("txn"))
    failures = []
    for attempt in (b"first", b"second"):
        producer.begin()
        producer.produce(topic, attempt, b"k", 0)
        try:
            producer.commit(PATIENCE_S)
        except AbortableError as error:
            failures.append(error.code)
            producer.abort(PATIENCE_S)
        else:
            break
    assert failures in ([], ["OUT_OF_ORDER_SEQUENCE_NUMBER"])
    assert values(world.read(topic)) == [b"second" if failures else b"first"]


def test_one_refused_record_among_many_is_found(world: World):
    """A broker refuses the whole batch. Who is to blame is known at the latest when the same client replays it."""
    topic = world.topic(config={"max.message.bytes": "5000"})
    # The time-out is short because librdkafka may repeat the records behind the refused one until it is over.
    client, transactional_id = world.client(transaction_timeout_ms=4_000), world.name("txn")
    for replay in (False, True):
        producer = client.producer(transactional_id)
        producer.init_transactions(PATIENCE_S)
        producer.begin()
        for i in range(20):
            value = random.Random(i).randbytes(9_000) if i == 13 else b"small"
            producer.produce(topic, value, b"key-%d" % i, 0)
        with pytest.raises(RejectedRecordError if replay else AbortableError) as caught:
            producer.flush(PATIENCE_S)
        producer.abort(PATIENCE_S)
        producer.close()
    assert isinstance(caught.value, RejectedRecordError)
    assert (caught.value.code, caught.value.key) == ("MSG_SIZE_TOO_LARGE", b"key-13")
    assert (caught.value.topic, caught.value.partition) == (topic, 0)
    assert world.read(topic) == []


def test_a_commit_also_reports_the_rejection(world: World):
    topic = world.topic(config={"cleanup.policy": "compact"})
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"refused", None, 0)
    with pytest.raises(AbortableError):
        producer.commit(PATIENCE_S)
    producer.abort(PATIENCE_S)
    assert world.read(topic) == []


def test_open_records_count_in_the_high_watermark(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"a", b"k", 0)
    producer.flush(PATIENCE_S)
    assert world.end(topic) == 1
    producer.commit(PATIENCE_S)
    deadline = world.clock.monotonic() + PATIENCE_S
    while world.end(topic) < 2 and world.clock.monotonic() < deadline:  # the marker may be written after the answer
        world.clock.sleep(0.02)
    assert world.end(topic) == 2
    assert [record.tp for record in world.read(topic)] == [TopicPartition(topic, 0)]


def test_a_partition_that_does_not_exist_fails_the_transaction(world: World):
    topic = world.topic(2)
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"v", b"k", 2)
    with pytest.raises(AbortableError) as caught:
        producer.flush(PATIENCE_S)
    assert caught.value.code in {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION"}
    producer.abort(PATIENCE_S)
    producer.begin()
    producer.produce(topic, b"v", b"k", 1)
    producer.commit(PATIENCE_S)
    assert values(world.read_all(topic, 2)) == [b"v"]


def test_a_record_at_the_limit_of_its_timestamp_is_taken(world: World):
    topic = world.topic(config={"message.timestamp.after.max.ms": "60000", "message.timestamp.before.max.ms": "60000"})
    now_ms = world.clock.now_ms()
    times = [now_ms - 50_000, now_ms + 50_000]
    producer = world.producer()
    producer.begin()
    producer.produce_many(topic, [b"a", b"b"], [b"k"] * 2, 0, times)
    producer.commit(PATIENCE_S)
    assert [record.timestamp for record in world.read(topic)] == times


def test_a_tombstone_in_a_compacted_topic_is_taken(world: World):
    topic = world.topic(config={"cleanup.policy": "compact"})
    world.write(topic, b"v", None, key=b"k")
    assert [(r.key, r.value) for r in world.read(topic)] == [(b"k", b"v"), (b"k", None)]


def test_producers_share_a_partition(world: World):
    topic = world.topic()
    producers = [world.producer() for _ in range(3)]
    for turn in range(3):
        for number, producer in enumerate(producers):
            producer.begin()
            producer.produce(topic, b"%d-%d" % (number, turn), b"k", 0)
            producer.commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"%d-%d" % (number, turn) for turn in range(3) for number in range(3)]


def test_many_small_transactions_keep_their_order(world: World):
    """Sequence numbers go on from one transaction to the next."""
    topic = world.topic(2)
    producer = world.producer()
    for i in range(40):
        producer.begin()
        producer.produce(topic, b"%d" % i, b"k", i % 2)
        producer.commit(PATIENCE_S)
    assert [values(world.read(topic, p)) for p in range(2)] == [[b"%d" % i for i in range(p, 40, 2)] for p in range(2)]
