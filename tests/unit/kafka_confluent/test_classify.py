"""R5: every error is raised as what has to be done about it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from streamkit.errors import (
    AbortableError,
    AuthorizationError,
    DuplicateInstanceError,
    FatalError,
    FencedError,
    GenerationError,
    LostOffsetError,
    RejectedRecordError,
    RetriableError,
)
from streamkit.kafka.confluent.classify import classify, error_of
from streamkit.kafka.confluent.delivery import DeliveryFailures


@pytest.mark.parametrize(
    "code,flags,expected",
    [
        (KafkaError.UNKNOWN_MEMBER_ID, {"txn_requires_abort": True}, GenerationError),
        (KafkaError.ILLEGAL_GENERATION, {"txn_requires_abort": True}, GenerationError),
        (KafkaError.FENCED_INSTANCE_ID, {"txn_requires_abort": True}, DuplicateInstanceError),
        (KafkaError._MAX_POLL_EXCEEDED, {}, GenerationError),
        (KafkaError._FENCED, {"fatal": True}, FencedError),
        (KafkaError.PRODUCER_FENCED, {"fatal": True}, FencedError),
        (KafkaError.INVALID_PRODUCER_EPOCH, {"txn_requires_abort": True}, FencedError),
        (KafkaError.INVALID_TIMESTAMP, {"txn_requires_abort": True}, RejectedRecordError),
        (KafkaError.MSG_SIZE_TOO_LARGE, {"txn_requires_abort": True}, RejectedRecordError),
        (KafkaError.INVALID_RECORD, {"txn_requires_abort": True}, RejectedRecordError),
        (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, {}, RetriableError),
        (KafkaError._TIMED_OUT, {"retriable": True}, RetriableError),
        (KafkaError._TIMED_OUT, {}, RetriableError),
        (KafkaError.UNSTABLE_OFFSET_COMMIT, {}, RetriableError),
        (KafkaError._MSG_TIMED_OUT, {"txn_requires_abort": True}, AbortableError),
        (KafkaError.INVALID_TXN_STATE, {"fatal": True}, FatalError),
        (KafkaError.INVALID_TXN_STATE, {}, FatalError),
        (KafkaError._STATE, {}, FatalError),
        (KafkaError.UNKNOWN, {}, FatalError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, {"txn_requires_abort": True}, AuthorizationError),
        (KafkaError._AUTO_OFFSET_RESET, {}, LostOffsetError),
        (KafkaError.OFFSET_OUT_OF_RANGE, {}, LostOffsetError),
    ],
)
def test_each_class(code, flags, expected):
    assert type(classify(KafkaError(code, "why", **flags), "commit_transaction")) is expected


def test_a_refusal_names_resource_and_operation():
    error = classify(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "create_topics", about="topic 'bids'", operation="CREATE")
    assert "CREATE on topic 'bids'" in str(error)
    assert error.code == "TOPIC_AUTHORIZATION_FAILED"


def test_what_is_no_kafka_error_becomes_a_local_failure():
    assert error_of(KafkaException(KafkaError(KafkaError._STATE))).name() == "_STATE"
    assert "boom" in error_of(RuntimeError("boom")).str()


def failures(*reports: tuple[int, bytes | None], one_by_one: bool = False) -> DeliveryFailures:
    collected = DeliveryFailures(one_by_one=one_by_one)
    for code, key in reports:
        collected.report(KafkaError(code), Message("t", 3, key=key, value=b"v"))
    return collected


def test_no_failure_is_false_and_so_are_purged_records():
    assert not failures()
    assert not failures((KafkaError._PURGE_QUEUE, b"k"), (KafkaError._PURGE_INFLIGHT, b"k"))


def test_a_refused_record_is_named_before_its_consequences():
    found = failures((KafkaError._MSG_TIMED_OUT, b"x"), (KafkaError.MSG_SIZE_TOO_LARGE, b"k")).root("flush")
    assert isinstance(found, RejectedRecordError)
    assert (found.topic, found.partition, found.key, found.code) == ("t", 3, b"k", "MSG_SIZE_TOO_LARGE")


def test_one_of_several_is_blamed_only_if_it_is_certain():
    batch = [(KafkaError.INVALID_TIMESTAMP, b"a"), (KafkaError.INVALID_TIMESTAMP, b"b")]
    vague = failures(*batch).root("flush")
    assert type(vague) is AbortableError
    assert vague.code == "_BATCH_REFUSED"
    assert isinstance(failures(*batch, one_by_one=True).root("flush"), RejectedRecordError)
    told_apart = [
        (KafkaError._INVALID_DIFFERENT_RECORD, b"ok"),
        (KafkaError.INVALID_RECORD, b"a"),
        (KafkaError.INVALID_RECORD, b"b"),
    ]
    found = failures(*told_apart).root("flush")
    assert isinstance(found, RejectedRecordError)
    assert found.key == b"a"


@pytest.mark.parametrize(
    "code,expected",
    [
        (KafkaError._MSG_TIMED_OUT, AbortableError),
        (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, AbortableError),
        (KafkaError._FENCED, FencedError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, AuthorizationError),
    ],
)
def test_other_delivery_failures(code, expected):
    assert type(failures((code, b"k")).root("flush")) is expected
