"""Planted faults: before a call, or after it took effect."""

from __future__ import annotations

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import RetriableError
from streamkit.kafka.client import Producer
from streamkit.kafka.memory import Cluster, MemoryClient


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(ManualClock(), topics={"t": 1})


def with_record(client: MemoryClient) -> Producer:
    producer = client.producer("id")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("t", b"v", b"k", 0)
    return producer


def test_before_a_call_nothing_has_happened(cluster: Cluster):
    cluster.inject("commit", error=Crash())
    with pytest.raises(Crash):
        with_record(MemoryClient(cluster)).commit(1)
    assert cluster.read("t") == []


def test_after_a_call_it_has_taken_effect(cluster: Cluster):
    cluster.inject("commit", when="after", error=Crash())
    producer = with_record(MemoryClient(cluster))
    with pytest.raises(Crash):
        producer.commit(1)
    assert [record.value for record in cluster.read("t")] == [b"v"]


@pytest.mark.parametrize("call", ["commit", "abort"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_whose_answer_was_lost_can_be_repeated(cluster: Cluster, call: str, when):
    producer = with_record(MemoryClient(cluster))
    cluster.inject(call, when=when, error=RetriableError("no answer", code="_TIMED_OUT"))
    with pytest.raises(RetriableError):
        getattr(producer, call)(1)
    getattr(producer, call)(1)
    assert len(cluster.read("t")) == (1 if call == "commit" else 0)
    assert cluster.open_transactions() == []


def test_a_fault_strikes_once_and_only_its_client(cluster: Cluster):
    cluster.inject("begin", error=Crash(), client_id="other")
    mine, other = (MemoryClient(cluster, client_id=name).producer(name) for name in ("mine", "other"))
    for producer in (mine, other):
        producer.init_transactions(1)
    mine.begin()
    with pytest.raises(Crash):
        other.begin()
    other.begin()


def test_a_fault_may_let_calls_pass_first(cluster: Cluster):
    producer = with_record(MemoryClient(cluster))
    cluster.inject("produce", error=Crash(), skip=2)
    for _ in range(2):
        producer.produce("t", b"v", b"k", 0)
    with pytest.raises(Crash):
        producer.produce("t", b"v", b"k", 0)


def test_a_call_that_no_client_has_is_refused(cluster: Cluster):
    with pytest.raises(ValueError, match=r"no client call is named 'comit'; there are: abort, assign"):
        cluster.inject("comit", error=Crash())


def test_every_call_that_can_be_named_can_be_struck(cluster: Cluster):
    """A call in the list that no client method answers to would be a fault that never strikes."""
    from streamkit.kafka.memory.client.admin import MemoryAdmin
    from streamkit.kafka.memory.client.consumer import MemoryConsumer
    from streamkit.kafka.memory.client.producer import MemoryProducer
    from streamkit.kafka.memory.client.reader import MemoryReader
    from streamkit.kafka.memory.faults import CALLS

    clients = (MemoryAdmin, MemoryConsumer, MemoryProducer, MemoryReader)
    wrapped = {name for client in clients for name, method in vars(client).items() if hasattr(method, "__wrapped__")}
    assert {name for name in wrapped if not name.startswith("_")} == CALLS


def test_a_disturbed_connection_is_reported_for_one_commit(cluster: Cluster):
    producer = with_record(MemoryClient(cluster, client_id="w"))
    cluster.faults.disturb("REQTMOUT", client_id="another")
    cluster.faults.disturb("Disconnected", client_id="w")
    assert producer.disturbed() is None
    producer.commit(1)
    assert producer.disturbed() == "Disconnected"
