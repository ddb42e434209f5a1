"""LeaveGroup, and the last ConsumerGroupHeartbeat: members that close."""

from __future__ import annotations

from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, World


def test_closing_gives_back_and_the_others_take_over(world: World):
    group, topic = world.name("group"), world.topic(2)
    members = [world.consumer(group, [topic]) for _ in range(2)]
    world.settle(members, lambda: [len(listener.held) for _, listener in members] == [1, 1])
    (leaver, left), (stayer, stays) = members
    held = left.held
    leaver.close()
    assert left.calls[-1] == ("revoked", held)
    world.settle([(stayer, stays)], lambda: len(stays.held) == 2)


def test_a_member_commits_while_it_closes(world: World):
    group, topic = world.name("group"), world.topic()
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic)
    listener.when_revoked = lambda _: world.commit_offset(consumer, {tp: Committed(6)})
    consumer.close()
    assert world.admin.group_offsets(group, PATIENCE_S) == {tp: Committed(6)}
