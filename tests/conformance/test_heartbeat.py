"""Heartbeat, and ConsumerGroupHeartbeat between the changes: who lives, who is late, and what they are told."""

from __future__ import annotations

import pytest

from streamkit.errors import GenerationError
from streamkit.kafka.client import Committed, TopicPartition
from tests.conformance.world import PATIENCE_S, Member, World

SHORT = {"transaction_timeout_ms": 1_000, "session_timeout_ms": 1_001, "max_poll_interval_ms": 1_001}
TOO_LONG_S = 3.0  # librdkafka looks every half second, a busy machine later; a poll before it has looked would be in time
LATER = SHORT | {"max_poll_interval_ms": 2_000}  # late, but not before it was told to give partitions up


def test_a_member_that_was_killed_is_replaced_after_its_session(world: World):
    """Classic: the session time-out is the member's own setting."""
    group, topic = world.name("group"), world.topic(2)
    stranger = world.stranger(group, topic, session_timeout_ms=3_000)
    started = world.clock.monotonic()
    stranger.kill()
    member = world.consumer(group, [topic])
    world.settle([member], lambda: len(member[1].held) == 2)
    assert world.clock.monotonic() - started > 1.0


def test_a_rebalance_waits_for_a_killed_member_no_longer_than_its_session(world: World):
    group, topic = world.name("group"), world.topic(3)
    survivor = world.member(group, topic, 3)
    stranger = world.stranger_beside(survivor, group, topic, session_timeout_ms=1_000)
    stranger.kill()
    newcomer = world.consumer(group, [topic])
    members = [survivor, newcomer]
    world.settle(members, lambda: sorted(len(listener.held) for _, listener in members) == [1, 2])
    assert {tp.partition for _, listener in members for tp in listener.held} == {0, 1, 2}  # nothing is left with the one killed


def test_who_works_on_a_batch_for_longer_than_its_session_stays(world: World):
    """Heartbeats do not depend on polls."""
    group, topic = world.name("group"), world.topic(2)
    options = {"transaction_timeout_ms": 1_000, "session_timeout_ms": 3_000}
    busy = world.member(group, topic, 2, **options)
    before = busy[0].group_metadata()
    world.clock.sleep(5.0)
    busy[0].poll(1, 0.2)
    assert busy[1].names() == ["assigned"]
    assert busy[0].group_metadata().generation == before.generation


def late(world: World, group: str, topic: str) -> Member:
    """A member that has not polled for longer than it may."""
    member = world.member(group, topic, 2, **SHORT)
    world.clock.sleep(TOO_LONG_S)
    return member


def told_of_its_lateness(world: World, member: Member) -> GenerationError:
    with pytest.raises(GenerationError) as caught:
        world.settle([member], lambda: False)
    return caught.value


def test_who_does_not_poll_for_too_long_loses_everything(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    member = late(world, group, topic)
    assert told_of_its_lateness(world, member).code == "_MAX_POLL_EXCEEDED"
    world.settle([member], lambda: "lost" in member[1].names())
    assert member[1].calls[1] == ("lost", [TopicPartition(topic, 0), TopicPartition(topic, 1)])
    world.settle([member], lambda: len(member[1].held) == 2)  # it joins again


def test_the_partitions_of_who_does_not_poll_go_to_others(world: World):
    group, topic = world.name("group"), world.topic(2)
    first = late(world, group, topic)
    other = world.consumer(group, [topic])
    world.settle([other], lambda: len(other[1].held) == 2)
    assert first[1].names() == ["assigned"]  # it has not polled since


def test_with_the_consumer_protocol_they_wait_for_its_session(world: World):
    """librdkafka only stops its heartbeats; the session time-out is a setting of the broker, 45 s by default."""
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(2)
    late(world, group, topic)
    other = world.consumer(group, [topic])
    for _ in range(15):
        other[0].poll(1, 0.1)
    assert other[1].held == []


def test_with_the_consumer_protocol_who_does_not_give_up_in_time_is_removed(world: World):
    """The rebalance time-out is max.poll.interval.ms, of a member that is alive but does not poll."""
    world.protocol = "consumer"
    group, topic = world.name("group"), world.topic(2)
    stuck = world.member(group, topic, 2, **LATER)
    other = world.consumer(group, [topic])
    world.settle([other], lambda: len(other[1].held) == 2)
    assert stuck[1].names() == ["assigned"]


def test_who_was_late_cannot_commit_as_the_member_that_it_was(world: World, protocol: str):
    group, topic = world.name("group"), world.topic(2)
    tp = TopicPartition(topic, 0)
    consumer, listener = world.member(group, topic, 2, **LATER)
    stale = consumer.group_metadata()
    other = world.consumer(group, [topic])
    other[0].poll(1, 0.3)
    world.clock.sleep(2.5)
    world.settle([other], lambda: len(other[1].held) == 2)
    producer = world.producer()
    producer.begin()
    with pytest.raises(GenerationError) as caught:
        producer.send_offsets({tp: Committed(9)}, stale, PATIENCE_S)
    assert caught.value.code in {"UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION"}
    producer.abort(PATIENCE_S)
    assert other[0].committed([tp], PATIENCE_S) == {tp: None}
    assert listener.names() == ["assigned"]
