"""Delivery failures of one transaction, and which of them to report."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from streamkit.errors import AbortableError, AuthorizationError, FatalError, FencedError, RejectedRecordError, StreamkitError
from streamkit.kafka.confluent.classify import FENCED, REFUSED, REJECTED, classify

# Not failures of their own: purged by an abort, or in a batch with a record that the broker refused.
_CONSEQUENCES = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT", "_INVALID_DIFFERENT_RECORD"})


@dataclass(frozen=True, slots=True)
class _Failure:
    error: KafkaError
    topic: str
    partition: int
    key: bytes | None
    size: int


class DeliveryFailures:
    """Keeps one failure per kind of error, so it is bounded however many records fail.

    The broker refuses whole batches: of a batch that is too large, every record fails with MSG_SIZE_TOO_LARGE. The largest
    of them is kept, since it is the one that cannot be sent in any batch.
    """

    def __init__(self) -> None:
        self._first: dict[str, _Failure] = {}
        self._closed = False

    def __bool__(self) -> bool:
        return any(name not in _CONSEQUENCES for name in self._first) or "_INVALID_DIFFERENT_RECORD" in self._first

    def report(self, error: KafkaError | None, message: Message) -> None:
        """The delivery callback; called for failures only (delivery.report.only.error) and must not raise."""
        if error is None or self._closed:
            return
        size = len(message.value() or b"") + len(message.key() or b"")
        known = self._first.get(error.name())
        if known is None or (error.name() == "MSG_SIZE_TOO_LARGE" and size > known.size):
            self._first[error.name()] = _Failure(error, message.topic() or "", _partition(message), message.key(), size)

    def worst(self, call: str) -> StreamkitError:
        """The error to raise: a refused record if there is one, since it is the cause of the others; else the first."""
        by_cause = sorted(self._first.items(), key=lambda item: (item[0] in _CONSEQUENCES, item[0] not in REJECTED))
        name, failure = by_cause[0]
        place = f"{failure.topic}-{failure.partition}"
        text = f"a record for {place} was not delivered: {failure.error.str()}"
        if name in REJECTED:
            return RejectedRecordError(
                text, code=name, call=call, topic=failure.topic, partition=failure.partition, key=failure.key
            )
        if name in FENCED:
            return FencedError(text, code=name, call=call)
        if name in REFUSED:
            refusal = classify(failure.error, call, about=f"topic '{failure.topic}'", operation="WRITE")
            return refusal if isinstance(refusal, AuthorizationError) else AbortableError(text, code=name, call=call)
        if failure.error.fatal():
            return FatalError(text, code=name, call=call)
        return AbortableError(text, code=name, call=call)

    def clear(self) -> None:
        self._first.clear()

    def close(self) -> None:
        self._closed = True


def _partition(message: Message) -> int:
    partition = message.partition()
    return -1 if partition is None else partition
