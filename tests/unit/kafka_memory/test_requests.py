"""What a broker answers to requests that our clients take care not to send, or to repeat."""

from __future__ import annotations

from array import array

import pytest

from streamkit.clock import ManualClock
from streamkit.kafka.client import Committed, NewTopic, TopicPartition
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.classic_group import GroupState, JoinRequest
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Isolation, ProducerId
from streamkit.kafka.memory.server.requests.add_offsets_to_txn import add_offsets_to_txn
from streamkit.kafka.memory.server.requests.add_partitions_to_txn import add_partitions_to_txn
from streamkit.kafka.memory.server.requests.create_topics import create_topic
from streamkit.kafka.memory.server.requests.delete_topics import delete_topic
from streamkit.kafka.memory.server.requests.end_txn import end_txn
from streamkit.kafka.memory.server.requests.heartbeat import heartbeat
from streamkit.kafka.memory.server.requests.init_producer_id import init_producer_id
from streamkit.kafka.memory.server.requests.join_group import join_group
from streamkit.kafka.memory.server.requests.leave_group import leave_group
from streamkit.kafka.memory.server.requests.offset_fetch import fetch_offsets
from streamkit.kafka.memory.server.requests.produce import produce
from streamkit.kafka.memory.server.requests.sync_group import sync_group
from streamkit.kafka.memory.server.requests.txn_offset_commit import GroupMember, txn_offset_commit

TP = TopicPartition("t", 0)
NOBODY = GroupMember("g", "", -1)


@pytest.fixture
def broker() -> Broker:
    made = Broker(ManualClock(), "test")
    with made.changed:
        create_topic(made, NewTopic("t", 2))
        yield made


def records() -> Columns:
    return Columns([b"v"], [b"k"], array("q", [1]))


def join(broker: Broker, member_id: str, client_id: str, instance_id: str | None = None) -> str:
    """A member as clients become one: a new dynamic one is first given an id, and joins with it."""
    joined = join_group(broker, JoinRequest("g", member_id, ("t",), client_id, instance_id))
    return joined.member_id if joined.accepted else join(broker, joined.member_id, client_id)


def open_transaction(broker: Broker, transactional_id: str = "id") -> ProducerId:
    producer = init_producer_id(broker, transactional_id, 60_000)
    add_partitions_to_txn(broker, transactional_id, producer, [TP])
    produce(broker, TP, records(), transactional_id, producer)
    return producer


def visible(broker: Broker) -> int:
    return len(broker.log(TP).fetch(0, 100, Isolation.READ_COMMITTED).columns)


def test_offsets_without_an_identity_are_taken_unfenced(broker: Broker):
    """Why the engine may never send them (R10)."""
    join(broker, "", "somebody")
    producer = open_transaction(broker)
    add_offsets_to_txn(broker, "id", producer, "g")
    txn_offset_commit(broker, "id", producer, NOBODY, {TP: Committed(7)})
    end_txn(broker, "id", producer, commit=True)
    assert fetch_offsets(broker, "g", [TP]) == {TP: Committed(7)}


def test_a_transaction_without_offsets_commits_whatever_the_group_says(broker: Broker):
    """Why every transaction sends an offset (R1): only TxnOffsetCommit asks who is a member."""
    join(broker, "", "the new owner")
    end_txn(broker, "id", open_transaction(broker), commit=True)
    assert visible(broker) == 1


def test_a_generation_of_a_group_that_never_was_is_refused(broker: Broker):
    producer = open_transaction(broker)
    add_offsets_to_txn(broker, "id", producer, "never")
    with pytest.raises(BrokerError, match="ILLEGAL_GENERATION"):
        txn_offset_commit(broker, "id", producer, GroupMember("never", "m", 3), {TP: Committed(1)})


def test_repeating_the_end_of_a_transaction_is_answered_with_success(broker: Broker):
    producer = open_transaction(broker)
    for _ in range(2):
        end_txn(broker, "id", producer, commit=True)
    assert (visible(broker), broker.log(TP).high_watermark) == (1, 2)  # one marker
    with pytest.raises(BrokerError, match="INVALID_TXN_STATE"):
        end_txn(broker, "id", producer, commit=False)


