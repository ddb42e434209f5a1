"""InitProducerId: owners of a transactional id, and those that they replace."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, FencedError
from streamkit.kafka.client import Committed, Producer, TopicPartition
from tests.conformance.world import PATIENCE_S, World, predecessor, values


def test_a_successor_aborts_the_open_transaction(world: World):
    topic = world.topic()
    _, transactional_id = predecessor(world, topic)
    successor = world.producer(transactional_id)
    successor.begin()
    successor.produce(topic, b"successor", b"k", 0)
    successor.commit(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"successor", 2)]


def test_a_successor_drops_the_pending_offsets(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    old, transactional_id = predecessor(world, topic)
    old.send_offsets({tp: Committed(9)}, consumer.group_metadata(), PATIENCE_S)
    world.producer(transactional_id)
    assert consumer.committed([tp], PATIENCE_S) == {tp: None}


@pytest.mark.parametrize("call", ["commit", "abort", "send_offsets", "flush"])
def test_a_fenced_producer_learns_it_at_its_next_call(world: World, call: str):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    group = consumer.group_metadata()
    old, transactional_id = predecessor(world, topic)
    world.producer(transactional_id)
    with pytest.raises(FencedError):
        if call == "send_offsets":
            old.send_offsets({tp: Committed(1)}, group, PATIENCE_S)
        elif call == "flush":
            old.produce(world.topic(), b"to a partition that is new to the transaction", b"k", 0)
            old.flush(PATIENCE_S)
        else:
            getattr(old, call)(PATIENCE_S)
    assert world.read(topic) == []


def test_a_fenced_producer_stays_fenced(world: World):
    topic = world.topic()
    old, transactional_id = predecessor(world, topic)
    world.producer(transactional_id)
    for _ in range(2):
        with pytest.raises(FencedError):
            old.commit(PATIENCE_S)
    with pytest.raises(FencedError):
        old.begin()


def test_a_fenced_producer_between_transactions_learns_it_in_the_next(world: World):
    topic = world.topic()
    transactional_id = world.name("txn")
    old = world.producer(transactional_id)
    world.producer(transactional_id)
    old.begin()
    with pytest.raises(FencedError):
        old.produce(topic, b"v", b"k", 0)
        old.commit(PATIENCE_S)
    assert world.read(topic) == []


def test_each_successor_fences_the_one_before(world: World):
    topic, transactional_id = world.topic(), world.name("txn")
    producers = [world.producer(transactional_id) for _ in range(3)]
    for fenced in producers[:2]:
        with pytest.raises(FencedError):
            fenced.begin()
            fenced.produce(topic, b"old", b"k", 0)
            fenced.commit(PATIENCE_S)
    producers[2].begin()
    producers[2].produce(topic, b"new", b"k", 0)
    producers[2].commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"new"]


def test_a_successor_leaves_what_was_committed(world: World):
    topic, transactional_id = world.topic(), world.name("txn")
    for value in (b"first", b"second"):
        producer = world.producer(transactional_id)
        producer.begin()
        producer.produce(topic, value, b"k", 0)
        producer.commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"first", b"second"]


def test_owners_of_different_ids_do_not_fence_each_other(world: World):
    topic = world.topic()
    one, _ = predecessor(world, topic)
    other = world.producer()
    one.commit(PATIENCE_S)
    other.begin()
    other.produce(topic, b"other", b"k", 0)
    other.commit(PATIENCE_S)
    assert values(world.read(topic)) == [b"predecessor", b"other"]


def test_a_transaction_time_out_over_the_limit_of_the_broker_is_refused(world: World):
    options = {"transaction_timeout_ms": 900_001, "session_timeout_ms": 900_002, "max_poll_interval_ms": 900_002}
    with pytest.raises(FatalError) as caught:
        world.producer(**options)
    assert caught.value.code == "INVALID_TRANSACTION_TIMEOUT"


def test_nothing_goes_before_init_transactions(world: World):
    producer = world.client().producer(world.name("txn"))
    with pytest.raises(FatalError) as caught:
        producer.begin()
    assert caught.value.code == "_STATE"
    producer.close()


# -- transaction.timeout.ms ------------------------------------------------------------------------------------------------


def timed_out(world: World, topic: str, transactional_id: str) -> Producer:
    """A producer whose open transaction the coordinator has aborted, because it took too long."""
    producer = world.producer(transactional_id, transaction_timeout_ms=1_000)
    producer.begin()
    producer.produce(topic, b"too slow", b"k", 0)
    producer.flush(PATIENCE_S)
    world.eventually(lambda: world.end(topic) == 2)  # the marker is written
    return producer


@pytest.mark.parametrize("call", ["commit", "flush"])
def test_a_transaction_that_took_too_long_fences_its_producer(world: World, call: str):
    topic = world.topic()
    producer = timed_out(world, topic, world.name("txn"))
    with pytest.raises(FencedError):
        if call == "flush":
            producer.produce(topic, b"more", b"k", 0)
        getattr(producer, call)(PATIENCE_S)
    assert world.read(topic) == []


def test_after_a_transaction_that_took_too_long_a_new_producer_goes_on(world: World):
    topic, transactional_id = world.topic(), world.name("txn")
    timed_out(world, topic, transactional_id)
    producer = world.producer(transactional_id)
    producer.begin()
    producer.produce(topic, b"again", b"k", 0)
    producer.commit(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"again", 2)]


def test_offsets_of_a_transaction_that_took_too_long_are_dropped(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    producer = world.producer(transaction_timeout_ms=1_000)
    producer.begin()
    producer.send_offsets({tp: Committed(3)}, consumer.group_metadata(), PATIENCE_S)
    assert consumer.committed([tp], PATIENCE_S) == {tp: None}  # it waits for that
    with pytest.raises(FencedError):
        producer.commit(PATIENCE_S)
