"""ListOffsets: where the logs of partitions start and end."""

from __future__ import annotations

from contextlib import suppress

import pytest

from streamkit.errors import KafkaError, RetriableError
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
def test_nothing_but_missing_partitions_leaves_nobody_to_ask(world: World, call: str):
    """librdkafka then finds no leader to ask; a real Kafka's answer is not "unknown topic"."""
    for missing in (TopicPartition(world.name("missing"), 0), TopicPartition(world.topic(), 7)):
        with pytest.raises(RetriableError) as caught:
            getattr(world.admin, call)({missing: 1} if call == "delete_records" else [missing], PATIENCE_S)
        assert caught.value.code == "_NOENT"


def test_an_empty_partition_starts_and_ends_at_0(world: World):
    tp = TopicPartition(world.topic(), 0)
    assert world.admin.start_offsets([tp], PATIENCE_S) == world.admin.end_offsets([tp], PATIENCE_S) == {tp: 0}


def test_aborted_records_count(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce_many(topic, [b"aborted"] * 3, [b"k"] * 3, 0, 1)
    producer.flush(PATIENCE_S)
    producer.abort(PATIENCE_S)
    world.eventually(lambda: world.end(topic) == 4)  # the marker may be written after the answer


def test_partitions_of_several_topics_are_asked_for_at_once(world: World):
    left, right = world.topic(2), world.topic(1)
    world.write(left, b"a", partition=1)
    world.write(right, b"a", b"b")
    wanted = {TopicPartition(left, 0): 0, TopicPartition(left, 1): 2, TopicPartition(right, 0): 3}
    assert world.admin.end_offsets(list(wanted), PATIENCE_S) == wanted


def test_a_partition_that_was_added_is_empty(world: World):
    topic = world.topic(1)
    world.write(topic, b"a")
    world.add_partitions(topic, 2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    found: dict[TopicPartition, int] = {}

    def known() -> bool:
        with suppress(KafkaError):  # a broker may not have heard of it yet
            found.update(world.admin.end_offsets(tps, PATIENCE_S))
        return bool(found)

    world.eventually(known)
    assert found == {tps[0]: 2, tps[1]: 0}


def test_nothing_asked_is_nothing_answered(world: World):
    assert world.admin.end_offsets([], PATIENCE_S) == {}
