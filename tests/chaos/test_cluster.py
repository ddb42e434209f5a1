"""The three brokers behind the proxy: clients go through it, watchers past it; a node may be killed or stopped and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.support.cluster3 import ProxiedKafka, java_hash
from tests.support.proxy_frames import Api

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def kafka() -> Iterator[ProxiedKafka]:
    with ProxiedKafka() as kafka:
        kafka.create_topics(["numbers"], partitions=3)
        yield kafka


def send(bootstrap: str, name: str, count: int = 3) -> None:
    """One record to each partition, acknowledged by all replicas."""
    producer = Producer({"bootstrap.servers": bootstrap, "client.id": name, "acks": "all", "log_level": 0})
    errors: list[object] = []
    for number in range(count):
        producer.produce("numbers", b"x", partition=number % 3, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert errors == [None] * count


def test_clients_go_through_the_proxy_and_watchers_past_it(kafka: ProxiedKafka) -> None:
    send(kafka.bootstrap, "through")
    produced = {broker for (broker, client, api) in kafka.proxy.seen if client == "through" and api == Api.PRODUCE}
    assert produced == set(kafka.leaders("numbers").values())
    send(kafka.direct, "past")
    assert not [client for (_, client, _) in kafka.proxy.seen if client == "past"]


def test_a_killed_leader_is_replaced_and_comes_back(kafka: ProxiedKafka) -> None:
    leader = kafka.leaders("numbers")[0]
    kafka.kill(leader)
    send(kafka.bootstrap, "killed")
    assert kafka.leaders("numbers")[0] != leader
    assert not kafka.healthy(["numbers"])
    kafka.launch(leader)
    kafka.wait_healthy(["numbers"])


def test_a_stopped_leader_is_replaced_and_comes_back(kafka: ProxiedKafka) -> None:
    leader = kafka.leaders("numbers")[0]
    kafka.pause(leader)
    try:
        deadline = time.monotonic() + 20
        while kafka.leaders("numbers")[0] == leader:
            assert time.monotonic() < deadline
    finally:
        kafka.resume(leader)
    kafka.wait_healthy(["numbers"])


def test_the_coordinator_of_a_group_is_found_by_its_name(kafka: ProxiedKafka) -> None:
    for group in ("one", "two", "three", "four"):
        consumer = Consumer({"bootstrap.servers": kafka.direct, "group.id": group})
        deadline = time.monotonic() + 30
        while True:  # the first group waits for the offsets topic
            try:
                consumer.commit(offsets=[TopicPartition("numbers", 0, 0)], asynchronous=False)
                break
            except KafkaException:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        consumer.close()
        admin = kafka.admin()
        described = admin.describe_consumer_groups([group])[group].result()
        assert described.coordinator.id == kafka.group_coordinator(group)


def test_the_hash_is_javas():
    assert java_hash("polygenelubricants") == 0  # whose hash is the smallest int, which has no absolute value
    assert java_hash("orders") == 1008770331
