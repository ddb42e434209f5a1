"""Requests that were long on their way and arrive in a later transaction, staged on real Kafka: first what they do to a plain
client, then what ours does about it (R6). The request is let through once the next transaction is under way, however long that
takes to begin."""

from __future__ import annotations

import contextlib
import uuid

import confluent_kafka as ck
import pytest

from streamkit.clock import SystemClock
from streamkit.config import EngineSettings
from streamkit.instrument import Recorder
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.confluent import ConfluentClient
from streamkit.runtime.transaction import Transaction
from tests.chaos.zoo import TRANSACTION_MS, member, plain_producer, until, values
from tests.support import proxy_rules as rules
from tests.support.cluster3 import ProxiedKafka
from tests.support.proxy_frames import Api

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]
INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90

# ---- KAFKA-17754: an EndTxn that was long on its way ends the next transaction


def test_kafka_17754_a_plain_producer_commits_what_it_wants_to_abort(kafka: ProxiedKafka, topic: str) -> None:
    """What R6 is for. If this fails, brokers or librdkafka (KIP-890, transactions v2) have closed the hole."""
    producer = plain_producer(kafka, "plain")
    rule = kafka.proxy.rule(rules.stray_until_removed(), apis=[Api.END_TXN], clients="plain", times=1)
    producer.begin_transaction()
    producer.produce(topic, b"first", partition=0)
    producer.commit_transaction(20)  # the connection broke; it was sent again, and succeeded
    assert len(rule.hits) == 1
    producer.begin_transaction()
    producer.produce(topic, b"to be aborted", partition=0)
    producer.flush(20)
    before = len(kafka.proxy.strays)
    kafka.proxy.remove(rule)
    until(lambda: len(kafka.proxy.strays) > before, "the stray EndTxn did not arrive")
    with contextlib.suppress(ck.KafkaException):
        producer.abort_transaction(20)
    assert values(kafka, topic) == [b"first", b"to be aborted"]


def test_kafka_17754_our_producer_is_replaced_before_the_next_transaction(
    kafka: ProxiedKafka, client: ConfluentClient, topic: str
) -> None:
    events = Recorder()
    settings = EngineSettings(transaction_timeout_ms=TRANSACTION_MS, session_timeout_ms=15_000)
    name = f"ours-{uuid.uuid4().hex[:8]}"
    transaction = Transaction(lambda: client.producer(name), SystemClock(), settings, events)
    consumer = member(client, topic)
    transaction.producer()
    kafka.proxy.strays.clear()
    rule = kafka.proxy.rule(rules.stray_until_removed(), apis=[Api.END_TXN], clients="ours", times=1)
    transaction.produce(topic, b"first", None, 0)
    transaction.commit({TopicPartition(topic, 0): Committed(1)}, consumer.group_metadata())
    assert len(rule.hits) == 1
    assert len(events.of("producer-disturbed")) == len(events.of("producer-replaced")) == 1
    transaction.produce(topic, b"to be aborted", None, 0)
    kafka.proxy.remove(rule)
    until(lambda: len(kafka.proxy.strays) == 1, "the stray EndTxn did not arrive")
    transaction.abort()
    stray = kafka.proxy.strays[0].answer
    assert stray is not None
    # length, correlation id, throttle time, error code: the epoch of the replaced producer is fenced
    assert int.from_bytes(stray[12:14], "big") in (INVALID_PRODUCER_EPOCH, PRODUCER_FENCED)
    assert values(kafka, topic) == [b"first"]
    transaction.close()
    consumer.close()


# ---- a TxnOffsetCommit that was long on its way takes the positions of the next transaction back (as KAFKA-17754, for offsets)


def position(client: ConfluentClient, group: str, tp: TopicPartition) -> int:
    """What the group has committed."""
    with contextlib.closing(client.consumer(group)) as consumer:
        found = consumer.committed([tp], 20.0)[tp]
    assert found is not None
    return found.offset


def test_a_plain_producer_commits_the_offsets_of_an_earlier_transaction(
    kafka: ProxiedKafka, client: ConfluentClient, topic: str
) -> None:
    """What R6 is for, as far as offsets go: nothing in a TxnOffsetCommit tells which transaction of its epoch it is of. If this
    fails, brokers or librdkafka have closed the hole."""
    group, tp = f"g-{uuid.uuid4().hex[:8]}", TopicPartition(topic, 0)
    consumer, producer = member(client, topic, group), plain_producer(kafka, "plain")
    rule = kafka.proxy.rule(rules.stray_until_removed(), apis=[Api.TXN_OFFSET_COMMIT], clients="plain", times=1)
    before = len(kafka.proxy.strays)
    for offset in (1, 2):
        producer.begin_transaction()
        producer.produce(topic, b"x", partition=0)
        metadata = consumer._consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction([ck.TopicPartition(topic, 0, offset)], metadata, 20)
        if offset == 2:
            kafka.proxy.remove(rule)
            until(lambda: len(kafka.proxy.strays) > before, "the stray TxnOffsetCommit did not arrive")
        producer.commit_transaction(20)
    assert len(rule.hits) == 1
    assert values(kafka, topic) == [b"x", b"x"]
    assert position(client, group, tp) == 1  # so the second record's input would be read again
    consumer.close()


def test_our_producer_is_replaced_when_its_offsets_may_still_be_on_their_way(
    kafka: ProxiedKafka, client: ConfluentClient, topic: str
) -> None:
    events = Recorder()
    settings = EngineSettings(transaction_timeout_ms=TRANSACTION_MS, session_timeout_ms=15_000)
    name, group, tp = f"ours-{uuid.uuid4().hex[:8]}", f"g-{uuid.uuid4().hex[:8]}", TopicPartition(topic, 0)
    transaction = Transaction(lambda: client.producer(name), SystemClock(), settings, events)
    consumer = member(client, topic, group)
    transaction.producer()
    kafka.proxy.strays.clear()
    rule = kafka.proxy.rule(rules.stray_until_removed(), apis=[Api.TXN_OFFSET_COMMIT], clients="ours", times=1)
    transaction.produce(topic, b"x", None, 0)
    transaction.commit({tp: Committed(1)}, consumer.group_metadata())
    assert len(rule.hits) == 1
    assert len(events.of("producer-disturbed")) == len(events.of("producer-replaced")) == 1
    transaction.produce(topic, b"x", None, 0)
    sent = transaction.producer().send_offsets
    sent({tp: Committed(2)}, consumer.group_metadata(), 20)
    kafka.proxy.remove(rule)
    until(lambda: len(kafka.proxy.strays) == 1, "the stray TxnOffsetCommit did not arrive")
    transaction.producer().commit(20)
    assert position(client, group, tp) == 2
    transaction.close()
    consumer.close()
