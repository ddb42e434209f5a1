"""DeleteTopics: what goes with a topic, and a topic of the same name that comes after it."""

from __future__ import annotations

import pytest

from streamkit.errors import AbortableError, LostOffsetError
from streamkit.kafka.client import Committed, NewTopic, TopicPartition
from tests.conformance.world import PATIENCE_S, World, values


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


def test_a_transaction_may_end_after_its_topic_was_deleted(world: World):
    topic, other = world.topic(), world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"gone", b"k", 0)
    producer.produce(other, b"kept", b"k", 0)
    producer.flush(PATIENCE_S)
    world.admin.delete_topics([topic], PATIENCE_S)
    producer.commit(PATIENCE_S)
    assert values(world.read(other)) == [b"kept"]


def test_a_new_topic_of_the_same_name_is_empty(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    world.write(topic, b"a", b"b")
    world.admin.delete_topics([topic], PATIENCE_S)
    world.admin.create_topics([NewTopic(topic, 1)], PATIENCE_S)
    world.await_leaders(topic)
    assert world.admin.end_offsets([tp], PATIENCE_S) == {tp: 0}
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"new", b"k", 0)
    producer.commit(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"new", 0)]


def test_an_old_position_in_a_new_topic_is_lost(world: World):
    topic = world.topic()
    world.write(topic, b"a", b"b")
    world.admin.delete_topics([topic], PATIENCE_S)
    world.admin.create_topics([NewTopic(topic, 1)], PATIENCE_S)
    reader = world.reader({TopicPartition(topic, 0): 3})
    with pytest.raises(LostOffsetError):
        for _ in range(100):
            reader.poll(10, 0.2)


def test_a_deleted_topic_takes_its_committed_offsets_along(world: World):
    group, topic, other = world.name("group"), world.topic(), world.topic()
    consumer, _ = world.member(group, other)
    gone, kept = TopicPartition(topic, 0), TopicPartition(other, 0)
    world.commit_offset(consumer, {gone: Committed(3), kept: Committed(4)})
    world.admin.delete_topics([topic], PATIENCE_S)
    world.eventually(lambda: world.admin.group_offsets(group, PATIENCE_S) == {kept: Committed(4)})


def test_several_topics_at_once(world: World):
    topics = [world.topic() for _ in range(3)]
    world.admin.delete_topics([*topics, world.name("missing")], PATIENCE_S)
    assert not {*topics} & {*world.admin.topic_names(PATIENCE_S)}


def test_a_record_for_a_deleted_topic_fails_its_transaction(world: World):
    topic, other = world.topic(), world.topic()
    producer = world.producer(transaction_timeout_ms=8_000)  # half of it is the message time-out
    producer.begin()
    producer.produce(other, b"v", b"k", 0)
    producer.flush(PATIENCE_S)
    world.admin.delete_topics([topic], PATIENCE_S)
    producer.produce(topic, b"v", b"k", 0)
    with pytest.raises(AbortableError) as caught:
        producer.flush(PATIENCE_S)
    why = "librdkafka waits for a topic that does not exist until the message time-out"
    assert caught.value.code == world.differs(memory="UNKNOWN_TOPIC_OR_PART", real="_MSG_TIMED_OUT", why=why)
    producer.abort(PATIENCE_S)
    assert world.read(other) == []
