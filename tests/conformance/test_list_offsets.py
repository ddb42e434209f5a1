"""ListOffsets: where the logs of partitions start and end."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, RetriableError
from streamkit.kafka.client import TopicPartition
from tests.conformance.world import PATIENCE_S, World


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
