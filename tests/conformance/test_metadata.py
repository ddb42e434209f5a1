"""Metadata and DescribeConfigs: topics as the cluster describes them, and clusters by their id."""

from __future__ import annotations

from contextlib import suppress

from streamkit.errors import RetriableError
from streamkit.kafka.client import TopicPartition
from tests.conformance.world import PATIENCE_S, World


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
    topic = world.topic(config={})
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


def test_a_subscribed_topic_that_is_missing_is_told_or_waited_for(world: World):
    """Neither client invents the topic, and neither gives up on it."""
    missing = world.name("missing")
    consumer, listener = world.consumer(world.name("group"), [missing])
    for _ in range(5):
        with suppress(RetriableError):
            assert consumer.poll(10, 0.1).batches == []
    assert listener.held == []
    assert world.admin.describe_topics([missing], PATIENCE_S) == {missing: None}


def test_a_topic_that_has_grown_is_described_so(world: World):
    topic = world.topic(1)
    world.add_partitions(topic, 4)

    def grown() -> bool:
        info = world.admin.describe_topics([topic], PATIENCE_S)[topic]
        return info is not None and info.partitions == 4

    world.eventually(grown)
    world.await_leaders(topic, 4)
    last = TopicPartition(topic, 3)
    assert world.admin.end_offsets([last], PATIENCE_S) == {last: 0}  # and can be asked for


def test_the_id_of_a_topic_stays(world: World):
    topic = world.topic()
    before = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    world.write(topic, b"a")
    world.add_partitions(topic, 2)
    after = world.admin.describe_topics([topic], PATIENCE_S)[topic]
    assert before is not None
    assert after is not None
    assert before.topic_id == after.topic_id


def test_topics_are_described_one_by_one(world: World):
    plain, compacted = world.topic(1), world.topic(2, {"cleanup.policy": "compact"})
    found = world.admin.describe_topics([plain, compacted], PATIENCE_S)
    described = {name: (info.partitions, info.config["cleanup.policy"]) for name, info in found.items() if info is not None}
    assert described == {plain: (1, "delete"), compacted: (2, "compact")}
    assert len({info.topic_id for info in found.values() if info is not None}) == 2


def test_nobody_asked_for_is_nobody_described(world: World):
    assert world.admin.describe_topics([], PATIENCE_S) == {}
