"""DeleteRecords: moves the start of partitions up."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, LostOffsetError
from streamkit.kafka.client import TopicPartition
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
