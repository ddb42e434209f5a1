"""DeleteGroups."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, KafkaError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, World


def test_a_group_with_members_cannot_be_deleted(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    with pytest.raises(FatalError) as caught:
        world.admin.delete_group(group, PATIENCE_S)
    assert caught.value.code == "NON_EMPTY_GROUP"
    consumer.close()
    world.admin.delete_group(group, PATIENCE_S)


def test_a_deleted_group_has_no_offsets(world: World):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {TopicPartition(topic, 0): Committed(3)})
    consumer.close()
    deadline = world.clock.monotonic() + PATIENCE_S
    while True:  # a real coordinator may still be busy with the member that left
        try:
            world.admin.delete_group(group, PATIENCE_S)
            break
        except KafkaError:
            assert world.clock.monotonic() < deadline
            world.clock.sleep(0.1)
    assert world.admin.group_offsets(group, PATIENCE_S) == {}
    world.admin.delete_group(group, PATIENCE_S)  # one that does not exist is not an error


def test_a_group_that_nobody_knows_can_be_deleted(world: World):
    group = world.name("group")
    world.admin.delete_group(group, PATIENCE_S)
    assert world.admin.group_offsets(group, PATIENCE_S) == {}


def test_a_deleted_group_starts_anew(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {TopicPartition(topic, 0): Committed(3)})
    consumer.close()
    world.eventually(lambda: deleted(world, group))
    consumer, _ = world.member(group, topic)
    # With the consumer protocol the broker counts once more if it hears only now of the topic's partitions.
    assert consumer.group_metadata().generation in ({1} if protocol == "classic" else {2, 3})
    assert consumer.committed([TopicPartition(topic, 0)], PATIENCE_S) == {TopicPartition(topic, 0): None}


def deleted(world: World, group: str) -> bool:
    """A coordinator may still be busy with the member that left."""
    try:
        world.admin.delete_group(group, PATIENCE_S)
    except KafkaError:
        return False
    return True
