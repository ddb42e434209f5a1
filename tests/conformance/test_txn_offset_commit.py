"""AddOffsetsToTxn and TxnOffsetCommit: positions that commit with the records, and members of the past that may not."""

from __future__ import annotations

import pytest

from streamkit.errors import AbortableError, FatalError, GenerationError
from streamkit.kafka.client import Committed, GroupMetadata, TopicPartition
from tests.conformance.world import PATIENCE_S, Member, World, values


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


def test_offsets_and_records_commit_together(world: World, protocol: str):
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


def test_offsets_of_another_topic_can_be_committed(world: World, protocol: str):
    """A broker does not check that a member owns what it commits (KIP-1287): the generation is the only fence."""
    group, topic, other = world.name("group"), world.topic(), world.topic()
    consumer, _ = world.member(group, topic)
    tp = TopicPartition(other, 0)
    world.commit_offset(consumer, {tp: Committed(3)})
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(3)}


def refused(world: World, group: GroupMetadata, tp: TopicPartition, out: str) -> GenerationError:
    """The error of sending offsets as `group`; the transaction then aborts and the producer works on."""
    producer = world.producer()
    producer.begin()
    producer.produce(out, b"zombie", b"k", 0)
    producer.flush(PATIENCE_S)
    with pytest.raises(GenerationError) as caught:
        producer.send_offsets({tp: Committed(9)}, group, PATIENCE_S)
    producer.abort(PATIENCE_S)
    producer.begin()
    producer.produce(out, b"afterwards", b"k", 0)
    producer.commit(PATIENCE_S)
    return caught.value


def test_a_member_of_an_older_generation_is_refused(world: World):
    group, topic, out = world.name("group"), world.topic(2), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic, 2)
    stale = consumer.group_metadata()
    members = [(consumer, listener), world.consumer(group, [topic])]
    world.settle(members, lambda: [len(held.held) for _, held in members] == [1, 1])
    assert refused(world, stale, tp, out).code == "ILLEGAL_GENERATION"
    assert consumer.committed([tp], PATIENCE_S) == {tp: None}
    assert values(world.read(out)) == [b"afterwards"]


def test_a_member_that_left_is_refused(world: World, protocol: str):
    group, topic, out = world.name("group"), world.topic(), world.topic()
    tp = TopicPartition(topic, 0)
    leaver, _ = world.member(group, topic)
    stale = leaver.group_metadata()
    leaver.close()
    stayer, _ = world.member(group, topic)
    assert refused(world, stale, tp, out).code == "UNKNOWN_MEMBER_ID"
    assert stayer.committed([tp], PATIENCE_S) == {tp: None}


def test_a_consumer_that_never_joined_is_refused(world: World, protocol: str):
    """A broker would accept these offsets, unfenced (R10), so the client does not send them."""
    topic, out = world.topic(), world.topic()
    consumer, _ = world.consumer(world.name("group"), [topic])
    assert refused(world, consumer.group_metadata(), TopicPartition(topic, 0), out).code == "UNKNOWN_MEMBER_ID"


def test_no_offsets_are_refused(world: World):
    """A broker is not asked anything then, so a stale member would not be noticed and its records would commit (R1)."""
    topic = world.topic()
    consumer, _ = world.member(world.name("group"), topic)
    producer = world.producer()
    producer.begin()
    with pytest.raises(ValueError, match="without offsets"):
        producer.send_offsets({}, consumer.group_metadata(), PATIENCE_S)
    producer.abort(PATIENCE_S)


def test_a_member_commits_inside_on_revoked(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic, 2)
    listener.when_revoked = lambda _: world.commit_offset(consumer, {tp: Committed(6, "in the callback")})
    members = [(consumer, listener), world.consumer(group, [topic])]
    world.settle(members, lambda: [len(held.held) for _, held in members] == [1, 1])
    listener.when_revoked = lambda _: None  # how it leaves is another matter
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(6, "in the callback")}


