"""The coordinator's side of KIP-848: steps of a reconciliation, answers that were lost, identities that do not fit."""

from __future__ import annotations

import pytest

from streamkit.clock import ManualClock
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.client.group_settings import GroupSettings
from streamkit.kafka.memory.server.consumer_group import (
    LEAVE,
    LEAVE_FOR_A_WHILE,
    ConsumerGroup,
    ConsumerHeartbeat,
    HeartbeatAnswer,
    MemberState,
)
from streamkit.kafka.memory.server.errors import BrokerError
from tests.conformance.world import Listener
from tests.unit.kafka_memory.lossy import Lossy

T = [TopicPartition("t", p) for p in range(4)]


@pytest.fixture
def group() -> ConsumerGroup:
    return ConsumerGroup("g", lambda _: 4)


def beat(
    group: ConsumerGroup,
    member_id: str,
    epoch: int,
    owned: list[TopicPartition] | None = None,
    instance_id: str | None = None,
    now: float = 0.0,
) -> HeartbeatAnswer:
    topics = ("t",) if epoch == 0 else None
    has = () if epoch == 0 else (None if owned is None else tuple(owned))
    return group.heartbeat(ConsumerHeartbeat("g", member_id, epoch, topics, has, instance_id, 30_000), now)


def test_the_first_member_gets_everything_at_once(group: ConsumerGroup):
    answer = beat(group, "a", 0)
    assert (answer.member_epoch, answer.assignment) == (2, tuple(T))
    assert beat(group, "a", 2).assignment is None  # nothing has changed


def test_partitions_are_given_only_when_they_were_given_up(group: ConsumerGroup):
    beat(group, "a", 0)
    joined = beat(group, "b", 0)
    assert (joined.member_epoch, joined.assignment) == (3, ())
    told = beat(group, "a", 2)
    assert (told.member_epoch, told.assignment) == (2, tuple(T[:2]))  # the epoch comes when it has given up
    assert group.members["a"].state is MemberState.UNREVOKED
    assert beat(group, "b", 3).assignment is None
    assert beat(group, "a", 2, T).assignment == tuple(T[:2])  # it has not yet
    assert beat(group, "a", 2, T[:2]).member_epoch == 3
    assert beat(group, "b", 3).assignment == tuple(T[2:])


def test_a_heartbeat_without_what_it_has_gives_nothing_up(group: ConsumerGroup):
    beat(group, "a", 0)
    beat(group, "b", 0)
    for _ in range(3):
        beat(group, "a", 2)
    assert group.members["a"].state is MemberState.UNREVOKED
    assert beat(group, "b", 3).assignment is None


def test_who_does_not_give_up_within_its_rebalance_time_out_is_removed(group: ConsumerGroup):
    beat(group, "a", 0)
    beat(group, "b", 0)
    beat(group, "a", 2, now=1.0)
    for now in (10.0, 30.0):
        beat(group, "a", 2, now=now)
        assert not group.run_due(now)
    assert group.run_due(31.0)
    assert list(group.members) == ["b"]
    assert beat(group, "b", 3, now=31.0).assignment == tuple(T)


def test_a_member_of_another_epoch_is_fenced(group: ConsumerGroup):
    beat(group, "a", 0)
    for epoch in (1, 3):
        with pytest.raises(BrokerError, match="FENCED_MEMBER_EPOCH"):
            beat(group, "a", epoch)
    with pytest.raises(BrokerError, match="UNKNOWN_MEMBER_ID"):
        beat(group, "b", 2)


def test_the_epoch_before_may_ask_once_more_with_all_it_has(group: ConsumerGroup):
    """The answer with the new epoch was lost."""
    beat(group, "a", 0)
    beat(group, "b", 0)
    beat(group, "a", 2)
    assert beat(group, "a", 2, T[:2]).member_epoch == 3
    assert beat(group, "a", 2, T[:2]).member_epoch == 3
    with pytest.raises(BrokerError, match="FENCED_MEMBER_EPOCH"):
        beat(group, "a", 2)
    with pytest.raises(BrokerError, match="FENCED_MEMBER_EPOCH"):
        beat(group, "a", 2, T)  # it still has what is another's by now


def test_joining_twice_is_joining_once(group: ConsumerGroup):
    assert beat(group, "a", 0) == beat(group, "a", 0)
    assert group.epoch == 2


def test_a_static_member_leaves_its_place_to_its_successor_only(group: ConsumerGroup):
    beat(group, "a", 0, instance_id="one")
    beat(group, "a", LEAVE_FOR_A_WHILE, instance_id="one")
    assert beat(group, "b", 0).assignment == ()
    successor = beat(group, "c", 0, instance_id="one")
    assert set(successor.assignment or ()) <= set(T)
    with pytest.raises(BrokerError, match="FENCED_INSTANCE_ID"):
        beat(group, "a", 2, instance_id="one")


def test_a_place_that_is_not_free_is_refused(group: ConsumerGroup):
    beat(group, "a", 0, instance_id="one")
    with pytest.raises(BrokerError, match="UNRELEASED_INSTANCE_ID"):
        beat(group, "b", 0, instance_id="one")


def test_who_leaves_frees_everything(group: ConsumerGroup):
    beat(group, "a", 0)
    beat(group, "b", 0)
    beat(group, "a", LEAVE)
    assert beat(group, "b", 3).assignment == tuple(T)


@pytest.mark.parametrize("lost", ["requests", "answers"])
def test_lost_heartbeats_cost_a_member_nothing(lost: str):
    """Whatever is lost on the way to a new assignment, both members come to it, and nobody is fenced."""
    clock = ManualClock()
    cluster = Cluster(clock, topics={"t": 4})
    network = Lossy(cluster)
    members = []
    for name in ("a", "b"):
        client = MemoryClient(cluster, client_id=name, network=network, group=GroupSettings("consumer"))
        consumer, listener = client.consumer("g"), Listener()
        consumer.subscribe(["t"], listener)
        members.append((consumer, listener))
    for turn in range(40):
        if turn < 30 and turn % 2 == 0:
            getattr(network, lost)["ConsumerGroupHeartbeat"] = 1
        for consumer, _ in members[: 1 if turn < 5 else 2]:
            consumer.poll(1, 0)
    assert [len(listener.held) for _, listener in members] == [2, 2]
    assert all("lost" not in listener.names() for _, listener in members)
