"""The cluster as tests and tools see it: crashes, expiry, waiting, many threads."""

from __future__ import annotations

import threading
import time

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import FatalError, FencedError, GenerationError
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory import Cluster, LogRecord, MemoryClient
from tests.conformance.world import Listener

TP = TopicPartition("t", 0)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(ManualClock(), topics={"t": 2, "out": 1})


def member(client: MemoryClient) -> tuple:
    listener = Listener()
    consumer = client.consumer("g")
    consumer.subscribe(["t"], listener)
    consumer.poll(10, 0)
    return consumer, listener


def test_append_and_read(cluster: Cluster):
    assert cluster.append("t", b"1", b"k", 1, 5, [("h", None)]) == 0
    assert cluster.append("t", None, partition=1) == 1
    now_ms = cluster.broker.clock.now_ms()
    assert cluster.read("t") == [
        LogRecord("t", 1, 0, 5, b"k", b"1", [("h", None)]),
        LogRecord("t", 1, 1, now_ms, None, None, []),
    ]
    assert cluster.read("t", partitions=[0]) == []


def test_an_expired_member_loses_its_partitions_and_joins_again(cluster: Cluster):
    consumer, listener = member(MemoryClient(cluster))
    stale = consumer.group_metadata()
    cluster.expire(stale.member_id)
    seen = []
    listener.on_lost = lambda partitions: seen.append((sorted(partitions), consumer.group_metadata().member_id))
    consumer.poll(10, 0)
    assert seen == [([TP, TopicPartition("t", 1)], "")]
    assert [call for call, _ in listener.calls] == ["assigned", "assigned"]
    assert consumer.group_metadata().member_id not in {"", stale.member_id}
    producer = MemoryClient(cluster).producer("id")
    producer.init_transactions(1)
    producer.begin()
    with pytest.raises(GenerationError, match="UNKNOWN_MEMBER_ID"):
        producer.send_offsets({TP: Committed(1)}, stale, 1)


def test_a_crash_leaves_the_transaction_open_and_the_partitions_free(cluster: Cluster):
    client = MemoryClient(cluster, client_id="w1")
    consumer, _ = member(client)
    producer = client.producer("id")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("out", b"v", b"k", 0)
    producer.flush(1)
    client.crash()
    assert cluster.open_transactions() == ["id"]
    with pytest.raises(FatalError, match="client 'w1' has crashed"):
        consumer.poll(1, 0)
    _, successor = member(MemoryClient(cluster))
    assert len(successor.held) == 2
    MemoryClient(cluster).producer("id").init_transactions(1)
    assert cluster.open_transactions() == []
    assert cluster.read("out") == []
    assert len(cluster.read("out", "read_uncommitted")) == 1


def test_a_member_that_crashed_unnoticed_holds_the_rebalance_up(cluster: Cluster):
    client = MemoryClient(cluster)
    consumer, _ = member(client)
    member_id = consumer.group_metadata().member_id
    client.crash(expire=False)
    other, listener = member(MemoryClient(cluster))
    assert listener.held == []
    cluster.expire(member_id)
    other.poll(10, 0)
    assert len(listener.held) == 2


def test_a_transaction_that_took_too_long_fences_its_producer(cluster: Cluster):
    producer = MemoryClient(cluster).producer("id")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("out", b"v", b"k", 0)
    producer.flush(1)
    cluster.expire_transaction("id")
    with pytest.raises(FencedError):
        producer.commit(1)
    assert cluster.read("out") == []


def test_expiring_what_is_not_there_is_an_error(cluster: Cluster):
    with pytest.raises(ValueError, match="no group has a member"):
        cluster.expire("nobody")
    with pytest.raises(ValueError, match="has no open transaction"):
        cluster.expire_transaction("id")


def test_new_partitions_of_a_subscribed_topic_are_shared_anew(cluster: Cluster):
    consumer = MemoryClient(cluster).consumer("g")
    listener = Listener()
    consumer.subscribe(["later"], listener)
    consumer.poll(10, 0)
    assert listener.held == []
    cluster.create_topic("later", 3)
    consumer.poll(10, 0)
    assert len(listener.held) == 3


def test_an_error_of_one_partition_hands_out_nothing_and_loses_nothing(cluster: Cluster):
    cluster.append("t", b"kept", b"k", 0)
    reader = MemoryClient(cluster).reader()
    reader.assign({TP: 0, TopicPartition("t", 1): 99})
    with pytest.raises(Exception, match="OFFSET_OUT_OF_RANGE"):
        reader.poll(10, 0)
    reader.assign({TP: 0})
    assert reader.poll(10, 0).batches[0].values() == [b"kept"]


def test_partitions_take_turns(cluster: Cluster):
    for i in range(20):
        cluster.append("t", b"%d" % i, b"k", i % 2)
    reader = MemoryClient(cluster).reader()
    reader.assign({TP: 0, TopicPartition("t", 1): 0})
    order = [batch.tp.partition for _ in range(4) for batch in reader.poll(2, 0).batches]
    assert order == [0, 1, 0, 1]


def test_with_a_manual_clock_nothing_waits(cluster: Cluster):
    reader = MemoryClient(cluster).reader()
    reader.assign({TP: 0})
    reader.poll(10, 0)
    started = time.monotonic()
    assert reader.poll(10, 60).batches == []
    assert time.monotonic() - started < 30  # not the 60 s that were allowed


def test_with_the_system_clock_a_poll_wakes_up_for_a_record():
    cluster = Cluster(topics={"t": 1})
    reader = MemoryClient(cluster).reader()
    reader.assign({TP: 0})
    reader.poll(10, 0)
    timer = threading.Timer(0.1, cluster.append, ["t", b"v"])
    timer.start()
    assert [batch.values() for batch in reader.poll(10, 30).batches] == [[b"v"]]
    timer.join()


def test_workers_in_threads_process_each_record_once():
    """Two consumers share a topic while a third producer writes; offsets and outputs commit together."""
    cluster = Cluster(topics={"t": 4, "out": 1})
    total = 400
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            run_worker(cluster, name, total)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(2)]
    for thread in threads:
        thread.start()
    for i in range(total):
        cluster.append("t", b"%d" % i, b"key-%d" % i)
    for thread in threads:
        thread.join(30)
    assert not errors
    assert sorted(int(record.value or b"") for record in cluster.read("out")) == list(range(total))


def run_worker(cluster: Cluster, name: str, total: int) -> None:
    client = MemoryClient(cluster, client_id=name)
    consumer, producer = client.consumer("g"), client.producer(name)
    producer.init_transactions(1)
    fresh: list[TopicPartition] = []
    listener = Listener(when_assigned=fresh.extend, when_revoked=lambda _: fresh.clear())
    consumer.subscribe(["t"], listener)
    deadline = time.monotonic() + 20
    while len(cluster.read("out")) < total:
        assert time.monotonic() < deadline
        polled = consumer.poll(50, 0.02)
        if fresh:
            for tp, committed in consumer.committed(fresh, 5).items():
                consumer.seek(tp, committed.offset if committed else 0)
            consumer.resume(fresh)
            fresh.clear()
        if not polled.batches:
            continue
        producer.begin()
        for batch in polled.batches:
            producer.produce_many("out", batch.values(), batch.keys(), 0, batch.timestamps())
        try:
            producer.send_offsets({b.tp: Committed(b.next_offset) for b in polled.batches}, consumer.group_metadata(), 1)
            producer.commit(1)
        except GenerationError:
            producer.abort(1)  # the other worker has joined meanwhile; the next poll revokes, and we start from committed
    consumer.close()
