"""Delivery failures of one transaction, and which of them to report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, Message

from streamkit.errors import (
    AbortableError,
    FatalError,
    FencedError,
    RejectedRecordError,
    StreamkitError,
)
from streamkit.errors import (
    KafkaError as ClassifiedError,
)
from streamkit.kafka.confluent.classify import FENCED, REFUSED, REJECTED, classify

# Not failures of their own: purged by an abort, or in a batch with a record that the broker refused.
_CONSEQUENCES: Final = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT", "_INVALID_DIFFERENT_RECORD"})
BATCH_REFUSED: Final = "_BATCH_REFUSED"


@dataclass(slots=True)
class _Failure:
    """All failures with one error: how many, and the record that stands for them."""

    error: KafkaError
    topic: str
    partition: int
    key: bytes | None
    count: int = 0
    null_keys: int = 0


class DeliveryFailures:
    """Keeps one failure per kind of error, so it is bounded however many records fail.

    The broker refuses whole batches, and librdkafka 2.16 reports its error for every record of the batch: which one was to
    blame it knows only if several were (then the others get `_INVALID_DIFFERENT_RECORD`), because
    rd_kafka_interceptors_on_acknowledgement_queue overwrites the errors otherwise. To blame a record that was fine would send
    it to the dead letters. So unless the culprit is certain, the failure is an AbortableError with the code `_BATCH_REFUSED`,
    and the replay sends every record in a batch of its own (`one_by_one`): then the culprit is certain. The same finds out
    that nobody is to blame, where a batch of small records was too large for its topic.
    """

    def __init__(self, *, one_by_one: bool) -> None:
        self._one_by_one = one_by_one
        self._by_error: dict[str, _Failure] = {}
        self._closed = False

    def __bool__(self) -> bool:
        return any(name not in _CONSEQUENCES for name in self._by_error)

    def report(self, error: KafkaError | None, message: Message) -> None:
        """The delivery callback; called for failures only (delivery.report.only.error) and must not raise."""
        if error is None or self._closed:
            return
        key, partition = message.key(), message.partition()
        place = (message.topic() or "", -1 if partition is None else partition)
        self.add(error, *place, key, count=1, null_keys=int(key is None))

    def add(self, error: KafkaError, topic: str, partition: int, key: bytes | None, *, count: int, null_keys: int) -> None:
        """``count`` records with one error, ``null_keys`` of them without a key; the key is that of the first."""
        failure = self._by_error.get(error.name())
        if failure is None:
            failure = self._by_error[error.name()] = _Failure(error, topic, partition, key)
        failure.count += count
        failure.null_keys += null_keys
        if null_keys and error.code() == KafkaError.INVALID_RECORD:
            failure.key = None

    def root(self, call: str) -> StreamkitError:
        """The error to raise: a refused record if there is one, since it is the cause of the others; else the first."""
        by_cause = sorted(self._by_error.items(), key=lambda item: (item[0] in _CONSEQUENCES, item[0] not in REJECTED))
        name, failure = by_cause[0]
        text = f"a record for {failure.topic}-{failure.partition} was not delivered: {failure.error.str()}"
        if name in REJECTED:
            return self._refused(name, failure, text, call)
        if name in REFUSED:
            return classify(failure.error, call, about=f"topic '{failure.topic}'", operation="WRITE")
        kind: type[ClassifiedError] = AbortableError  # whatever the error: the transaction lacks a record
        if name in FENCED:
            kind = FencedError
        elif failure.error.fatal():
            kind = FatalError
        return kind(text, code=name, call=call)

    def suspects_a_record(self) -> bool:
        """Whether the replay has to send records one by one to find the one that the broker refuses."""
        return any(name in REJECTED for name in self._by_error)

    def _refused(self, name: str, failure: _Failure, text: str, call: str) -> StreamkitError:
        certain = (
            self._one_by_one
            or failure.count == 1
            or "_INVALID_DIFFERENT_RECORD" in self._by_error
            # The one null key: compacted topics refuse it, and several would have been told apart.
            or (name == "INVALID_RECORD" and failure.null_keys == 1)
        )
        if certain:
            return RejectedRecordError(
                text, code=name, call=call, topic=failure.topic, partition=failure.partition, key=failure.key
            )
        return AbortableError(
            f"a batch of {failure.count} records for {failure.topic}-{failure.partition} was refused: {failure.error.str()} "
            f"[{name}]; the replay sends them one by one to find which of them it is",
            code=BATCH_REFUSED,
            call=call,
        )

    def clear(self) -> None:
        self._by_error.clear()

    def close(self) -> None:
        self._closed = True
