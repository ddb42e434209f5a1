"""Every error that streamkit raises on purpose.

StreamkitError
├── DeclarationError            the pipeline itself is wrong; raised where it is written
│   ├── NameCollisionError      two owners of state or of a topic share a name
│   ├── ExpressionError         an expression that a stream cannot run (not elementwise, unknown column)
│   └── SchemaError             fields or types that do not fit each other
├── ConfigError                 a setting that is unknown, malformed, or would break a guarantee
├── StartError                  the service cannot start against this Kafka
│   ├── BrokerUnreachableError  nothing answers at the bootstrap address
│   ├── TopicError              a topic is missing or does not fit
│   └── FinishedError           the group already ran to the end of its input
├── RecordError                 one record cannot be processed: topic, partition, offset, operator, cause
│   ├── DecodeError
│   ├── EncodeError
│   ├── EventTimeError
│   ├── UserFunctionError
│   └── AggregateError          overflow, or a value that an aggregator cannot take
├── StateError                  a changelog that cannot be trusted; the service fails closed
│   └── RestoreError
│       └── RestoreStalledError no progress within the deadline
├── LostOffsetError             a committed offset is no longer in the log
├── AssignmentError             the group keeps the inputs of one task apart
├── TopicChangedError           a topic was deleted, made anew or changed while the app ran
├── StalledError                records wait in a partition that is ours, and nothing is committed of it
├── StateLimitError             window state has come to memory_limit_mb, and holding partitions back is no help
├── ContainerError              what a test with containers or replicas needs is not there, or died
├── StuckError                  a client call never returned; the process leaves with exit code 75
└── KafkaError                  what a Kafka client call reported, by what must be done about it
    ├── RetriableError          repeat the same call
    ├── AbortableError          abort the transaction, go back to the committed state, go on
    │   ├── GenerationError     ... because the group has moved on without us
    │   └── RejectedRecordError ... because the broker refuses a record; replaying would loop
    ├── FencedError             a newer producer owns our transactional id
    └── FatalError              stop
        ├── DuplicateInstanceError ... because another live worker has our instance id
        ├── AuthenticationError ... because the cluster does not let us in: wrong password, or a certificate that is not trusted
        └── AuthorizationError  ... with the resource and the operation named
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import ClassVar


class StreamkitError(Exception):
    """Base of all errors that streamkit raises on purpose."""


class DeclarationError(StreamkitError):
    """The pipeline is wrong as written; raised at the line that declares it."""


class NameCollisionError(DeclarationError):
    """Two owners of state or of an internal topic have the same name."""


class ExpressionError(DeclarationError):
    """An expression that cannot run on a stream: not elementwise, or over a column that is not there."""


class SchemaError(DeclarationError):
    """Names or types that do not fit: a result row and its topic's model, an aggregator and its column."""


class ConfigError(StreamkitError):
    """A setting that is unknown, malformed, or would break a guarantee."""


class StartError(StreamkitError):
    """The service cannot start against this Kafka."""


class BrokerUnreachableError(StartError):
    """No broker answered at the bootstrap address within the time allowed."""


class TopicError(StartError):
    """A topic is missing, or its partitions or settings do not fit."""


class FinishedError(StartError):
    """This consumer group already ran to the end of its input (``--until-end``) and must be reset first."""


class RecordError(StreamkitError):
    """One record cannot be processed.

    Attributes name the place: ``topic``, ``partition``, ``offset`` and ``operator``; ``reason`` says what was wrong.
    """

    def __init__(self, reason: str, *, topic: str, partition: int, offset: int, operator: str, hint: str = "") -> None:
        self.reason = reason
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.operator = operator
        self.hint = hint
        super().__init__(reason)

    @property
    def place(self) -> str:
        """Where it happened, in the one notation that all messages use: ``topic-partition@offset``."""
        return f"{self.topic}-{self.partition}@{self.offset}"

    def __str__(self) -> str:
        text = f"operator '{self.operator}', {self.place}: {self.reason}"
        return f"{text}. {self.hint}" if self.hint else text


class DecodeError(RecordError):
    """The bytes of a record are not what the topic's serde reads."""


class EncodeError(RecordError):
    """A result cannot be written with the serde of its topic."""


class EventTimeError(RecordError):
    """A record has no usable event time: missing, null, of the wrong type or out of range."""


class UserFunctionError(RecordError):
    """A function given to ``map``, ``filter``, ``flat_map`` or ``key_by``, or a watermark's rule, raised."""


