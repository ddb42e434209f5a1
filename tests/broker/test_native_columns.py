"""Columns to a producer: any iterables, or joined bytes; the records are the same, with the extension and without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import repeat

import numpy as np
import pytest

from streamkit.record.joined import JoinedBytes
from tests.broker.test_native import BOTH, NOW, Kafka, pytestmark, read

__all__ = ["pytestmark"]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("way", BOTH)
def test_columns_may_be_any_iterable(real_broker, stack, way):
    kafka = Kafka(real_broker, stack)
    topic, producer = kafka.topic(), kafka.producer(way)
    producer.begin()
    values = [b"1", b"2", b"3"]
    producer.produce_many(topic, values, repeat(b"k"), 0, (NOW + i for i in range(3)), (None for _ in values))
    producer.produce_many(topic, values, iter([b"a", b"b", b"c"]), 0, np.arange(NOW, NOW + 6)[::2])
    producer.produce_many(topic, values, [None] * 3, 0, range(NOW, NOW + 3))
    producer.produce_many(topic, [], [], 0, [])
    for keys, stamps in ([b"k"] * 2, NOW), ([b"k"] * 3, [NOW, NOW]):
        with pytest.raises(ValueError, match="fewer keys or timestamps"):
            producer.produce_many(topic, values, keys, 0, stamps)
    producer.flush(10)
    producer.commit(10)
    (rows,) = read(kafka, way, topic).rows.values()
    assert [row[3] for row in rows] == [b"k", b"k", b"k", b"a", b"b", b"c", None, None, None]
    assert [row[1] - NOW for row in rows] == [0, 1, 2, 0, 2, 4, 0, 1, 2]


@pytest.mark.parametrize("way", BOTH)
def test_a_closed_producer_says_so(real_broker, stack, way):
    producer = Kafka(real_broker, stack).producer(way)
    producer.close()
    with pytest.raises(RuntimeError, match="is closed"):
        producer.produce_many("t", [b"v"], [None], 0, NOW)


@pytest.mark.parametrize("way", BOTH)
def test_joined_bytes_arrive_as_a_list_of_them_would(real_broker, stack, way):
    """More than one slice, so that the second begins in the middle; values and keys joined, one of them, and none."""
    kafka = Kafka(real_broker, stack)
    topic, producer = kafka.topic(), kafka.producer(way)
    values = [b"%d" % i * (i % 7) for i in range(60_000)]
    keys = [b"%d" % (i * i) for i in range(60_000)]
    producer.begin()
    for some_values, some_keys in (joined(values), joined(keys)), (joined(values), keys), (values, joined(keys)), (values, keys):
        producer.produce_many(topic, some_values, some_keys, 0, NOW)
    producer.flush(10)
    producer.commit(10)
    (rows,) = read(kafka, way, topic).rows.values()
    assert [row[2] for row in rows] == values * 4
    assert [row[3] for row in rows] == keys * 4


def test_joined_bytes_behind_a_queue_that_is_full(real_broker, stack):
    kafka = Kafka(real_broker, stack, send_queue_records=1_000)
    topic, producer = kafka.topic(), kafka.producer("by column")
    values = [b"%d" % i * (i % 7) for i in range(5_000)]
    producer.begin()
    producer.produce_many(topic, joined(values), joined(values), 0, NOW)
    producer.flush(10)
    producer.commit(10)
    (rows,) = read(kafka, "by column", topic).rows.values()
    assert [row[2] for row in rows] == [row[3] for row in rows] == values


def test_joined_bytes_that_do_not_add_up_are_refused(real_broker, stack):
    kafka = Kafka(real_broker, stack)
    topic, producer = kafka.topic(), kafka.producer("by column")
    text, lengths = joined([b"ab", b"c"]).joined
    producer.begin()
    for wrong in JoinedBytes((text + b"d", lengths)), JoinedBytes((text[:-1], lengths)):
        with pytest.raises(ValueError, match="do not add up"):
            producer.produce_many(topic, wrong, [b"k", b"k"], 0, NOW)
        with pytest.raises(ValueError, match="do not add up"):
            producer.produce_many(topic, [b"v", b"v"], wrong, 0, NOW)
    with pytest.raises(ValueError, match="fewer keys or timestamps"):
        producer.produce_many(topic, joined([b"a", b"b"]), joined([b"k"]), 0, NOW)
    producer.abort(10)


def joined(strings: list[bytes]) -> JoinedBytes:
    return JoinedBytes((b"".join(strings), np.array(list(map(len, strings)), np.int32).tobytes()))
