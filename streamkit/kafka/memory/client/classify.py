"""Which of the engine's errors an error of the broker becomes, as librdkafka classifies them (rule R5)."""

from __future__ import annotations

from streamkit.errors import (
    AbortableError,
    DuplicateInstanceError,
    FatalError,
    FencedError,
    GenerationError,
    KafkaError,
    LostOffsetError,
    RejectedRecordError,
    RetriableError,
    StreamkitError,
)
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError

GENERATION = frozenset({"UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION"})
REJECTED = frozenset({"INVALID_TIMESTAMP", "INVALID_RECORD", "MSG_SIZE_TOO_LARGE"})
FENCED = frozenset({"PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"})
ABORTABLE = frozenset({"UNKNOWN_TOPIC_OR_PART", "OFFSET_METADATA_TOO_LARGE"})


def classified(error: BrokerError, call: str) -> StreamkitError:
    """The engine's error for what the broker answered to a call outside transactions. Anything unlisted is fatal."""
    if error.code == "UNSTABLE_OFFSET_COMMIT":  # librdkafka repeats the request until the call's time is up
        return RetriableError(error.message, code="_TIMED_OUT", call=call)
    if error.code == "UNKNOWN_TOPIC_OR_PART":  # one that was made a moment ago is unknown to some brokers yet
        return RetriableError(error.message, code=error.code, call=call)
    if error.code == "OFFSET_OUT_OF_RANGE":
        return LostOffsetError(f"{error.message} [{error.code}]")
    return FatalError(error.message, code=error.code, call=call)


def transaction_failure(error: BrokerError, call: str) -> KafkaError:
    """The engine's error for what the broker answered to a producer. Anything unlisted is fatal."""
    if error.code == "FENCED_INSTANCE_ID":
        return DuplicateInstanceError(error.message, code=error.code, call=call)
    if error.code in GENERATION:
        return GenerationError(error.message, code=error.code, call=call)
    if error.code in FENCED:
        return FencedError(error.message, code="_FENCED", call=call)
    if error.code in ABORTABLE:
        return AbortableError(error.message, code=error.code, call=call)
    return FatalError(error.message, code=error.code, call=call)


def delivery_failure(error: BrokerError, tp: TopicPartition, columns: Columns) -> KafkaError:
    """The engine's error for records that the broker did not take: whatever the reason, their transaction cannot be committed."""
    if error.code in FENCED or error.code == "INVALID_TXN_STATE":
        return transaction_failure(error, "flush")
    if error.code not in REJECTED:
        return AbortableError(error.message, code=error.code, call="flush")
    key = columns.keys[error.record] if error.record is not None else None
    return RejectedRecordError(error.message, code=error.code, call="flush", topic=tp.topic, partition=tp.partition, key=key)
