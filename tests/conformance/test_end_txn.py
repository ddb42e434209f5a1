"""EndTxn: what commits and aborts do, and calls out of order."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, KafkaError
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
