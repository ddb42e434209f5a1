"""Requests that are lost, answered in vain, repeated or late: what clients do about it, and what the cluster makes of it."""

from __future__ import annotations

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import AbortableError, FatalError, FencedError, RetriableError
from streamkit.kafka.client import Committed, Producer, TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.server.errors import BrokerError
from tests.conformance.world import Listener
from tests.unit.kafka_memory.lossy import Lossy

TP = TopicPartition("t", 0)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(ManualClock(), topics={"t": 2})


@pytest.fixture
def network(cluster: Cluster) -> Lossy:
    return Lossy(cluster)


@pytest.fixture
def client(cluster: Cluster, network: Lossy) -> MemoryClient:
    return MemoryClient(cluster, network=network, transaction_timeout_ms=20_000)


def opened(client: MemoryClient, *values: bytes) -> Producer:
    producer = client.producer("id")
    producer.init_transactions(5)
    producer.begin()
    for value in values:
        producer.produce("t", value, b"k", 0)
    return producer


def values(cluster: Cluster) -> list[bytes | None]:
    return [record.value for record in cluster.read("t")]


@pytest.mark.parametrize("request_name", ["InitProducerId", "AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "EndTxn"])
@pytest.mark.parametrize("lost", ["requests", "answers"])
def test_a_transaction_bears_the_loss_of_any_of_its_requests(cluster, network, client, request_name: str, lost: str):
    getattr(network, lost)[request_name] = 2
    consumer = client.consumer("g")
    consumer.subscribe(["t"], Listener())
    consumer.poll(1, 0)
    producer = opened(client, b"a", b"b")
    producer.flush(5)
    producer.produce("t", b"c", b"k", 0)
    producer.send_offsets({TP: Committed(7)}, consumer.group_metadata(), 5)
    producer.commit(5)
    assert getattr(network, lost) == {request_name: 0}
    assert values(cluster) == [b"a", b"b", b"c"]
    assert consumer.committed([TP], 1) == {TP: Committed(7)}
    assert cluster.open_transactions() == []


def test_a_batch_whose_answer_was_lost_is_appended_once(cluster, network, client):
    network.answers["Produce"] = 3
    producer = opened(client, b"a")
    producer.flush(5)
    assert network.sent.count("Produce") == 4
    assert len(cluster.read("t", "read_uncommitted")) == 1
    producer.commit(5)
    assert values(cluster) == [b"a"]


def test_a_batch_that_was_coalesced_in_the_log_is_still_recognised(cluster, network, client):
    producer = opened(client, b"a")
    network.late.append("Produce")
    producer.flush(5)  # the first one is under way; its repetition is appended
    producer.produce("t", b"b", b"k", 0)
    producer.flush(5)
    assert network.arrive() == 0
    producer.commit(5)
    assert values(cluster) == [b"a", b"b"]


def test_without_an_answer_a_call_ends_with_its_time(cluster, network, client):
    producer = opened(client, b"a")
    network.requests["EndTxn"] = 1_000
    started = cluster.broker.clock.monotonic()
    with pytest.raises(RetriableError, match="no answer to EndTxn") as caught:
        producer.commit(3.0)
    assert (caught.value.code, caught.value.call) == ("_TIMED_OUT", "commit")
    assert cluster.broker.clock.monotonic() - started == pytest.approx(3.0)
    network.requests.clear()
    producer.commit(3.0)
    assert values(cluster) == [b"a"]


@pytest.mark.parametrize("call", ["commit", "abort"])
def test_an_end_without_an_answer_disturbs_the_producer(network, client, call: str):
    producer = opened(client, b"a")
    producer.flush(5)
    assert producer.disturbed() is None
    network.answers["EndTxn"] = 1
    getattr(producer, call)(5)
    assert "got no answer" in producer.disturbed()


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_late_offsets_of_the_last_transaction_take_the_next_ones_back(cluster, network, client, end: str):
    """The hazard of R6 for offsets, as real brokers have it (tests/chaos/test_zoo.py); the producer tells, so it is replaced."""
    consumer = client.consumer("g")
    consumer.subscribe(["t"], Listener())
    consumer.poll(1, 0)
    producer = opened(client, b"a")
    assert producer.disturbed() is None
    network.late.append("TxnOffsetCommit")
    producer.send_offsets({TP: Committed(1)}, consumer.group_metadata(), 5)
    getattr(producer, end)(5)
    assert "requests of send_offsets got no answer" in producer.disturbed()
    producer.begin()
    producer.send_offsets({TP: Committed(2)}, consumer.group_metadata(), 5)
    network.arrive()
    producer.commit(5)
    assert consumer.committed([TP], 1) == {TP: Committed(1)}


def test_a_late_end_of_the_last_transaction_ends_the_next_one(cluster, network, client):
    """KAFKA-17754, the hazard of R6: the repetition of a delayed EndTxn commits; then the first one arrives."""
    producer = opened(client, b"a")
    network.late.append("EndTxn")
    producer.commit(5)
    producer.begin()
    producer.produce("t", b"half of the next", b"k", 0)
    producer.flush(5)
    network.arrive()
    assert values(cluster) == [b"a", b"half of the next"]
    producer.produce("t", b"the other half", b"k", 0)
    with pytest.raises(FatalError, match="INVALID_TXN_STATE"):
        producer.flush(5)


def test_a_new_epoch_fences_a_late_end(cluster, network, client):
    producer = opened(client, b"a")
    network.late.append("EndTxn")
    producer.commit(5)
    opened(client, b"half of the next").flush(5)
    with pytest.raises(BrokerError, match="PRODUCER_FENCED"):
        network.arrive()
    assert values(cluster) == [b"a"]


def test_an_undelivered_batch_fails_in_the_end_and_the_abort_takes_a_new_epoch(cluster, network, client):
    producer = opened(client, b"a")
    network.requests["Produce"] = 1_000
    with pytest.raises(RetriableError):
        producer.flush(4)
    cluster.broker.clock.advance(7)
    with pytest.raises(AbortableError, match="not acknowledged within 10 s") as caught:
        producer.flush(4)
    assert caught.value.code == "_MSG_TIMED_OUT"
    network.requests.clear()
    producer.abort(5)
    assert network.sent[-2:] == ["EndTxn", "InitProducerId"]
    producer.begin()
    producer.produce("t", b"b", b"k", 0)
    producer.commit(5)
    assert values(cluster) == [b"b"]


def test_a_late_batch_of_an_aborted_transaction_is_fenced(cluster, network, client):
    producer = opened(client, b"late")
    network.late.append("Produce")
    network.requests["Produce"] = 1_000
    with pytest.raises(RetriableError):
        producer.flush(1)
    network.requests.clear()
    producer.abort(5)
    producer.begin()
    producer.produce("t", b"b", b"k", 0)
    producer.flush(5)
    with pytest.raises(BrokerError, match="INVALID_PRODUCER_EPOCH"):
        network.arrive()
    producer.commit(5)
    assert values(cluster) == [b"b"]


def test_a_poll_bears_losses_and_returns_in_time(cluster, network, client):
    cluster.append("t", b"a", partition=0)
    reader = client.reader()
    reader.assign({TP: 0})
    network.requests["Fetch"] = 3
    started = cluster.broker.clock.monotonic()
    assert [batch.values() for batch in reader.poll(10, 5.0).batches] == [[b"a"]]
    assert cluster.broker.clock.monotonic() - started == pytest.approx(0.3)
    network.requests["Fetch"] = 1_000
    assert reader.poll(10, 1.0).batches == []
    assert cluster.broker.clock.monotonic() - started == pytest.approx(1.3)


def test_a_join_whose_answer_was_lost_leaves_no_ghost(cluster, network, client):
    """A new member is first given an id: one that was never used holds no rebalance up."""
    network.answers["JoinGroup"] = 1
    listener = Listener()
    consumer = client.consumer("g")
    consumer.subscribe(["t"], listener)
    for _ in range(3):
        consumer.poll(1, 0)
    assert len(listener.held) == 2
    assert len(cluster.members("g")) == 1


def test_markers_come_when_the_broker_gets_to_them(cluster, client):
    """Between decision and markers (PREPARE_COMMIT) nothing is visible and the next transaction has to wait; then each partition
    and the offsets become visible on their own (KAFKA-10167)."""
    consumer = client.consumer("g")
    consumer.subscribe(["t"], Listener())
    consumer.poll(1, 0)
    deferred: dict[str, object] = {}
    cluster.broker.defer = deferred.__setitem__
    producer = opened(client, b"a")
    producer.send_offsets({TP: Committed(1)}, consumer.group_metadata(), 5)
    producer.commit(5)
    assert (values(cluster), sorted(deferred)) == ([], ["marker g", "marker t-0"])
    producer.begin()
    producer.produce("t", b"b", b"k", 1)
    with pytest.raises(RetriableError, match="CONCURRENT_TRANSACTIONS"):
        producer.flush(1)
    with pytest.raises(RetriableError):
        consumer.committed([TP], 1)
    deferred.pop("marker g")()
    assert consumer.committed([TP], 1) == {TP: Committed(1)}
    assert values(cluster) == []
    deferred.pop("marker t-0")()
    assert values(cluster) == [b"a"]
    producer.flush(1)


def test_a_successor_waits_for_the_markers_of_its_predecessor(cluster, client):
    opened(client, b"a").flush(5)
    deferred: list = []
    cluster.broker.defer = lambda _, action: deferred.append(action)
    successor = client.producer("id")
    with pytest.raises(RetriableError, match="CONCURRENT_TRANSACTIONS"):
        successor.init_transactions(1)
    deferred.pop()()
    successor.init_transactions(1)
    assert cluster.open_transactions() == []


def test_the_end_of_a_transaction_is_told(cluster, client):
    told: list = []
    cluster.observe(told.append)
    consumer = client.consumer("g")
    consumer.subscribe(["t"], Listener())
    consumer.poll(1, 0)
    producer = opened(client)
    producer.send_offsets({TP: Committed(3)}, consumer.group_metadata(), 5)
    producer.commit(5)
    assert [(ended.transactional_id, ended.commit, ended.group_id, ended.offsets) for ended in told] == [
        ("id", True, "g", {TP: Committed(3)})
    ]


# -- outages ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", ["move_coordinators", "move_leaders", "restart_brokers"])
def test_an_outage_is_waited_for_and_loses_nothing(cluster, client, outage: str):
    consumer = client.consumer("g")
    listener = Listener()
    consumer.subscribe(["t"], listener)
    consumer.poll(1, 0)
    producer = opened(client, b"a")
    producer.flush(1)
    getattr(cluster, outage)(2.0)
    started = cluster.broker.clock.monotonic()
    producer.produce("t", b"b", b"k", 1)
    producer.send_offsets({TP: Committed(1)}, consumer.group_metadata(), 10)
    producer.commit(10)
    assert 1.0 < cluster.broker.clock.monotonic() - started < 5.0
    assert values(cluster) == [b"a", b"b"]
    assert consumer.committed([TP], 5) == {TP: Committed(1)}
    consumer.poll(1, 0)
    assert [call for call, _ in listener.calls] == ["assigned"]


def test_an_outage_longer_than_the_call_is_a_time_out(cluster, client):
    producer = opened(client, b"a")
    cluster.move_leaders(10.0)
    with pytest.raises(RetriableError, match="NOT_LEADER_FOR_PARTITION") as caught:
        producer.flush(2.0)
    assert caught.value.code == "_TIMED_OUT"


def test_a_poll_during_an_outage_gives_nothing(cluster, client):
    cluster.append("t", b"a", partition=0)
    consumer, reader = client.consumer("g"), client.reader()
    consumer.subscribe(["t"], Listener())
    reader.assign({TP: 0})
    cluster.restart_brokers(4.0)
    for source in (consumer, reader):
        polled = source.poll(10, 0.5)
        assert (polled.batches, polled.ends) == ([], {})
    assert [batch.values() for batch in reader.poll(10, 10.0).batches] == [[b"a"]]


# -- what takes too long ---------------------------------------------------------------------------------------------------


def test_a_transaction_that_took_too_long_is_aborted_when_it_is_due(cluster, client):
    producer = opened(client, b"a")
    producer.flush(1)
    assert cluster.next_due() == pytest.approx(20.0)
    cluster.broker.clock.advance(19)
    cluster.run_due()
    assert cluster.open_transactions() == ["id"]
    cluster.broker.clock.advance(1)
    cluster.run_due()
    assert cluster.open_transactions() == []
    with pytest.raises(FencedError):
        producer.commit(1)
    assert cluster.next_due() is None