class AggregateError(RecordError):
    """An aggregator cannot take a value: a 64-bit sum would overflow, or the type does not fit."""


class StateError(StreamkitError):
    """State that cannot be trusted; nothing is processed with it."""


class RestoreError(StateError):
    """A changelog could not be read back."""


class RestoreStalledError(RestoreError):
    """A restore made no progress within its deadline."""


class LostOffsetError(StreamkitError):
    """A committed offset is no longer in the log: records were deleted before they were processed."""


class TopicChangedError(StreamkitError):
    """A topic of the plan was deleted, made anew or changed while the app ran; nothing is committed any more.

    ``topic`` is its name, ``reason`` what happened to it.
    """

    def __init__(self, reason: str, *, topic: str, hint: str) -> None:
        self.topic = topic
        self.reason = reason
        super().__init__(f"{reason}. {hint}")


class StateLimitError(StreamkitError):
    """Window state has come to ``memory_limit_mb``, or is close to it and waits for a partition that gives nothing."""


class StalledError(StreamkitError):
    """Records wait in a partition that is assigned to this worker, and nothing is committed of it within the bound.

    ``topic``, ``partition``, ``position`` (the next offset to be committed), ``end``, and ``seconds`` that it stood still.
    """

    def __init__(self, reason: str, *, topic: str, partition: int, position: int, end: int, seconds: float) -> None:
        self.topic = topic
        self.partition = partition
        self.position = position
        self.end = end
        self.seconds = seconds
        super().__init__(reason)


class StuckError(StreamkitError):
    """A client call, or a step, took longer than it ever may: nothing can be done in this process (exit code 75)."""

    def __init__(self, message: str, *, call: str) -> None:
        self.call = call
        super().__init__(message)


class ContainerError(StreamkitError):
    """What a test needs is not there or does not do what is waited for: Docker, an image, a broker, a replica of a service."""


class AssignmentError(StreamkitError):
    """The group keeps giving the inputs of one task to different workers, so that nobody can run it."""


class KafkaError(StreamkitError):
    """What a Kafka client call reported, classified by what has to be done about it.

    ``code`` is Kafka's name of the error (``"ILLEGAL_GENERATION"``, ``"_TIMED_OUT"``), ``call`` the client call.
    """

    def __init__(self, message: str, *, code: str = "", call: str = "") -> None:
        self.code = code
        self.call = call
        super().__init__(f"{call}: {message} [{code}]" if call else message)


class RetriableError(KafkaError):
    """Repeat the same call with the same arguments."""


class AbortableError(KafkaError):
    """Abort the transaction, return to the committed state and go on."""


class GenerationError(AbortableError):
    """The group has moved on: with the classic protocol the assignment is lost as well."""


class RejectedRecordError(AbortableError):
    """The broker refuses a record for what it is (timestamp, size, null key); replaying it would loop.

    The key is named by its hash (CRC-32): it may be personal.
    """

    _HINTS: ClassVar[Mapping[str, str]] = {
        "MSG_SIZE_TOO_LARGE": "Raise the topic's max.message.bytes (and kafka.message.max.bytes here), or make it smaller",
        "INVALID_TIMESTAMP": "The topic takes only times near now: raise its message.timestamp.before.max.ms and .after.max.ms",
        "INVALID_RECORD": "A compacted topic takes no record without a key: use key_by, or change its cleanup.policy",
    }

    def __init__(
        self, message: str, *, code: str = "", call: str = "", topic: str = "", partition: int = -1, key: bytes | None = None
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.key = key
        super().__init__(message, code=code, call=call)

    def __str__(self) -> str:
        place = "" if self.key is None else f", key hash {zlib.crc32(self.key):08x}"
        hint = self._HINTS.get(self.code)
        return f"{super().__str__()}{place}" + (f". {hint}" if hint else "")


class FencedError(KafkaError):
    """A newer producer owns the transactional id, or the broker timed our transaction out."""


class FatalError(KafkaError):
    """Nothing can be done here; the service stops."""


class DuplicateInstanceError(FatalError):
    """Another live worker of the group is a static member with the same instance id; one of the two has to go."""


class AuthenticationError(FatalError):
    """The cluster does not let this client in: wrong credentials, or a certificate that is not trusted."""


class AuthorizationError(FatalError):
    """The cluster does not allow this principal to do this."""