def stale_and_retained(world: World) -> tuple[GroupMetadata, Member]:
    """With the consumer protocol: the metadata of a member from before it gave partitions up, and the member."""
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(2)
    member = world.member(group, topic, 2)
    stale = member[0].group_metadata()
    members = [member, world.consumer(group, [topic])]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [1, 1])
    world.settle(members, lambda: member[0].group_metadata().generation > stale.generation)
    return stale, member


def test_with_the_consumer_protocol_an_older_epoch_may_not_commit_what_was_given_up(world: World):
    stale, (_, listener) = stale_and_retained(world)
    [kept] = listener.held
    given_up = TopicPartition(kept.topic, 1 - kept.partition)
    assert refused(world, stale, given_up, world.topic()).code == "ILLEGAL_GENERATION"


def test_with_the_consumer_protocol_an_older_epoch_may_commit_what_was_kept(world: World):
    """KIP-1251: otherwise every rebalance would disturb members that it does not concern."""
    stale, (consumer, listener) = stale_and_retained(world)
    [kept] = listener.held
    producer = world.producer()
    producer.begin()
    producer.send_offsets({kept: Committed(5)}, stale, PATIENCE_S)
    producer.commit(PATIENCE_S)
    assert consumer.committed([kept], PATIENCE_S) == {kept: Committed(5)}


@pytest.mark.parametrize(
    "wrong, code",
    [("group", "ILLEGAL_GENERATION"), ("member", "UNKNOWN_MEMBER_ID"), ("generation", "ILLEGAL_GENERATION")],
)
def test_an_identity_that_never_was_is_refused(world: World, protocol: str, wrong: str, code: str):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    real = consumer.group_metadata()
    invented = GroupMetadata(
        world.name("other") if wrong == "group" else group,
        real.generation + 7 if wrong == "generation" else real.generation,
        "somebody" if wrong == "member" else real.member_id,
    )
    tp = TopicPartition(topic, 0)
    assert refused(world, invented, tp, world.topic()).code == code
    assert consumer.committed([tp], PATIENCE_S) == {tp: None}


def test_a_static_member_whose_place_was_taken_is_refused(world: World):
    group, topic = world.name("group"), world.topic()
    older, _ = world.member(group, topic, 1, group_instance_id="one")
    stale = older.group_metadata()
    newer, listener = world.consumer(group, [topic], group_instance_id="one")
    world.settle([(newer, listener)], lambda: len(listener.held) == 1)
    producer = world.producer()
    producer.begin()
    with pytest.raises(FatalError) as caught:
        producer.send_offsets({TopicPartition(topic, 0): Committed(9)}, stale, PATIENCE_S)
    assert caught.value.code == "FENCED_INSTANCE_ID"


def test_one_transaction_may_commit_offsets_of_two_groups(world: World, protocol: str):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    members = [world.member(world.name("group"), topic)[0] for _ in range(2)]
    producer = world.producer()
    for end in (producer.abort, producer.commit):
        producer.begin()
        for offset, consumer in enumerate(members, start=3):
            producer.send_offsets({tp: Committed(offset)}, consumer.group_metadata(), PATIENCE_S)
        end(PATIENCE_S)
        committed = [consumer.committed([tp], PATIENCE_S)[tp] for consumer in members]
        assert committed == ([Committed(3), Committed(4)] if end == producer.commit else [None, None])


def test_two_transactions_of_one_group_end_apart(world: World):
    """Each waits only for its own; the later commit counts."""
    topic = world.topic(2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer, _ = world.member(world.name("group"), topic, 2)
    producers = [world.producer(), world.producer()]
    for producer, tp in zip(producers, (first, second), strict=True):
        producer.begin()
        producer.send_offsets({tp: Committed(4)}, consumer.group_metadata(), PATIENCE_S)
    producers[0].commit(PATIENCE_S)
    assert consumer.committed([first], PATIENCE_S) == {first: Committed(4)}
    producers[1].abort(PATIENCE_S)
    assert consumer.committed([second], PATIENCE_S) == {second: None}
