"""EndTxn: what commits and aborts do, and calls out of order."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, KafkaError
from streamkit.kafka.client import TopicPartition
from tests.conformance.world import PATIENCE_S, World, values


def test_an_empty_transaction_commits_and_aborts(world: World):
    topic = world.topic()
    producer = world.producer()
    for end in (producer.commit, producer.abort):
        producer.begin()
        end(PATIENCE_S)
    assert world.end(topic) == 0


def test_transactions_follow_each_other(world: World):
    topic = world.topic()
    producer = world.producer()
    for i in range(6):
        producer.begin()
        producer.produce(topic, b"%d" % i, b"k", 0)
        (producer.abort if i % 3 == 1 else producer.commit)(PATIENCE_S)
    assert values(world.read(topic)) == [b"0", b"2", b"3", b"5"]


def test_records_reach_every_partition_or_none(world: World):
    topic = world.topic(3)
    producer = world.producer()
    for end in (producer.abort, producer.commit):
        producer.begin()
        for partition in range(3):
            producer.produce(topic, b"v", b"k", partition)
        producer.flush(PATIENCE_S)
        end(PATIENCE_S)
    assert sorted(record.tp.partition for record in world.read_all(topic, 3)) == [0, 1, 2]


def test_a_quiet_connection_is_not_disturbed(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"v", b"k", 0)
    producer.commit(PATIENCE_S)
    assert producer.disturbed() is None


@pytest.mark.parametrize("misuse", ["begin twice", "commit without begin", "abort without begin", "produce without begin"])
def test_calls_out_of_order_are_refused(world: World, misuse: str):
    topic = world.topic()
    producer = world.producer()
    with pytest.raises(KafkaError) as caught:
        if misuse == "begin twice":
            producer.begin()
            producer.begin()
        elif misuse == "produce without begin":
            producer.produce(topic, b"v", b"k", 0)
        else:
            getattr(producer, misuse.split(maxsplit=1)[0])(PATIENCE_S)
    assert isinstance(caught.value, FatalError)
    assert caught.value.code == "_STATE"


def test_a_commit_flushes(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce_many(topic, [b"%d" % i for i in range(500)], [b"k"] * 500, 0, 1)
    producer.commit(PATIENCE_S)
    assert len(world.read(topic)) == 500


@pytest.mark.parametrize("flushed", [False, True], ids=["unsent", "sent"])
def test_an_abort_leaves_nothing_to_see(world: World, *, flushed: bool):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"aborted", b"k", 0)
    if flushed:
        producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    assert world.read(topic) == []


def test_a_large_transaction_keeps_order_and_number(world: World):
    topic, records = world.topic(), 25_000
    producer = world.producer()
    producer.begin()
    wanted = [b"%d" % i for i in range(records)]
    producer.produce_many(topic, wanted, [b"k"] * records, 0, 1)
    producer.commit(PATIENCE_S)
    assert values(world.read(topic)) == wanted


def test_several_flushes_make_one_transaction(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    producer = world.producer()
    producer.begin()
    for i in range(4):
        producer.produce(topic, b"%d" % i, b"k", 0)
        producer.flush(PATIENCE_S)
        assert world.drain(world.reader({tp: 0}), [tp]) == ([], {tp: 0})
    producer.commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"0", b"1", b"2", b"3"]


def test_a_transaction_spans_topics(world: World):
    topics = [world.topic(2) for _ in range(3)]
    producer = world.producer()
    for end in (producer.abort, producer.commit):
        producer.begin()
        for topic in topics:
            for partition in range(2):
                producer.produce(topic, end.__name__.encode(), b"k", partition)
        producer.flush(PATIENCE_S)
        end(PATIENCE_S)
    assert [values(world.read_all(topic, 2)) for topic in topics] == [[b"commit"] * 2] * 3


def test_who_commits_first_is_not_seen_first(world: World):
    """Readers go in offset order: the later transaction is held back by the earlier one."""
    topic = world.topic()
    early, late = world.producer(), world.producer()
    for producer, value in ((early, b"early"), (late, b"late")):
        producer.begin()
        producer.produce(topic, value, b"k", 0)
        producer.flush(PATIENCE_S)
    late.commit(PATIENCE_S)
    assert world.read(topic) == []
    early.commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"early", b"late"]


def test_an_aborted_transaction_may_be_done_again(world: World):
    topic = world.topic()
    producer = world.producer()
    for end in (producer.abort, producer.abort, producer.commit):
        producer.begin()
        for i in range(3):
            producer.produce(topic, b"%d" % i, b"k", 0)
        producer.flush(PATIENCE_S)
        end(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"0", 8), (b"1", 9), (b"2", 10)]
