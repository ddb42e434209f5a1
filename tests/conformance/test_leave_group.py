"""LeaveGroup, and the last ConsumerGroupHeartbeat: members that close."""

from __future__ import annotations

import pytest

from streamkit.errors import FatalError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, Member, World


def test_closing_gives_back_and_the_others_take_over(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    members = [world.consumer(group, [topic]) for _ in range(2)]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [1, 1])
    (leaver, left), (stayer, stays) = members
    held = left.held
    leaver.close()
    assert left.calls[-1] == ("revoked", held)
    world.settle([(stayer, stays)], lambda: len(stays.held) == 2)


def test_a_member_commits_while_it_closes(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic)
    listener.when_revoked = lambda _: world.commit_offset(consumer, {tp: Committed(6)})
    consumer.close()
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(6)}


def test_a_member_that_leaves_is_not_waited_for(world: World, protocol: str):
    """Long before its session would expire."""
    group, topic = world.name("group"), world.topic(2)
    leaver, _ = world.member(group, topic, 2)
    leaver.close()
    stayer = world.consumer(group, [topic])
    world.settle([stayer], lambda: len(stayer[1].held) == 2)


def test_the_last_one_to_leave_leaves_the_offsets(world: World, protocol: str):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, _ = world.member(group, topic)
    world.commit_offset(consumer, {tp: Committed(4, "kept")})
    consumer.close()
    successor, _ = world.member(group, topic)
    assert successor.committed([tp], PATIENCE_S) == {tp: Committed(4, "kept")}


def test_nobody_is_revoked_who_has_nothing(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(1)
    members = [world.consumer(group, [topic]) for _ in range(2)]
    world.settle(members, lambda: sum(len(listener.held) for _, listener in members) == 1)
    idle = next(member for member in members if not member[1].held)
    before = [call for call in idle[1].calls if call[1]]
    idle[0].close()
    assert [call for call in idle[1].calls if call[1]] == before


# -- static members (KIP-345) ----------------------------------------------------------------------------------------------


def static_pair(world: World, group: str, topic: str) -> list[Member]:
    members = [world.consumer(group, [topic], group_instance_id=instance) for instance in ("one", "two")]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [1, 1])
    return members


def test_the_successor_of_a_static_member_gets_its_partitions_and_nobody_else_is_told(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    (leaver, left), (stayer, stays) = static_pair(world, group, topic)
    had, calls, generation = list(left.held), len(stays.calls), stayer.group_metadata().generation
    leaver.close()
    successor, listener = world.consumer(group, [topic], group_instance_id="one")
    world.settle([(successor, listener), (stayer, stays)], lambda: bool(listener.held))
    assert listener.held == had
    assert len(stays.calls) == calls
    assert stayer.group_metadata().generation == successor.group_metadata().generation == generation


def test_a_static_member_that_closes_gives_nothing_to_the_others(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    (leaver, left), (stayer, stays) = static_pair(world, group, topic)
    leaver.close()
    assert left.names()[-1] == "revoked"
    for _ in range(10):
        stayer.poll(1, 0.1)
    assert len(stays.held) == 1


def test_static_members_share_in_the_order_of_their_instance_ids(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(4)
    members = [world.consumer(group, [topic], group_instance_id=instance) for instance in ("b", "a")]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [2, 2])
    assert [[tp.partition for tp in listener.held] for _, listener in members] == [[2, 3], [0, 1]]


def test_a_static_member_whose_place_is_taken_stops(world: World):
    """Classic: the newcomer takes the place, and the older one learns at its next request that it is fenced."""
    group, topic = world.name("group"), world.topic(1)
    older = world.member(group, topic, 1, group_instance_id="one")
    newer = world.consumer(group, [topic], group_instance_id="one")
    world.settle([newer], lambda: len(newer[1].held) == 1)
    with pytest.raises(FatalError) as caught:
        world.settle([older], lambda: False)
    assert caught.value.code == "FENCED_INSTANCE_ID"


def test_with_the_consumer_protocol_the_newcomer_stops(world: World):
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(1)
    older = world.member(group, topic, 1, group_instance_id="one")
    # For as long as a session it could be a predecessor that was killed; then it must be a second live owner.
    options = {"transaction_timeout_ms": 1_000, "session_timeout_ms": 1_001}
    newer = world.consumer(group, [topic], group_instance_id="one", **options)
    with pytest.raises(FatalError) as caught:
        world.settle([newer], lambda: False)
    assert caught.value.code == "UNRELEASED_INSTANCE_ID"
    assert older[0].poll(1, 0.2).batches == []
    assert len(older[1].held) == 1
