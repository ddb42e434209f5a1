"""InitProducerId: owners of a transactional id, and those that they replace."""

from __future__ import annotations

import pytest

from streamkit.errors import FencedError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, World, predecessor


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
