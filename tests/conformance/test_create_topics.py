"""CreateTopics and CreatePartitions: what becomes a topic, what is refused, and topics that grow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamkit.errors import FatalError
from streamkit.kafka.client import NewTopic
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
