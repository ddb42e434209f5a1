"""DeleteRecords: moves the start of partitions up."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, LostOffsetError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, World, values


def test_deleting_records_moves_the_start(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b", b"c")
    world.admin.delete_records({tp: 2}, PATIENCE_S)
    assert world.admin.start_offsets([tp], PATIENCE_S) == {tp: 2}
    assert world.admin.end_offsets([tp], PATIENCE_S) == {tp: 4}
    assert [(r.offset, r.value) for r in world.read(topic, start=2)] == [(2, b"c")]
    world.admin.delete_records({tp: 1}, PATIENCE_S)  # they are gone already
    assert world.admin.start_offsets([tp], PATIENCE_S) == {tp: 2}
    world.admin.delete_records({tp: 4}, PATIENCE_S)
    assert world.admin.start_offsets([tp], PATIENCE_S) == {tp: 4}
    assert world.read(topic, start=4) == []


def test_deleting_beyond_the_end_is_refused(world: World):
    topic = world.topic()
    world.write(topic, b"a")
    with pytest.raises(LostOffsetError, match="OFFSET_OUT_OF_RANGE"):
        world.admin.delete_records({TopicPartition(topic, 0): 10}, PATIENCE_S)


def test_deleting_from_a_topic_that_is_only_compacted_is_refused(world: World):
    topic = world.topic(config={"cleanup.policy": "compact"})
    world.write(topic, b"a", b"b")
    with pytest.raises(FatalError) as caught:
        world.admin.delete_records({TopicPartition(topic, 0): 1}, PATIENCE_S)
    assert caught.value.code == "POLICY_VIOLATION"


def test_records_can_be_deleted_where_the_policy_is_both(world: World):
    topic = world.topic(config={"cleanup.policy": "compact,delete", "retention.ms": "-1"})
    world.write(topic, b"a", b"b")
    world.admin.delete_records({TopicPartition(topic, 0): 1}, PATIENCE_S)
    assert values(world.read(topic, start=1)) == [b"b"]


def test_several_partitions_at_once(world: World):
    topic = world.topic(2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    for tp in tps:
        world.write(topic, b"a", b"b", partition=tp.partition)
    world.admin.delete_records({tps[0]: 1, tps[1]: 2}, PATIENCE_S)
    assert world.admin.start_offsets(tps, PATIENCE_S) == {tps[0]: 1, tps[1]: 2}


def test_minus_one_deletes_everything(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b")
    world.admin.delete_records({tp: -1}, PATIENCE_S)
    assert world.admin.start_offsets([tp], PATIENCE_S) == {tp: 3}
    world.write(topic, b"c")
    assert [(r.offset, r.value) for r in world.read(topic, start=3)] == [(3, b"c")]


def test_records_of_an_open_transaction_can_be_deleted(world: World):
    """Even these: what is left of the transaction commits."""
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    producer = world.producer()
    producer.begin()
    for value in (b"a", b"b"):
        producer.produce(topic, value, b"k", 0)
        producer.flush(PATIENCE_S)
    world.admin.delete_records({tp: 1}, PATIENCE_S)
    producer.commit(PATIENCE_S)
    assert [(r.offset, r.value) for r in world.read(topic, start=1)] == [(1, b"b")]


def test_a_group_below_the_start_is_lost(world: World):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b", b"c")
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {tp: Committed(1)})
    world.admin.delete_records({tp: 2}, PATIENCE_S)
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(1)}  # the group does not know
    consumer.seek(tp, 1)
    consumer.resume([tp])
    with pytest.raises(LostOffsetError):
        for _ in range(100):
            consumer.poll(10, 0.2)
