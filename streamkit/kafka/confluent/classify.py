"""librdkafka's errors, sorted by what has to be done about them (R5 of exactly-once.md).

Anything that is not listed and carries no flag of librdkafka is fatal: stopping is always safe, going on is not.
"""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException

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
    StreamkitError,
)
from streamkit.errors import KafkaError as ClassifiedError

FENCED: Final = frozenset({"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"})
GENERATION: Final = frozenset({
    "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_MEMBER_EPOCH", "STALE_MEMBER_EPOCH",
    "_MAX_POLL_EXCEEDED", "_ASSIGNMENT_LOST",
})  # fmt: skip
DUPLICATE: Final = {code: KafkaError(code) for code in (KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID)}
REJECTED: Final = frozenset({"INVALID_TIMESTAMP", "INVALID_RECORD", "MSG_SIZE_TOO_LARGE"})
LOST_OFFSET: Final = frozenset({"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_NO_OFFSET", "_LOG_TRUNCATION"})
# Resource and operation of each refusal; the resource's own name is put in where it is known.
REFUSED: Final = {
    "TOPIC_AUTHORIZATION_FAILED": "topic",
    "GROUP_AUTHORIZATION_FAILED": "consumer group",
    "CLUSTER_AUTHORIZATION_FAILED": "cluster",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "transactional id",
    "DELEGATION_TOKEN_AUTHORIZATION_FAILED": "delegation token",
}
RETRIABLE: Final = frozenset({
    "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "CONCURRENT_TRANSACTIONS",
    "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_WAIT_COORD", "_WAIT_CACHE", "_RETRY",
    "REQUEST_TIMED_OUT", "NETWORK_EXCEPTION", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "BROKER_NOT_AVAILABLE",
    "UNSTABLE_OFFSET_COMMIT", "NOT_CONTROLLER", "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "OFFSET_NOT_AVAILABLE",
    "REBALANCE_IN_PROGRESS", "THROTTLING_QUOTA_EXCEEDED", "KAFKA_STORAGE_ERROR", "NOT_ENOUGH_REPLICAS",
    # A topic that was made a moment ago is unknown to some brokers yet; that it is really gone is found by describing it.
    "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID",
    "_NOENT",  # no leader is known of any partition that was asked for: of topics that are gone, and now and then of others
})  # fmt: skip


def classify(error: KafkaError, call: str, *, about: str = "", operation: str = "") -> StreamkitError:
    """The error to raise. ``about`` names the resource ("topic 'bids'"), ``operation`` what was wanted of it."""
    name = error.name()
    text = f"{about}: {error.str()}" if about else error.str()
    duplicate = _duplicate(error)
    if duplicate is not None:
        return DuplicateInstanceError(
            f"{about or 'consumer group'}: another live worker has the same instance id ({duplicate.str()}). Stop one of the "
            "two, or give each its own: setting instance_id, by default the host name",
            code=duplicate.name(),
            call=call,
        )
    if name in REFUSED:
        resource = about or REFUSED[name]
        return AuthorizationError(f"not allowed: {operation or call} on {resource} ({error.str()})", code=name, call=call)
    if name in LOST_OFFSET:
        return LostOffsetError(f"{about or call}: {error.str()} [{name}]")
    return _class_of(error, name)(text, code=name, call=call)


def _duplicate(error: KafkaError) -> KafkaError | None:
    """A consumer that is fenced reports it as _FATAL, with the broker's error in the text alone."""
    if error.code() in DUPLICATE:
        return error
    return next((each for each in DUPLICATE.values() if error.code() == KafkaError._FATAL and each.str() in error.str()), None)


def _class_of(error: KafkaError, name: str) -> type[ClassifiedError]:
    if name in FENCED:
        return FencedError
    if name in GENERATION:
        return GenerationError
    if name in REJECTED:
        return RejectedRecordError
    if error.fatal():
        return FatalError
    if error.txn_requires_abort():
        return AbortableError
    if error.retriable() or name in RETRIABLE:
        return RetriableError
    return FatalError


def error_of(raised: BaseException) -> KafkaError:
    """The KafkaError inside what confluent_kafka raised; anything else becomes a local failure."""
    if isinstance(raised, KafkaException) and raised.args and isinstance(raised.args[0], KafkaError):
        return raised.args[0]
    return KafkaError(KafkaError._FAIL, f"{type(raised).__name__}: {raised}")
