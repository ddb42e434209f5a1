"""DeleteTopics: what goes with a topic, and a topic of the same name that comes after it."""

from __future__ import annotations

from streamkit.kafka.client import NewTopic
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
