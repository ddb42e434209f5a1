"""The librdkafka admin client against a real Kafka."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from streamkit.errors import FatalError, RetriableError
from streamkit.kafka.client import Committed, NewTopic, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent.admin import ClusterAdmin

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def client(real_broker: str) -> ConfluentClient:
    return ConfluentClient(ConnectionSettings(real_broker))


@pytest.fixture
def admin(client: ConfluentClient) -> Iterator[ClusterAdmin]:
    admin = client.admin()
    yield admin
    admin.close()


def name() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def test_the_cluster_has_an_id(admin):
    assert admin.cluster_id(10) == admin.cluster_id(10) != ""


def test_a_topic_is_usable_when_create_returns_and_gone_when_delete_does(admin, client):
    topic = name()
    new = NewTopic(topic, 3, 1, {"cleanup.policy": "compact", "segment.bytes": "1048576"})
    admin.create_topics([new], 20)
    admin.create_topics([new], 20)  # exists: not an error
    missing = name()
    found = admin.describe_topics([topic, missing], 10)
    info = found[topic]
    assert found[missing] is None
    assert info is not None
    assert (info.name, info.partitions) == (topic, 3)
    assert info.config["cleanup.policy"] == "compact"
    assert info.config["segment.bytes"] == "1048576"
    assert "retention.ms" in info.config  # effective values, not only those that were set
    assert len(info.topic_id) == 22
    assert topic in admin.topic_names(10)
    admin.delete_topics([topic], 20)
    admin.delete_topics([topic], 20)  # gone: not an error
    assert topic not in admin.topic_names(10)
    admin.create_topics([NewTopic(topic, 1)], 20)
    again = admin.describe_topics([topic], 10)[topic]
    assert again is not None
    assert again.topic_id != info.topic_id


def test_offsets_and_deleting_records(admin, client):
    topic = name()
    admin.create_topics([NewTopic(topic, 2, 1)], 20)
    tp, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    producer = client.producer(f"p-{topic}")
    producer.init_transactions(20)
    producer.begin()
    producer.produce_many(topic, [b"x"] * 10, [None] * 10, 0, int(time.time() * 1000))
    producer.flush(10)
    assert admin.end_offsets([tp, empty], 10) == {tp: 10, empty: 0}  # open transactions count
    producer.commit(10)
    limit = time.monotonic() + 10
    while admin.end_offsets([tp], 10) != {tp: 11}:  # commit returns before the marker is written
        assert time.monotonic() < limit
    admin.delete_records({tp: 4}, 10)
    assert admin.start_offsets([tp, empty], 10) == {tp: 4, empty: 0}
    producer.close()


def test_a_group_that_does_not_exist_has_no_offsets_and_can_be_deleted(admin):
    assert admin.group_offsets("no-such-group", 10) == {}
    admin.delete_group("no-such-group", 10)


def test_group_offsets_until_the_group_is_deleted(admin, client):
    topic = name()
    admin.create_topics([NewTopic(topic, 1, 1)], 20)
    consumer = client.consumer(f"g-{topic}")
    joined: list[object] = []

    class Listener:
        def on_assigned(self, partitions) -> None:
            joined.append(partitions)

        def on_revoked(self, partitions) -> None:
            pass

        on_lost = on_revoked

    consumer.subscribe([topic], Listener())
    limit = time.monotonic() + 20
    while not joined:
        assert time.monotonic() < limit
        consumer.poll(1, 0.1)
    producer = client.producer(f"p-{topic}")
    producer.init_transactions(20)
    producer.begin()
    offsets = {TopicPartition(topic, 0): Committed(5, "note", 0)}
    producer.send_offsets(offsets, consumer.group_metadata(), 10)
    producer.commit(10)
    producer.close()
    limit = time.monotonic() + 10
    while admin.group_offsets(f"g-{topic}", 10) != offsets:  # a first commit shows a moment after commit returns
        assert time.monotonic() < limit
    with pytest.raises(FatalError, match="NON_EMPTY_GROUP"):
        admin.delete_group(f"g-{topic}", 10)
    consumer.close()
    admin.delete_group(f"g-{topic}", 10)
    assert admin.group_offsets(f"g-{topic}", 10) == {}


def test_nobody_there_is_retriable_and_in_time():
    admin = ConfluentClient(ConnectionSettings("127.0.0.1:1")).admin()
    calls = (
        lambda: admin.cluster_id(0.5),
        lambda: admin.topic_names(0.5),
        lambda: admin.describe_topics(["t"], 0.5),
        lambda: admin.create_topics([NewTopic("t", 1)], 0.5),
        lambda: admin.end_offsets([TopicPartition("t", 0)], 0.5),
        lambda: admin.group_offsets("g", 0.5),
    )
    for call in calls:
        started = time.monotonic()
        with pytest.raises(RetriableError):
            call()
        assert time.monotonic() - started < 10  # long for a busy machine, short beside librdkafka's 60 s
    admin.close()


def test_empty_questions_have_empty_answers(admin):
    assert admin.describe_topics([], 10) == {}
    assert admin.end_offsets([], 10) == {}
    admin.create_topics([], 10)
    admin.delete_topics([], 10)
    admin.delete_records({}, 10)
