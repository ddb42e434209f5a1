"""JoinGroup and SyncGroup, and the first ConsumerGroupHeartbeats: who gets which partitions, and what callbacks tell."""

from __future__ import annotations

from contextlib import suppress

import pytest

from streamkit.errors import RetriableError
from streamkit.kafka.client import NewTopic, TopicPartition
from tests.conformance.world import PATIENCE_S, Got, Listener, World, records


def partitions_of(listener: Listener) -> list[int]:
    return [tp.partition for tp in listener.held]


def test_the_only_member_gets_everything(world: World, protocol: str):
    topic = world.topic(3)
    consumer, listener = world.member(world.name("group"), topic, 3)
    assert listener.calls == [("assigned", [TopicPartition(topic, p) for p in range(3)])]
    assert consumer.group_metadata().generation >= 1


def test_nobody_is_a_member_before_the_first_poll(world: World, protocol: str):
    group = world.name("group")
    consumer, listener = world.consumer(group, [world.topic()])
    metadata = consumer.group_metadata()
    assert (metadata.group_id, metadata.generation) == (group, -1)
    assert (metadata.member_id == "") == (protocol == "classic")  # with the other one the member names itself
    assert listener.calls == []


def test_group_metadata_tells_the_member(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    metadata = consumer.group_metadata()
    assert metadata.group_id == group
    # Seen on Kafka 4.3: with the consumer protocol it begins at 2; 3 if the broker heard of the topic only after that.
    assert metadata.generation in ({1} if protocol == "classic" else {2, 3})
    assert metadata.member_id


def test_two_members_share_by_range(world: World, protocol: str):
    """Per topic, contiguous, in the order of the member ids; the first member has one more."""
    group, topic = world.name("group"), world.topic(5)
    members = [world.consumer(group, [topic]) for _ in range(2)]
    world.settle(members, lambda: sorted(len(listener.held) for _, listener in members) == [2, 3])
    by_id = sorted(members, key=lambda member: member[0].group_metadata().member_id)
    assert [partitions_of(listener) for _, listener in by_id] == [[0, 1, 2], [3, 4]]
    generations = {consumer.group_metadata().generation for consumer, _ in members}
    assert len(generations) == 1


def test_topics_with_equally_many_partitions_stay_together(world: World, protocol: str):
    group, left, right = world.name("group"), world.topic(4), world.topic(4)
    members = [world.consumer(group, [left, right]) for _ in range(2)]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [4, 4])
    for _, listener in members:
        of_left = [tp.partition for tp in listener.held if tp.topic == left]
        assert of_left == [tp.partition for tp in listener.held if tp.topic == right]
        assert len(of_left) == 2


def test_a_joining_member_makes_the_other_give_back_everything_first(world: World):
    group, topic = world.name("group"), world.topic(2)
    first, first_listener = world.member(group, topic, 2)
    generation = first.group_metadata().generation
    second, second_listener = world.consumer(group, [topic])
    members = [(first, first_listener), (second, second_listener)]
    world.settle(members, lambda: len(first_listener.held) == len(second_listener.held) == 1)
    assert [call for call, _ in first_listener.calls] == ["assigned", "revoked", "assigned"]
    assert len(first_listener.calls[1][1]) == 2
    assert [call for call, _ in second_listener.calls] == ["assigned"]
    assert first.group_metadata().generation == second.group_metadata().generation == generation + 1


