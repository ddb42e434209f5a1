"""Metadata, CreateTopics, DeleteTopics, ListOffsets, DeleteRecords."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from streamkit.errors import FatalError, LostOffsetError, RetriableError
from streamkit.kafka.client import NewTopic, TopicPartition
from tests.conformance.world import PATIENCE_S, World, values


def test_a_cluster_has_an_id(world: World):
    assert world.admin.cluster_id(PATIENCE_S)
    assert world.admin.cluster_id(PATIENCE_S) == world.client().admin().cluster_id(PATIENCE_S)


def test_a_new_topic_is_listed_and_described(world: World):
    config = {"cleanup.policy": "compact,delete", "retention.ms": "-1", "segment.bytes": "67108864"}
    topic = world.topic(3, config)
    assert topic in world.admin.topic_names(PATIENCE_S)
    info = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    assert info is not None
    assert (info.name, info.partitions) == (topic, 3)
    assert len(info.topic_id) == 22
    assert config.items() <= info.config.items()


def test_a_description_has_the_defaults_that_the_engine_checks(world: World):
    topic = world.topic()
    info = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    assert info is not None
    expected = {
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
        "segment.bytes": "1073741824",
        "max.message.bytes": "1048588",
        "message.timestamp.type": "CreateTime",
        "message.timestamp.before.max.ms": str(2**63 - 1),
        "message.timestamp.after.max.ms": "3600000",
        "delete.retention.ms": "86400000",
        "min.insync.replicas": "1",
    }
    assert {name: info.config.get(name) for name in expected} == expected


def test_a_missing_topic_is_described_as_none(world: World):
    topic, missing = world.topic(), world.name("missing")
    described = world.admin.describe_topics([topic, missing], PATIENCE_S)
    assert described[missing] is None
    assert described[topic] is not None


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


def test_a_deleted_topic_is_gone_and_a_new_one_has_another_id(world: World):
    topic = world.topic()
    world.write(topic, b"a")
    before = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    world.admin.delete_topics([topic], PATIENCE_S)
    assert topic not in world.admin.topic_names(PATIENCE_S)
    assert world.admin.describe_topics([topic], PATIENCE_S) == {topic: None}
    world.admin.delete_topics([topic], PATIENCE_S)  # one that does not exist is not an error
    world.admin.create_topics([NewTopic(topic, 1)], PATIENCE_S)
    after = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    assert before is not None
    assert after is not None
    assert before.topic_id != after.topic_id


def test_end_offsets_count_everything(world: World):
    topic = world.topic(3)
    tps = [TopicPartition(topic, p) for p in range(3)]
    world.write(topic, b"a", b"b", partition=1)
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"open", b"k", 2)
    producer.flush(PATIENCE_S)
    assert world.admin.end_offsets(tps, PATIENCE_S) == {tps[0]: 0, tps[1]: 3, tps[2]: 1}
    assert world.admin.start_offsets(tps, PATIENCE_S) == dict.fromkeys(tps, 0)


@pytest.mark.parametrize("call", ["end_offsets", "start_offsets"])
def test_a_missing_partition_among_others_may_be_asked_for_again(world: World, call: str):
    topic = world.topic()
    for missing in (TopicPartition(world.name("missing"), 0), TopicPartition(topic, 7)):
        with pytest.raises(RetriableError) as caught:
            getattr(world.admin, call)([TopicPartition(topic, 0), missing], PATIENCE_S)
        assert caught.value.code in {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION"}


@pytest.mark.parametrize("call", ["end_offsets", "start_offsets", "delete_records"])
def test_nothing_but_missing_partitions_is_fatal(world: World, call: str):
    """librdkafka then finds no leader to ask; a real Kafka's answer is not "unknown topic"."""
    for missing in (TopicPartition(world.name("missing"), 0), TopicPartition(world.topic(), 7)):
        with pytest.raises(FatalError) as caught:
            getattr(world.admin, call)({missing: 1} if call == "delete_records" else [missing], PATIENCE_S)
        assert caught.value.code == "_NOENT"


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


def test_a_subscribed_topic_that_is_missing_is_told_or_waited_for(world: World):
    """Neither client invents the topic, and neither gives up on it."""
    missing = world.name("missing")
    consumer, listener = world.consumer(world.name("group"), [missing])
    for _ in range(5):
        with suppress(RetriableError):
            assert consumer.poll(10, 0.1).batches == []
    assert listener.held == []
    assert world.admin.describe_topics([missing], PATIENCE_S) == {missing: None}
