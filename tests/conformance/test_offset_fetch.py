"""OffsetFetch: stable positions of a group and what is stored with them."""

from __future__ import annotations

import pytest

from streamkit.errors import KafkaError, RetriableError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, World, predecessor


def test_nothing_is_committed_at_first(world: World, protocol: str):
    topic = world.topic(2)
    consumer, _ = world.member(world.name("group"), topic, 2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    assert consumer.committed(tps, PATIENCE_S) == dict.fromkeys(tps)


@pytest.mark.parametrize("metadata", ["", "v1;1586937900000;17", "ä€"], ids=["empty", "ascii", "utf-8"])
def test_offset_and_metadata_come_back(world: World, metadata: str):
    group, topic = world.name("group"), world.topic(2)
    consumer, _ = world.member(group, topic, 2)
    tp, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    world.commit_offset(consumer, {tp: Committed(5, metadata)})
    assert consumer.committed([tp, other], PATIENCE_S) == {tp: Committed(5, metadata), other: None}
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(5, metadata)}


def test_the_leader_epoch_comes_back(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    world.commit_offset(consumer, {tp: Committed(5, "m", 0)})
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(5, "m", 0)}


def test_the_last_commit_counts(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    for offset in (5, 7, 3):
        world.commit_offset(consumer, {tp: Committed(offset, str(offset))})
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(3, "3")}


def test_a_pending_offset_blocks_committed_until_the_transaction_ends(world: World, protocol: str):
    topic = world.topic(2)
    tp, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer, _ = world.member(world.name("group"), topic, 2)
    producer = world.producer()
    producer.begin()
    producer.send_offsets({tp: Committed(5)}, consumer.group_metadata(), PATIENCE_S)
    with pytest.raises(RetriableError) as caught:
        consumer.committed([tp], 0.5)
    assert caught.value.code in {"_TIMED_OUT", "UNSTABLE_OFFSET_COMMIT"}
    assert consumer.committed([other], PATIENCE_S) == {other: None}
    producer.commit(PATIENCE_S)
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(5)}


def test_the_admin_waits_for_pending_offsets_too(world: World):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {tp: Committed(1)})
    producer = world.producer()
    producer.begin()
    producer.send_offsets({tp: Committed(5)}, consumer.group_metadata(), PATIENCE_S)
    with pytest.raises(RetriableError):
        world.admin.group_offsets(group, 0.3)
    producer.abort(PATIENCE_S)
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(1)}


def test_a_group_that_nobody_knows_has_no_offsets(world: World):
    assert world.admin.group_offsets(world.name("group"), PATIENCE_S) == {}


def test_a_successor_waits_for_the_offsets_of_the_open_transaction(world: World, protocol: str):
    """What a restart does: claim the transactional id, then ask for the committed offset."""
    group, topic, out = world.name("group"), world.topic(), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {tp: Committed(2, "committed")})
    old, transactional_id = predecessor(world, out)
    old.send_offsets({tp: Committed(5, "never committed")}, consumer.group_metadata(), PATIENCE_S)
    with pytest.raises(KafkaError):
        consumer.committed([tp], 0.3)
    world.producer(transactional_id)
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(2, "committed")}
    assert world.read(out) == []


@pytest.mark.parametrize("offset", [0, 2**40])
def test_any_offset_can_be_committed(world: World, offset: int):
    """A broker does not look whether it is in the log."""
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    world.commit_offset(consumer, {tp: Committed(offset)})
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(offset)}


def test_a_topic_that_does_not_exist_has_no_offsets(world: World):
    topic = world.topic()
    consumer, _ = world.member(world.name("group"), topic)
    missing = TopicPartition(world.name("missing"), 0)
    assert consumer.committed([missing], PATIENCE_S) == {missing: None}


def test_groups_have_offsets_of_their_own(world: World, protocol: str):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    members = [world.member(world.name("group"), topic)[0] for _ in range(2)]
    for offset, consumer in enumerate(members, start=5):
        world.commit_offset(consumer, {tp: Committed(offset)})
    assert [consumer.committed([tp], PATIENCE_S) for consumer in members] == [{tp: Committed(5)}, {tp: Committed(6)}]


def test_offsets_of_several_topics_are_listed(world: World):
    group, left, right = world.name("group"), world.topic(2), world.topic(1)
    consumer, _ = world.member(group, left, 2)
    wanted = {
        TopicPartition(left, 0): Committed(1),
        TopicPartition(left, 1): Committed(2),
        TopicPartition(right, 0): Committed(3),
    }
    world.commit_offset(consumer, wanted)
    assert world.admin.group_offsets(group, PATIENCE_S) == wanted


def test_who_joins_later_sees_what_was_committed(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    first = world.member(group, topic, 2)
    world.commit_offset(first[0], {tp: Committed(tp.partition + 7, "m") for tp in tps})
    second = world.consumer(group, [topic])
    members = [first, second]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [1, 1])
    [tp] = second[1].held
    assert second[0].committed([tp], PATIENCE_S) == {tp: Committed(tp.partition + 7, "m")}
