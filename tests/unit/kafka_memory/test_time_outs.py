"""What ends by time: sessions, rebalances, transactions; and the background of a process, which keeps its sessions alive."""

from __future__ import annotations

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import FencedError, GenerationError
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.client.group_settings import GroupSettings
from tests.conformance.world import Listener
from tests.unit.kafka_memory.lossy import Lossy


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster(clock: ManualClock) -> Cluster:
    made = Cluster(clock, topics={"t": 2})
    made.broker.consumer_session_timeout_ms = 10_000
    made.broker.consumer_heartbeat_interval_ms = 1_000
    return made


@pytest.fixture(params=["classic", "consumer"])
def protocol(request) -> str:
    return request.param


def member(cluster: Cluster, protocol: str, name: str = "w", **options):
    settings = GroupSettings(protocol, session_timeout_ms=10_000, heartbeat_interval_ms=1_000, **options)
    client = MemoryClient(cluster, client_id=name, group=settings)
    listener = Listener()
    consumer = client.consumer("g")
    consumer.subscribe(["t"], listener)
    consumer.poll(1, 0)
    return client, consumer, listener


def run(cluster: Cluster, seconds: float, *clients: MemoryClient) -> None:
    """As a simulation does: goes from one due moment to the next, with the background of processes that run."""
    clock = cluster.broker.clock
    end = clock.monotonic() + seconds
    while True:
        dues = [client.background() for client in clients]
        cluster.run_due()
        due = min((due for due in (*dues, cluster.next_due()) if due is not None), default=end)
        if due >= end:
            break
        clock.advance(max(due - clock.monotonic(), 0.001))
    clock.advance(end - clock.monotonic())
    cluster.run_due()


def test_a_process_that_runs_keeps_its_session_without_polls(cluster: Cluster, protocol: str):
    client, consumer, listener = member(cluster, protocol)
    run(cluster, 60, client)
    consumer.poll(1, 0)
    assert listener.names() == ["assigned"]
    assert len(cluster.members("g")) == 1


def test_a_process_that_was_stopped_loses_its_session_and_is_told_when_it_wakes_up(cluster: Cluster, protocol: str):
    client, consumer, listener = member(cluster, protocol)
    run(cluster, 9)
    assert len(cluster.members("g")) == 1
    run(cluster, 2)
    assert cluster.members("g") == {}
    client.background()
    consumer.poll(1, 0)
    assert listener.names()[:2] == ["assigned", "lost"]
    for _ in range(2):
        consumer.poll(1, 0)
    assert len(listener.held) == 2


def test_the_partitions_of_a_dead_process_go_to_the_living(cluster: Cluster, protocol: str):
    dead, _, _ = member(cluster, protocol, "dead")
    dead.crash(expire=False)
    client, consumer, listener = member(cluster, protocol, "living")
    for _ in range(12):
        run(cluster, 1, client)
        consumer.poll(1, 0)
    assert len(listener.held) == 2


def test_who_does_not_poll_is_given_up_though_its_process_runs(cluster: Cluster, protocol: str):
    client, consumer, listener = member(cluster, protocol, max_poll_interval_ms=20_000)
    run(cluster, 19, client)
    assert len(cluster.members("g")) == 1
    run(cluster, 13, client)  # with the consumer protocol its session has to expire
    assert cluster.members("g") == {}
    with pytest.raises(GenerationError, match="_MAX_POLL_EXCEEDED"):
        consumer.poll(1, 0)
    assert listener.names() == ["assigned", "lost"]
    for _ in range(2):
        consumer.poll(1, 0)
    assert len(listener.held) == 2


def test_a_rebalance_goes_on_without_who_does_not_join(cluster: Cluster, protocol: str):
    """It is alive, but does not poll: the rebalance time-out is its max.poll.interval.ms."""
    slow, _, _ = member(cluster, protocol, "slow", max_poll_interval_ms=30_000)
    quick, consumer, listener = member(cluster, protocol, "quick", max_poll_interval_ms=300_000)
    run(cluster, 5, slow, quick)
    consumer.poll(1, 0)
    assert listener.held == []
    run(cluster, 40, slow, quick)
    for _ in range(3):
        consumer.poll(1, 0)
    assert len(listener.held) == 2


def test_an_id_that_was_never_used_is_forgotten(cluster: Cluster):
    network = Lossy(cluster, answers={"JoinGroup": 1})
    client = MemoryClient(cluster, network=network)
    consumer = client.consumer("g")
    consumer.subscribe(["t"], Listener())
    consumer.poll(1, 0)
    assert cluster.next_due() == pytest.approx(45)
    cluster.broker.clock.advance(45)
    cluster.run_due()
    assert cluster.next_due() is None


def test_a_static_member_keeps_its_place_until_its_session_expires(cluster: Cluster, protocol: str):
    _, leaver, _ = member(cluster, protocol, "one", instance_id="one")
    leaver.close()
    run(cluster, 9)
    assert len(cluster.members("g")) == 1
    run(cluster, 2)
    assert cluster.members("g") == {}


def test_heartbeats_that_are_lost_cost_the_session(cluster: Cluster, protocol: str):
    client, _, _ = member(cluster, protocol)
    lossy = Lossy(cluster, requests={"Heartbeat": 1_000, "ConsumerGroupHeartbeat": 1_000})
    client._link._network = lossy
    run(cluster, 11, client)
    assert cluster.members("g") == {}
    assert len(lossy.sent) > 5


def test_nobody_expires_while_the_coordinator_moves(cluster: Cluster, protocol: str):
    _, _, _ = member(cluster, protocol)
    cluster.move_coordinators(30.0)
    run(cluster, 35)
    assert len(cluster.members("g")) == 1
    run(cluster, 6)
    assert cluster.members("g") == {}


def test_a_transaction_is_not_timed_out_while_its_coordinator_loads(cluster: Cluster, clock: ManualClock):
    producer = MemoryClient(cluster, transaction_timeout_ms=5_000).producer("id")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("t", b"v", b"k", 0)
    producer.flush(1)
    cluster.move_coordinators(10.0)
    clock.advance(9)
    cluster.run_due()
    assert cluster.open_transactions() == ["id"]
    clock.advance(1)
    cluster.run_due()
    assert cluster.open_transactions() == []


def test_without_time_outs_nothing_ends_by_itself(clock: ManualClock):
    cluster = Cluster(clock, topics={"t": 1})
    _, consumer, listener = member(cluster, "classic")
    clock.advance(1_000_000)
    consumer.poll(1, 0)
    assert listener.names() == ["assigned"]


def test_with_time_outs_they_end_at_the_next_request(clock: ManualClock):
    cluster = Cluster(clock, topics={"t": 2}, time_outs=True)
    client, _, _ = member(cluster, "classic")
    producer = client.producer("id")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("t", b"v", b"k", 0)
    producer.flush(1)
    clock.advance(61)
    with pytest.raises(FencedError):
        producer.commit(1)
    assert len(cluster.members("g")) == 1  # its process lives
    client.crash(expire=False)
    clock.advance(11)
    member(cluster, "classic", "successor")
    assert len(cluster.members("g")) == 1
