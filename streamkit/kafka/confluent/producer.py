"""The transactional producer: every call classified (R5), delivery failures collected, disturbed commits noticed (R6)."""

from __future__ import annotations

import operator
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, Final, NoReturn, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError

from streamkit.errors import AbortableError, GenerationError, RejectedRecordError, RetriableError, StreamkitError
from streamkit.kafka.client import Committed, GroupMetadata, Headers, TopicPartition
from streamkit.kafka.confluent import group_metadata
from streamkit.kafka.confluent.classify import FENCED, REJECTED, classify, error_of
from streamkit.kafka.confluent.delivery import DeliveryFailures
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, attach
from streamkit.kafka.confluent.settings import ConnectionSettings

_SLICE: Final = 10_000  # records between two looks at the client's queue


class TransactionalProducer:
    """Implements Producer. One thread owns it."""

    def __init__(
        self, settings: ConnectionSettings, transactional_id: str, *, on_log: Callable[[str], None] | None = None
    ) -> None:
        self._id = transactional_id
        self._settings = settings
        self._tap = LogTap(debug=settings.debugs, on_log=on_log)
        self._events = ErrorEvents(f"producer '{transactional_id}'")
        self._failures = DeliveryFailures()
        self._disturbance: str | None = None
        self._open = False
        config = attach(settings.producer_config(transactional_id), self._tap, self._events)
        # A delivery callback costs nothing measurable per record (455 ns with and without), since librdkafka reports anyway.
        self._producer: ck.Producer | None = ck.Producer({**config, "on_delivery": self._failures.report})

    @property
    def _client(self) -> ck.Producer:
        if self._producer is None:
            raise RuntimeError(f"producer '{self._id}' is closed")
        return self._producer

    # ---- transaction -----------------------------------------------------------------------------------------------

    def init_transactions(self, timeout: float) -> None:
        self._call("init_transactions", self._client.init_transactions, timeout)

    def begin(self) -> None:
        self._failures.clear()
        self._call("begin_transaction", self._client.begin_transaction)
        self._open = True

    def flush(self, timeout: float) -> None:
        """RetriableError if records are still unacknowledged at the time-out; they fail by themselves at half the
        transaction time-out."""
        left = self._client.flush(timeout)
        self._raise_failure("flush")
        if left:
            self._events.check()
            raise RetriableError(f"{left} records are not acknowledged after {timeout:g} s", code="_TIMED_OUT", call="flush")

    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, timeout: float) -> None:
        """Raises GenerationError for metadata that no broker would fence (R10); ValueError for no offsets (R1)."""
        if not offsets:
            raise ValueError("send_offsets without offsets would not fence a stale member: send the committed offset again (R1)")
        if group.generation < 0 or not group.member_id:
            raise GenerationError(
                f"group '{group.group_id}': not a member (generation {group.generation}, member id '{group.member_id}'); "
                "the broker would accept these offsets unfenced",
                code="UNKNOWN_MEMBER_ID",
                call="send_offsets_to_transaction",
            )
        positions = [
            ck.TopicPartition(tp.topic, tp.partition, at.offset, at.metadata, at.leader_epoch) for tp, at in offsets.items()
        ]
        self._call(
            "send_offsets_to_transaction",
            self._client.send_offsets_to_transaction,
            positions,
            group_metadata.encode(group),
            timeout,
        )

    def commit(self, timeout: float) -> None:
        self._end("commit_transaction", self._client.commit_transaction, timeout)

    def abort(self, timeout: float) -> None:
        self._end("abort_transaction", self._client.abort_transaction, timeout)
        self._failures.clear()

    def disturbed(self) -> str | None:
        """Stays set once it was: a disturbed producer is replaced, never used again."""
        return self._disturbance

    def _end(self, call: str, end: Callable[[float], None], timeout: float) -> None:
        """R6: librdkafka may have sent EndTxn twice, or abandoned one that is still under way, and report success.

        The sequence that hurts: EndTxn is sent, the connection breaks or the request times out, librdkafka sends it again
        and gets an answer; the first one, still in some buffer, then arrives inside the *next* transaction and ends that.
        """
        self._client.poll(0)  # log lines from before the call do not count
        self._tap.forget()
        started = time.monotonic()
        try:
            self._call(call, end, timeout)
        except StreamkitError as raised:
            self._disturbance = f"{call} did not succeed: {raised}"
            raise
        finally:
            elapsed_ms = (time.monotonic() - started) * 1000
            self._client.poll(0)  # log lines are events: they arrive only while the client is polled (R4)
            if self._tap.disturbance is not None:
                self._disturbance = self._tap.disturbance
            elif elapsed_ms >= self._settings.socket_timeout_ms:
                self._disturbance = (
                    f"{call} took {elapsed_ms:.0f} ms, longer than socket.timeout.ms ({self._settings.socket_timeout_ms})"
                )
        self._open = False

    def _call(self, call: str, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except ck.KafkaException as raised:
            self._client.poll(0)  # brings the delivery reports and error events that tell why
            self._raise_failure(call, error_of(raised), raised)

    # ---- records ---------------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        deadline: float | None = None
        while True:
            try:
                self._client.produce(topic, value, key, partition, None, None, timestamp, cast("Any", headers or []))
            except BufferError:
                deadline = self._wait_for_room(deadline)
            except ck.KafkaException as raised:
                self._raise_refused(raised, topic, partition, key)
            else:
                return

    def produce_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Iterable[bytes | None],
        partition: int,
        timestamps: int | Iterable[int],
        headers: Iterable[Headers | None] | None = None,
    ) -> None:
        stamps: Iterator[int] = repeat(timestamps) if isinstance(timestamps, int) else iter(timestamps)
        all_keys = iter(keys)
        all_headers = None if headers is None else iter(headers)
        for start in range(0, len(values), _SLICE):
            part = values[start : start + _SLICE]
            size = len(part)
            part_keys, part_stamps = list(islice(all_keys, size)), list(islice(stamps, size))
            # `map` stops at the shortest column, without a word: records would be lost.
            if len(part_keys) != size or len(part_stamps) != size:
                raise ValueError(f"{topic}: {len(values)} values, but fewer keys or timestamps")
            if all_headers is None:
                self._produce_slice(topic, part, part_keys, partition, part_stamps)
            else:
                rows = zip(part, part_keys, part_stamps, islice(all_headers, size), strict=True)
                for value, key, stamp, header in rows:
                    self.produce(topic, value, key, partition, stamp, header)

    def _produce_slice(
        self, topic: str, values: Sequence[bytes | None], keys: list[bytes | None], partition: int, timestamps: list[int]
    ) -> None:
        """One C-level loop over `produce`, resumed where the queue was full.

        `map` takes from the iterator of values before it calls, so what that iterator has left tells which call failed.
        """
        produce, none, start, deadline = self._client.produce, repeat(None), 0, cast("float | None", None)
        while start < len(values):
            left = iter(values[start:])
            try:
                deque(map(produce, repeat(topic), left, keys[start:], repeat(partition), none, none, timestamps[start:]), 0)
            except BufferError:
                start = len(values) - operator.length_hint(left) - 1
                deadline = self._wait_for_room(deadline)
            except ck.KafkaException as raised:
                self._raise_refused(raised, topic, partition, keys[len(values) - operator.length_hint(left) - 1])
            else:
                break
        self._client.poll(0)  # delivery reports count against the queue until they are served

    def _wait_for_room(self, deadline: float | None) -> float:
        """Serves delivery reports while the queue is full; gives up when the transaction can no longer succeed."""
        now = time.monotonic()
        deadline = now + self._settings.transaction_timeout_ms / 1000 if deadline is None else deadline
        self._client.poll(0.05)
        self._raise_failure("produce")
        if now > deadline:
            raise AbortableError(
                f"no room in the client's queue for {self._settings.transaction_timeout_ms} ms",
                code="_QUEUE_FULL",
                call="produce",
            )
        return deadline

    # ---- errors ----------------------------------------------------------------------------------------------------

    def _raise_refused(self, raised: ck.KafkaException, topic: str, partition: int, key: bytes | None) -> NoReturn:
        """`produce` itself refused a record: for what it is, or because the transaction has failed already."""
        error = error_of(raised)
        if error.name() in REJECTED:
            text = f"{topic}-{partition}: {error.str()}"
            raise RejectedRecordError(
                text, code=error.name(), call="produce", topic=topic, partition=partition, key=key
            ) from raised
        self._client.poll(0)
        self._raise_failure("produce", error, raised)
        raise AssertionError  # pragma: no cover - the line above raises when it is given an error

    def _raise_failure(self, call: str, error: KafkaError | None = None, cause: BaseException | None = None) -> None:
        """Raises the root of a failure: what happened first, not what the failing call says about it.

        After a fatal error every call only says `_FATAL`; after a failed delivery `produce` says `_STATE` and a commit says
        "transaction failed"; with a wrong password everything says "timed out".
        """
        fatal = self._events.fatal
        if fatal is not None and (error is None or error.fatal() or error.name() not in FENCED):
            raise classify(fatal, call, about=f"transactional id '{self._id}'") from cause
        if self._failures and (error is None or not error.fatal()):
            raise self._failures.worst(call) from cause
        if error is None:
            return
        self._events.check()
        if self._open and error.code() == KafkaError._STATE and call == "produce":
            raise AbortableError(
                "the transaction has failed already and must be aborted", code=error.name(), call=call
            ) from cause
        raise classify(error, call, about=f"transactional id '{self._id}'", operation=_operation(call)) from cause

    def close(self) -> None:
        """Drops the producer without waiting. `ck.Producer.close` would flush, without a time-out; destroying it waits for
        librdkafka's threads, so that happens in a thread of its own (R31: a client call may never return)."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        self._failures.close()
        dropped = [producer]
        del producer
        threading.Thread(target=_drop, args=(dropped,), name=f"drop {self._id}", daemon=True).start()


def _drop(holder: list[ck.Producer]) -> None:
    """Empties the queues, serves the delivery reports of that (each holds memory of the binding), and destroys."""
    producer = holder.pop()
    try:
        producer.purge()
        for _ in range(20):
            if not len(producer):
                break
            producer.poll(0.01)
    except ck.KafkaException:
        pass  # it goes anyway
    del producer


def _operation(call: str) -> str:
    return {
        "init_transactions": "WRITE (init_transactions)",
        "send_offsets_to_transaction": "READ (commit offsets)",
    }.get(call, "WRITE")