def test_in_on_revoked_the_member_is_still_of_the_old_generation(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    first, first_listener = world.member(group, topic, 2)
    before = first.group_metadata()
    seen = []
    first_listener.when_revoked = lambda _: seen.append(first.group_metadata())
    members = [(first, first_listener), world.consumer(group, [topic])]
    world.settle(members, lambda: len(members[1][1].held) == 1 and len(first_listener.held) == 1)
    assert [(m.generation, m.member_id) for m in seen] == [(before.generation, before.member_id)]


def test_a_member_without_partitions_is_told_so(world: World):
    group, topic = world.name("group"), world.topic(1)
    members = [world.consumer(group, [topic]) for _ in range(2)]

    def both_told() -> bool:
        return all(listener.calls and listener.calls[-1][0] == "assigned" for _, listener in members) and (
            sum(len(listener.held) for _, listener in members) == 1
            and len({consumer.group_metadata().generation for consumer, _ in members}) == 1
        )

    world.settle(members, both_told)
    [idle] = [listener for _, listener in members if not listener.held]
    assert idle.calls[-1] == ("assigned", [])


def test_a_callback_that_raises_makes_poll_raise(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    consumer, listener = world.consumer(group, [topic])

    def fail(_):
        raise ZeroDivisionError

    listener.when_assigned = fail
    with pytest.raises(ZeroDivisionError):
        world.settle([(consumer, listener)], lambda: False)


def test_with_the_consumer_protocol_a_joining_member_makes_the_other_give_back_only_what_it_gets(world: World):
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(4)
    members = [world.member(group, topic, 4), world.consumer(group, [topic])]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [2, 2])
    (_, first), (_, second) = members
    assert first.names() == ["assigned", "revoked"]
    assert second.names() == ["assigned"]
    assert first.calls[1][1] == second.held


def test_with_the_consumer_protocol_a_member_without_partitions_is_not_told(world: World):
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(1)
    members = [world.consumer(group, [topic]) for _ in range(2)]
    world.settle(members, lambda: sum(len(listener.held) for _, listener in members) == 1)
    world.settle(members, lambda: all(consumer.group_metadata().generation >= 3 for consumer, _ in members))
    assert all(partitions for _, listener in members for _, partitions in listener.calls)


def test_with_the_consumer_protocol_reading_goes_on_where_nothing_changes(world: World):
    """Partitions that a member keeps are neither paused nor read again."""
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    for tp in tps:
        world.write(topic, *(b"%d" % i for i in range(5)), partition=tp.partition)
    first, listener = world.member(group, topic, 2)
    for tp in tps:
        first.seek(tp, 0)
    first.resume(tps)
    world.drain(first, tps)
    second = world.consumer(group, [topic])
    world.settle([(first, listener), second], lambda: len(listener.held) == len(second[1].held) == 1)
    [kept] = listener.held
    world.write(topic, b"later", partition=kept.partition)
    got: list[Got] = []

    def arrived() -> bool:
        got.extend(records(first.poll(10, 0.2)))
        return bool(got)

    world.eventually(arrived)
    got += records(first.poll(10, 0.3))
    assert [(record.tp, record.value) for record in got] == [(kept, b"later")]


def test_a_third_member_gets_its_share(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(4)
    members = [world.consumer(group, [topic]) for _ in range(3)]
    world.settle(members, lambda: sorted(len(listener.held) for _, listener in members) == [1, 1, 2])
    held = [tp.partition for _, listener in members for tp in listener.held]
    assert sorted(held) == [0, 1, 2, 3]


def test_members_get_only_topics_that_they_want(world: World, protocol: str):
    group, left, right = world.name("group"), world.topic(2), world.topic(2)
    members = [world.consumer(group, [left]), world.consumer(group, [right])]
    world.settle(members, lambda: all(len(listener.held) == 2 for _, listener in members))
    assert [{tp.topic for tp in listener.held} for _, listener in members] == [{left}, {right}]


def test_a_topic_that_comes_later_is_shared_then(world: World, protocol: str):
    group, later = world.name("group"), world.name("later")
    member = world.consumer(group, [later])
    for _ in range(3):
        with suppress(RetriableError):  # that the topic is not there
            member[0].poll(1, 0.1)
    assert member[1].held == []
    world.admin.create_topics([NewTopic(later, 2)], PATIENCE_S)

    def both() -> bool:
        return len(member[1].held) == 2

    world.settle([member], both)


def test_partitions_that_are_added_are_shared(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(1)
    consumer, listener = world.member(group, topic)
    world.add_partitions(topic, 3)
    world.settle([(consumer, listener)], lambda: len(listener.held) == 3)
    # The classic protocol takes everything back first; the other one only gives what is new.
    assert listener.names() == (["assigned", "revoked", "assigned"] if protocol == "classic" else ["assigned", "assigned"])
    if protocol == "consumer":
        assert listener.calls[1][1] == [TopicPartition(topic, 1), TopicPartition(topic, 2)]


def test_every_rebalance_is_a_new_generation(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    first = world.member(group, topic, 2)
    before = first[0].group_metadata().generation
    second = world.consumer(group, [topic])
    members = [first, second]

    def settled() -> bool:
        generations = {consumer.group_metadata().generation for consumer, _ in members}
        return [len(listener.held) for _, listener in members] == [1, 1] and len(generations) == 1 and min(generations) > before

    world.settle(members, settled)
    assert len({consumer.group_metadata().member_id for consumer, _ in members}) == 2
