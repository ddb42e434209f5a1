"""TxnOffsetCommit and OffsetFetch: positions of a group and what is stored with them."""

from __future__ import annotations

import time

import pytest

from streamkit.errors import AbortableError, KafkaError, RetriableError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, World, values


def test_nothing_is_committed_at_first(world: World):
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


def test_sending_offsets_twice_in_a_transaction_keeps_the_last(world: World):
    topic = world.topic(2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer, _ = world.member(world.name("group"), topic, 2)
    producer = world.producer()
    producer.begin()
    producer.send_offsets({first: Committed(1), second: Committed(1)}, consumer.group_metadata(), PATIENCE_S)
    producer.send_offsets({first: Committed(2)}, consumer.group_metadata(), PATIENCE_S)
    producer.commit(PATIENCE_S)
    assert consumer.committed([first, second], PATIENCE_S) == {first: Committed(2), second: Committed(1)}


def test_offsets_of_an_aborted_transaction_are_dropped(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    world.commit_offset(consumer, {tp: Committed(1, "kept")})
    producer = world.producer()
    producer.begin()
    producer.send_offsets({tp: Committed(9, "dropped")}, consumer.group_metadata(), PATIENCE_S)
    producer.abort(PATIENCE_S)
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(1, "kept")}


def test_a_pending_offset_blocks_committed_until_the_transaction_ends(world: World):
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


def test_offsets_and_records_commit_together(world: World):
    topic, out = world.topic(), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    producer = world.producer()
    for end in (producer.abort, producer.commit):
        producer.begin()
        producer.produce(out, b"v", b"k", 0)
        producer.flush(PATIENCE_S)
        producer.send_offsets({tp: Committed(4)}, consumer.group_metadata(), PATIENCE_S)
        end(PATIENCE_S)
        committed = end == producer.commit
        assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(4) if committed else None}
        assert values(world.read(out)) == ([b"v"] if committed else [])


def test_too_much_metadata_aborts(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    world.commit_offset(consumer, {tp: Committed(1, "m" * 4_095)})
    assert len(consumer.committed([tp], PATIENCE_S)[tp].metadata) == 4_095
    producer = world.producer()
    producer.begin()
    with pytest.raises(AbortableError) as caught:
        producer.send_offsets({tp: Committed(2, "m" * 4_096)}, consumer.group_metadata(), PATIENCE_S)
    assert caught.value.code == "OFFSET_METADATA_TOO_LARGE"
    producer.abort(PATIENCE_S)
    assert consumer.committed([tp], PATIENCE_S)[tp].offset == 1


@pytest.mark.parametrize("missing", ["topic", "partition"])
def test_offsets_of_what_does_not_exist_abort(world: World, missing: str):
    topic = world.topic()
    consumer, _ = world.member(world.name("group"), topic)
    tp = TopicPartition(world.name("missing"), 0) if missing == "topic" else TopicPartition(topic, 7)
    producer = world.producer()
    producer.begin()
    with pytest.raises(AbortableError) as caught:
        producer.send_offsets({tp: Committed(1)}, consumer.group_metadata(), 1.0)  # asked again until then
    assert caught.value.code == "UNKNOWN_TOPIC_OR_PART"
    producer.abort(PATIENCE_S)
    assert consumer.committed([tp], PATIENCE_S) == {tp: None}


def test_offsets_of_another_topic_can_be_committed(world: World):
    """A broker does not check that a member owns what it commits (KIP-1287): the generation is the only fence."""
    group, topic, other = world.name("group"), world.topic(), world.topic()
    consumer, _ = world.member(group, topic)
    tp = TopicPartition(other, 0)
    world.commit_offset(consumer, {tp: Committed(3)})
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(3)}


def test_a_group_that_nobody_knows_has_no_offsets(world: World):
    assert world.admin.group_offsets(world.name("group"), PATIENCE_S) == {}


def test_a_deleted_group_has_no_offsets(world: World):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {TopicPartition(topic, 0): Committed(3)})
    consumer.close()
    deadline = time.monotonic() + PATIENCE_S
    while True:  # a real coordinator may still be busy with the member that left
        try:
            world.admin.delete_group(group, PATIENCE_S)
            break
        except KafkaError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert world.admin.group_offsets(group, PATIENCE_S) == {}
    world.admin.delete_group(group, PATIENCE_S)  # one that does not exist is not an error
