"""CreateTopics and CreatePartitions: what becomes a topic, what is refused, and topics that grow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamkit.errors import FatalError, KafkaError
from streamkit.kafka.client import NewTopic
from streamkit.kafka.murmur2 import partition_for
from tests.conformance.world import PATIENCE_S, World, values


def test_creating_what_exists_changes_nothing(world: World):
    topic = world.topic(2)
    world.write(topic, b"a")
    world.admin.create_topics([NewTopic(topic, 5), NewTopic(world.name("topic"), 1)], PATIENCE_S)
    info = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    assert info is not None
    assert info.partitions == 2
    assert values(world.read(topic)) == [b"a"]


@pytest.mark.parametrize(
    "topic",
    [
        NewTopic("ok", 1, config={"no.such.setting": "1"}),
        NewTopic("ok", 1, config={"cleanup.policy": "keep"}),
        NewTopic("not legal!", 1),
        NewTopic("ok", 0),
    ],
    ids=["unknown setting", "wrong value", "illegal name", "no partitions"],
)
def test_a_topic_that_cannot_be_is_refused(world: World, topic: NewTopic):
    name = f"{world.name('topic')}-{topic.name}"
    with pytest.raises((FatalError, ValueError)):
        world.admin.create_topics([replace(topic, name=name)], PATIENCE_S)
    assert name not in world.admin.topic_names(PATIENCE_S)


def test_partitions_may_be_left_to_the_broker(world: World):
    name = world.name("topic")
    world.admin.create_topics([NewTopic(name, -1)], PATIENCE_S)
    info = world.admin.describe_topics([name], PATIENCE_S)[name]
    assert info is not None
    assert info.partitions == 1


def test_several_topics_at_once_can_be_used(world: World):
    names = [world.name("topic") for _ in range(3)]
    world.admin.create_topics([NewTopic(name, 2) for name in names], PATIENCE_S)
    for name in names:
        world.write(name, b"a", partition=1)
    assert [values(world.read(name, 1)) for name in names] == [[b"a"]] * 3


@pytest.mark.parametrize(
    "name, value",
    [("retention.ms", "-2"), ("retention.ms", "soon"), ("max.message.bytes", "-1"), ("message.timestamp.type", "Whenever"),
     ("segment.bytes", "x"), ("min.insync.replicas", "0"), ("min.cleanable.dirty.ratio", "2")],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_refused(world: World, name: str, value: str):
    topic = world.name("topic")
    with pytest.raises(FatalError) as caught:
        world.admin.create_topics([NewTopic(topic, 1, config={name: value})], PATIENCE_S)
    assert caught.value.code == "INVALID_CONFIG"
    assert topic not in world.admin.topic_names(PATIENCE_S)


@pytest.mark.parametrize("length", [249, 250])
def test_a_name_has_at_most_249_characters(world: World, length: int):
    name = world.name("long").ljust(length, "x")
    if length == 249:
        world.admin.create_topics([NewTopic(name, 1)], PATIENCE_S)
        assert name in world.admin.topic_names(PATIENCE_S)
        return
    with pytest.raises(FatalError) as caught:
        world.admin.create_topics([NewTopic(name, 1)], PATIENCE_S)
    assert caught.value.code == "TOPIC_EXCEPTION"


def test_names_that_differ_only_in_dots_and_underscores_collide(world: World):
    """Metrics could not tell them apart, so the second one is refused."""
    name = world.name("topic")
    world.admin.create_topics([NewTopic(f"{name}.a", 1)], PATIENCE_S)
    with pytest.raises(FatalError) as caught:
        world.admin.create_topics([NewTopic(f"{name}_a", 1)], PATIENCE_S)
    assert caught.value.code == "TOPIC_EXCEPTION"


def test_a_topic_that_has_grown_is_written_and_read(world: World):
    topic = world.topic(1)
    world.write(topic, b"a")
    world.add_partitions(topic, 2)

    def written() -> bool:
        producer = world.producer()
        producer.begin()
        try:
            producer.produce(topic, b"b", b"k", 1)
            producer.commit(PATIENCE_S)
        except KafkaError:  # a broker may not have heard of it yet
            producer.abort(PATIENCE_S)
            return False
        return True

    world.eventually(written)
    assert values(world.read(topic, 0)) == [b"a"]
    assert values(world.read(topic, 1)) == [b"b"]


def test_after_a_topic_has_grown_keys_go_by_the_new_number(world: World):
    topic = world.topic(1)
    world.add_partitions(topic, 5)
    keys = [b"key-%d" % i for i in range(40)]
    producer = world.producer()
    producer.begin()
    for key in keys:
        producer.produce(topic, b"v", key)
    producer.commit(PATIENCE_S)
    found = {record.key: record.tp.partition for record in world.read_all(topic, 5)}
    assert found == {key: partition_for(key, 5) for key in keys}