def test_a_late_end_of_the_last_transaction_ends_the_next_one_of_the_same_epoch(broker: Broker):
    """KAFKA-17754, which brokers without transactions v2 have: the hazard behind R6. A new epoch closes it."""
    producer = open_transaction(broker)
    end_txn(broker, "id", producer, commit=True)
    add_partitions_to_txn(broker, "id", producer, [TP])
    produce(broker, TP, records(), "id", producer)
    end_txn(broker, "id", producer, commit=True)  # the stray one
    assert visible(broker) == 2
    open_transaction(broker)  # bumps the epoch
    with pytest.raises(BrokerError, match="PRODUCER_FENCED"):
        end_txn(broker, "id", producer, commit=True)
    assert visible(broker) == 2


def test_records_outside_a_transaction_of_their_producer_are_refused(broker: Broker):
    producer = init_producer_id(broker, "id", 60_000)
    with pytest.raises(BrokerError, match="INVALID_TXN_STATE"):
        produce(broker, TP, records(), "id", producer)
    add_partitions_to_txn(broker, "id", producer, [TopicPartition("t", 1)])
    with pytest.raises(BrokerError, match="INVALID_TXN_STATE"):
        produce(broker, TP, records(), "id", producer)


def test_a_replaced_producer_is_refused_everywhere(broker: Broker):
    old = open_transaction(broker)
    init_producer_id(broker, "id", 60_000)
    requests = {
        "INVALID_PRODUCER_EPOCH": lambda: produce(broker, TP, records(), "id", old),
        "PRODUCER_FENCED": lambda: end_txn(broker, "id", old, commit=True),
    }
    for code, request in requests.items():
        with pytest.raises(BrokerError, match=code):
            request()
    for request in (
        lambda: add_partitions_to_txn(broker, "id", old, [TP]),
        lambda: add_offsets_to_txn(broker, "id", old, "g"),
        lambda: txn_offset_commit(broker, "id", old, NOBODY, {TP: Committed(1)}),
    ):
        with pytest.raises(BrokerError, match="PRODUCER_FENCED"):
            request()
    assert visible(broker) == 0


def test_an_unknown_transactional_id_is_refused(broker: Broker):
    with pytest.raises(BrokerError, match="INVALID_PRODUCER_ID_MAPPING"):
        end_txn(broker, "never", ProducerId(1, 0), commit=True)


def test_a_rebalance_waits_for_every_member(broker: Broker):
    first = join(broker, "", "a")
    second = join(broker, "", "b")
    assert sync_group(broker, "g", second) is None
    with pytest.raises(BrokerError, match="REBALANCE_IN_PROGRESS"):
        heartbeat(broker, "g", first, 1)
    join(broker, first, "a")
    shares = [sync_group(broker, "g", member).assignment for member in (first, second)]
    assert shares == [[TP], [TopicPartition("t", 1)]]
    assert broker.groups["g"].generation == 2


def test_a_rebalance_goes_on_when_the_member_it_waits_for_leaves(broker: Broker):
    first = join(broker, "", "a")
    second = join(broker, "", "b")
    leave_group(broker, "g", first)
    assert len(sync_group(broker, "g", second).assignment) == 2


def test_members_of_other_generations_and_strangers_are_refused(broker: Broker):
    member = join(broker, "", "a")
    with pytest.raises(BrokerError, match="ILLEGAL_GENERATION"):
        heartbeat(broker, "g", member, 0)
    for request in (
        lambda: heartbeat(broker, "g", "stranger", 1),
        lambda: join(broker, "stranger", "a"),
        lambda: sync_group(broker, "nobody's", "stranger"),
    ):
        with pytest.raises(BrokerError, match="UNKNOWN_MEMBER_ID"):
            request()


def test_the_last_member_to_leave_ends_the_generation(broker: Broker):
    member = join(broker, "", "a")
    leave_group(broker, "g", member)
    group = broker.groups["g"]
    assert (group.membership.state, group.generation) == (GroupState.EMPTY, 2)


def test_a_deleted_topic_takes_its_offsets_along_and_rebalances(broker: Broker):
    member = join(broker, "", "a")
    producer = open_transaction(broker)
    add_offsets_to_txn(broker, "id", producer, "g")
    txn_offset_commit(broker, "id", producer, GroupMember("g", member, 1), {TP: Committed(7)})
    end_txn(broker, "id", producer, commit=True)
    delete_topic(broker, "t")
    assert fetch_offsets(broker, "g", None) == {}
    with pytest.raises(BrokerError, match="REBALANCE_IN_PROGRESS"):
        heartbeat(broker, "g", member, 1)
