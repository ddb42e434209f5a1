"""JoinGroup and SyncGroup, and the first ConsumerGroupHeartbeats: who gets which partitions, and what callbacks tell."""

from __future__ import annotations

import pytest

from streamkit.kafka.client import TopicPartition
from tests.conformance.world import Listener, World


def partitions_of(listener: Listener) -> list[int]:
    return [tp.partition for tp in listener.held]


def test_the_only_member_gets_everything(world: World):
    topic = world.topic(3)
    consumer, listener = world.member(world.name("group"), topic, 3)
    assert listener.calls == [("assigned", [TopicPartition(topic, p) for p in range(3)])]
    assert consumer.group_metadata().generation >= 1


def test_nobody_is_a_member_before_the_first_poll(world: World):
    group = world.name("group")
    consumer, listener = world.consumer(group, [world.topic()])
    metadata = consumer.group_metadata()
    assert (metadata.group_id, metadata.generation, metadata.member_id) == (group, -1, "")
    assert listener.calls == []


def test_group_metadata_tells_the_member(world: World):
    group, topic = world.name("group"), world.topic()
    consumer, _ = world.member(group, topic)
    metadata = consumer.group_metadata()
    assert metadata.group_id == group
    assert metadata.generation == 1
    assert metadata.member_id


def test_two_members_share_by_range(world: World):
    """Per topic, contiguous, in the order of the member ids; the first member has one more."""
    group, topic = world.name("group"), world.topic(5)
    members = [world.consumer(group, [topic]) for _ in range(2)]
    world.settle(members, lambda: sorted(len(listener.held) for _, listener in members) == [2, 3])
    by_id = sorted(members, key=lambda member: member[0].group_metadata().member_id)
    assert [partitions_of(listener) for _, listener in by_id] == [[0, 1, 2], [3, 4]]
    generations = {consumer.group_metadata().generation for consumer, _ in members}
    assert len(generations) == 1


def test_topics_with_equally_many_partitions_stay_together(world: World):
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


def test_in_on_revoked_the_member_is_still_of_the_old_generation(world: World):
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


def test_a_callback_that_raises_makes_poll_raise(world: World):
    group, topic = world.name("group"), world.topic()
    consumer, listener = world.consumer(group, [topic])

    def fail(_):
        raise ZeroDivisionError

    listener.when_assigned = fail
    with pytest.raises(ZeroDivisionError):
        world.settle([(consumer, listener)], lambda: False)
