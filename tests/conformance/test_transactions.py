"""InitProducerId, AddPartitionsToTxn, TxnOffsetCommit, EndTxn: owners, members of the past, and calls out of order."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError, FencedError, GenerationError, KafkaError
from streamkit.kafka.client import Committed, GroupMetadata, Producer, TopicPartition
from tests.conformance.world import PATIENCE_S, World, values


def predecessor(world: World, topic: str) -> tuple[Producer, str]:
    """A producer with an open transaction, and its transactional id."""
    transactional_id = world.name("txn")
    producer = world.producer(transactional_id)
    producer.begin()
    producer.produce(topic, b"predecessor", b"k", 0)
    producer.flush(PATIENCE_S)
    return producer, transactional_id


def test_a_successor_aborts_the_open_transaction(world: World):
    topic = world.topic()
    _, transactional_id = predecessor(world, topic)
    successor = world.producer(transactional_id)
    successor.begin()
    successor.produce(topic, b"successor", b"k", 0)
    successor.commit(PATIENCE_S)
    assert [(r.value, r.offset) for r in world.read(topic)] == [(b"successor", 2)]


def test_a_successor_drops_the_pending_offsets(world: World):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    old, transactional_id = predecessor(world, topic)
    old.send_offsets({tp: Committed(9)}, consumer.group_metadata(), PATIENCE_S)
    world.producer(transactional_id)
    assert consumer.committed([tp], PATIENCE_S) == {tp: None}


@pytest.mark.parametrize("call", ["commit", "abort", "send_offsets", "flush"])
def test_a_fenced_producer_learns_it_at_its_next_call(world: World, call: str):
    topic = world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(world.name("group"), topic)
    group = consumer.group_metadata()
    old, transactional_id = predecessor(world, topic)
    world.producer(transactional_id)
    with pytest.raises(FencedError):
        if call == "send_offsets":
            old.send_offsets({tp: Committed(1)}, group, PATIENCE_S)
        elif call == "flush":
            old.produce(world.topic(), b"to a partition that is new to the transaction", b"k", 0)
            old.flush(PATIENCE_S)
        else:
            getattr(old, call)(PATIENCE_S)
    assert world.read(topic) == []


def test_a_fenced_producer_stays_fenced(world: World):
    topic = world.topic()
    old, transactional_id = predecessor(world, topic)
    world.producer(transactional_id)
    for _ in range(2):
        with pytest.raises(FencedError):
            old.commit(PATIENCE_S)
    with pytest.raises(FencedError):
        old.begin()


def test_a_fenced_producer_between_transactions_learns_it_in_the_next(world: World):
    topic = world.topic()
    transactional_id = world.name("txn")
    old = world.producer(transactional_id)
    world.producer(transactional_id)
    old.begin()
    with pytest.raises(FencedError):
        old.produce(topic, b"v", b"k", 0)
        old.commit(PATIENCE_S)
    assert world.read(topic) == []


def test_an_empty_transaction_commits_and_aborts(world: World):
    topic = world.topic()
    producer = world.producer()
    for end in (producer.commit, producer.abort):
        producer.begin()
        end(PATIENCE_S)
    assert world.end(topic) == 0


def test_transactions_follow_each_other(world: World):
    topic = world.topic()
    producer = world.producer()
    for i in range(6):
        producer.begin()
        producer.produce(topic, b"%d" % i, b"k", 0)
        (producer.abort if i % 3 == 1 else producer.commit)(PATIENCE_S)
    assert values(world.read(topic)) == [b"0", b"2", b"3", b"5"]


def test_records_reach_every_partition_or_none(world: World):
    topic = world.topic(3)
    producer = world.producer()
    for end in (producer.abort, producer.commit):
        producer.begin()
        for partition in range(3):
            producer.produce(topic, b"v", b"k", partition)
        producer.flush(PATIENCE_S)
        end(PATIENCE_S)
    assert sorted(record.tp.partition for record in world.read_all(topic, 3)) == [0, 1, 2]


def test_a_quiet_connection_is_not_disturbed(world: World):
    topic = world.topic()
    producer = world.producer()
    producer.begin()
    producer.produce(topic, b"v", b"k", 0)
    producer.commit(PATIENCE_S)
    assert producer.disturbed() is None


@pytest.mark.parametrize("misuse", ["begin twice", "commit without begin", "abort without begin", "produce without begin"])
def test_calls_out_of_order_are_refused(world: World, misuse: str):
    topic = world.topic()
    producer = world.producer()
    with pytest.raises(KafkaError) as caught:
        if misuse == "begin twice":
            producer.begin()
            producer.begin()
        elif misuse == "produce without begin":
            producer.produce(topic, b"v", b"k", 0)
        else:
            getattr(producer, misuse.split(maxsplit=1)[0])(PATIENCE_S)
    assert isinstance(caught.value, FatalError)
    assert caught.value.code == "_STATE"


# -- members of the past ---------------------------------------------------------------------------------------------------


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


def test_a_member_that_left_is_refused(world: World):
    group, topic, out = world.name("group"), world.topic(), world.topic()
    tp = TopicPartition(topic, 0)
    leaver, _ = world.member(group, topic)
    stale = leaver.group_metadata()
    leaver.close()
    stayer, _ = world.member(group, topic)
    assert refused(world, stale, tp, out).code == "UNKNOWN_MEMBER_ID"
    assert stayer.committed([tp], PATIENCE_S) == {tp: None}


def test_a_consumer_that_never_joined_is_refused(world: World):
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


def test_a_member_commits_inside_on_revoked(world: World):
    group, topic = world.name("group"), world.topic(2)
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic, 2)
    listener.when_revoked = lambda _: world.commit_offset(consumer, {tp: Committed(6, "in the callback")})
    members = [(consumer, listener), world.consumer(group, [topic])]
    world.settle(members, lambda: [len(held.held) for _, held in members] == [1, 1])
    assert consumer.committed([tp], PATIENCE_S) == {tp: Committed(6, "in the callback")}


def test_a_member_commits_while_it_closes(world: World):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic)
    listener.when_revoked = lambda _: world.commit_offset(consumer, {tp: Committed(6)})
    consumer.close()
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(6)}


def test_a_successor_waits_for_the_offsets_of_the_open_transaction(world: World):
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
