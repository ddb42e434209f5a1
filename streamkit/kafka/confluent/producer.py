"""The transactional producer: every call classified (R5), delivery failures collected, disturbed commits noticed (R6)."""

from __future__ import annotations

import operator
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, repeat
from typing import Any, Final, cast

import confluent_kafka as ck
import numpy as np
from confluent_kafka import KafkaError

from streamkit.errors import AbortableError, FatalError, GenerationError, RejectedRecordError, RetriableError, StreamkitError
from streamkit.kafka.client import Committed, GroupMetadata, Headers, Int64s, TopicPartition
from streamkit.kafka.confluent import group_metadata
from streamkit.kafka.confluent.bounded import NeverReturnedError, bounded
from streamkit.kafka.confluent.classify import REJECTED, classify, error_of
from streamkit.kafka.confluent.delivery import DeliveryFailures
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, attach
from streamkit.kafka.confluent.native import Extension, Sender, extension
from streamkit.kafka.confluent.settings import ConnectionSettings
from streamkit.record.joined import JoinedBytes

_REFUSED_OFFSETS: Final = re.compile(
    r"([^\s,]+)\(\(null\)\)\[\d+\]\(Broker: Topic authorization failed\)"
)  # as librdkafka prints them
_OVERSHOOT_S: Final = 3.0
"""So much longer than its time-out may send_offsets take (seen: 2.2 s, when its coordinator was killed inside it)."""
_SHORT_S: Final = 2.0
"""Once a broker has left the metadata: its successors are there, so an answer comes soon, or never."""
_SERVE_EVERY_S: Final = 1.0
_SLICE: Final = 10_000  # records between two looks at the client's queue
_SENT_AT_ONCE: Final = 50_000  # of those that the extension sends: about 20 ms, in which no other thread of Python runs


class TransactionalProducer:
    """Implements Producer. One thread owns it."""

    def __init__(
        self,
        settings: ConnectionSettings,
        transactional_id: str,
        *,
        on_log: Callable[[str], None] | None = None,
        suspects: set[str] | None = None,
        extension: Extension = extension,
    ) -> None:
        """``suspects`` are the transactional ids whose replay has to find a refused record; shared by the producers of one
        client, because the replay is done by a successor (see DeliveryFailures)."""
        self._id = transactional_id
        self._settings = settings
        self._tap = LogTap(debug=settings.debugs, on_log=on_log)
        self._events = ErrorEvents(f"producer '{transactional_id}'")
        self._suspects = set() if suspects is None else suspects
        self._one_by_one = transactional_id in self._suspects
        self._told = DeliveryFailures(one_by_one=self._one_by_one)
        self._disturbance: str | None = None
        self._open = False
        self._unacknowledged = False  # a flush of this transaction has timed out
        self._left_behind: threading.Thread | None = None  # in a call that has not returned
        config = attach(settings.producer_config(transactional_id), self._tap, self._events)
        if self._one_by_one:
            config["batch.num.messages"] = 1
        # A delivery callback costs nothing measurable per record (455 ns with and without), since librdkafka reports anyway.
        made = extension.sender(ck.Producer, {**config, "on_delivery": self._told.report})
        self._producer: ck.Producer | None = made[0]
        self._sender: Sender | None = made[1]

    @property
    def _failures(self) -> DeliveryFailures:
        """With what the sender's records have come to by now: no callback tells of those."""
        if self._sender is not None:
            for code, topic, partition, key, count, null_keys in self._sender.failures():
                self._told.add(KafkaError(code), topic, partition, key, count=count, null_keys=null_keys)
        return self._told

    @property
    def _client(self) -> ck.Producer:
        if self._producer is None:
            raise self._closed()
        return self._producer

    def _closed(self) -> RuntimeError:
        return RuntimeError(f"producer '{self._id}' is closed")

    # ---- transaction -----------------------------------------------------------------------------------------------

    def init_transactions(self, timeout: float) -> None:
        self._call("init_transactions", timeout)

    def begin(self) -> None:
        self._failures.clear()
        self._unacknowledged = False
        self._call("begin_transaction")
        self._open = True

    def flush(self, timeout: float) -> None:
        """RetriableError if records are still unacknowledged at the time-out; they fail by themselves at half the
        transaction time-out."""
        left = 1
        with self._events.caught():
            left = self._client.flush(timeout)
        self._raise_failure("flush")
        self._unacknowledged = bool(left)
        if left:
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
            ck.TopicPartition(tp.topic, tp.partition, at.offset, at.metadata, -1 if at.leader_epoch is None else at.leader_epoch)
            for tp, at in offsets.items()
        ]
        call = "send_offsets_to_transaction"
        identity = group_metadata.encode(group)
        # Nothing in a request for offsets tells which transaction of its epoch it is of: one that comes late takes the positions
        # of a later one back. The coordinator of the group may be any broker, so any connection counts.
        with self._watched(call, lambda: self._tap.broken, RetriableError):
            limit = timeout + _OVERSHOOT_S if self._tap.removed_broker is None else _SHORT_S
            try:
                bounded(lambda: self._call(call, positions, identity, timeout), limit, f"send offsets {self._id}")
            except NeverReturnedError as left:
                self._left_behind = left.thread
                self._disturbance = f"{call} has not returned for {limit:.1f} s"
                raise FatalError(
                    f"no answer for {limit:.1f} s: librdkafka waits for a coordinator of group '{group.group_id}' that is gone",
                    code="_TIMED_OUT",
                    call=call,
                ) from None

    def commit(self, timeout: float) -> None:
        self._end("commit_transaction", timeout)
        if self._one_by_one:
            self._suspects.discard(self._id)
            self._disturbance = self._disturbance or "this producer sends records one by one, to find one that was refused"

    def abort(self, timeout: float) -> None:
        # What a flush waited for in vain is taken off its way by the abort itself, with its sequence numbers (seen when a broker
        # was killed: "Purged in queue", and OUT_OF_ORDER_SEQUENCE_NUMBER in the next transaction).
        failed = bool(self._failures) or self._unacknowledged
        if self._failures.suspects_a_record():
            self._suspects.add(self._id)
        self._end("abort_transaction", timeout)
        self._failures.clear()
        if failed:
            # librdkafka goes on with the sequence numbers after those of the lost batch, so that the broker would refuse the
            # first records of the next transaction (OUT_OF_ORDER_SEQUENCE_NUMBER, "skipped sequence numbers").
            self._disturbance = self._disturbance or "a batch was not delivered, so sequence numbers are missing"

    def disturbed(self) -> str | None:
        """Stays set once it was: a disturbed producer is replaced, never used again.

        One that has known a broker which left the metadata is disturbed as well (R31): if that was the coordinator of the group,
        the next send_offsets would wait for it for ever, also when it is back.
        """
        if self._producer is not None:
            self._serve()
        if self._disturbance is None and self._tap.removed_broker is not None:
            self._disturbance = f"broker {self._tap.removed_broker} has left the cluster, and may be waited for, for ever"
        return self._disturbance

    def _end(self, call: str, timeout: float) -> None:
        """R6: librdkafka may have sent EndTxn twice, or abandoned one that is still under way, and report success.

        The sequence that hurts: EndTxn is sent, the connection breaks or the request times out, librdkafka sends it again
        and gets an answer; the first one, still in some buffer, then arrives inside the *next* transaction and ends that.
        """
        with self._watched(call, lambda: self._tap.disturbance, StreamkitError):
            self._call(call, timeout)
        self._open = False

    @contextmanager
    def _watched(self, call: str, seen: Callable[[], str | None], unanswered: type[StreamkitError]) -> Iterator[None]:
        """Around a request that must not arrive in a later transaction. If it may have been sent twice, or is still on its way
        (``unanswered`` was raised), this producer is disturbed: the epoch of the next one fences the stray."""
        self._serve()  # log lines from before the call do not count; that a broker is gone is told by one
        self._tap.forget()
        started = time.monotonic()
        try:
            yield
        except unanswered as raised:
            self._disturbance = f"{call} did not succeed: {raised}"
            raise
        finally:
            elapsed_ms = (time.monotonic() - started) * 1000
            self._serve()  # log lines are events: they arrive only while the client is polled (R4)
            if (line := seen()) is not None:
                self._disturbance = line
            elif elapsed_ms >= self._settings.socket_timeout_ms:
                self._disturbance = (
                    f"{call} took {elapsed_ms:.0f} ms, longer than socket.timeout.ms ({self._settings.socket_timeout_ms})"
                )

    def _call(self, call: str, *arguments: Any) -> None:
        """Calls librdkafka's client by name: no frame of ours has it in a variable, where an exception would keep it alive. It
        goes when its last reference does, and one that stays connects and logs for ever, served by nobody."""
        try:
            with self._events.caught():
                getattr(self._client, call)(*arguments)
                return
        except ck.KafkaException as raised:
            self._serve()  # brings the delivery reports that tell why
            self._raise_failure(call, error_of(raised), raised)
        self._raise_failure(call)

    def _serve(self, timeout: float = 0) -> None:
        """Lets librdkafka call back: delivery reports, error events, log lines."""
        with self._events.caught():
            self._client.poll(timeout)

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
                raise self._refused(error_of(raised), topic, partition, key) from raised
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
        if self._producer is None:
            raise self._closed()
        if self._sender is not None:
            # of what may go on for ever, as `repeat` does
            every_key = keys if isinstance(keys, JoinedBytes) else list(islice(keys, len(values)))
            every_header = None if headers is None else list(islice(headers, len(values)))
            every_value = values if isinstance(values, JoinedBytes) else list(values)
            self._send(self._sender, topic, every_value, every_key, partition, timestamps, every_header)
            return
        if isinstance(timestamps, np.ndarray):
            timestamps = timestamps.tolist()
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

    def _send(
        self,
        sender: Sender,
        topic: str,
        values: list[bytes | None] | JoinedBytes,
        keys: list[bytes | None] | JoinedBytes,
        partition: int,
        timestamps: int | Iterable[int],
        headers: list[Headers | None] | None,
    ) -> None:
        """Slice by slice through the extension, resumed where the queue was full."""
        stamps = timestamps if isinstance(timestamps, int) else _int64s(timestamps, len(values))
        if len(keys) != len(values) or not (isinstance(stamps, int) or len(stamps) == len(values)):
            raise ValueError(f"{topic}: {len(values)} values, but fewer keys or timestamps")
        wire_values = values.joined if isinstance(values, JoinedBytes) else values
        wire_keys = keys.joined if isinstance(keys, JoinedBytes) else keys
        at, deadline = 0, cast("float | None", None)
        while at < len(values):
            stop = min(at + _SENT_AT_ONCE, len(values))
            at, code = sender.produce(topic, partition, wire_values, wire_keys, stamps, headers, at, stop)
            if code == KafkaError._QUEUE_FULL:
                deadline = self._wait_for_room(deadline)
            elif code:
                error = KafkaError(code)
                raise self._refused(error, topic, partition, keys[at]) from ck.KafkaException(error)
            else:
                self._serve()  # delivery reports count against the queue until they are served

    def _produce_slice(
        self, topic: str, values: Sequence[bytes | None], keys: list[bytes | None], partition: int, timestamps: list[int]
    ) -> None:
        """One C-level loop over `produce`, resumed where the queue was full.

        `map` takes from the iterator of values before it calls, so what that iterator has left tells which call failed.
        """
        none, start, deadline = repeat(None), 0, cast("float | None", None)
        while start < len(values):
            left = iter(values[start:])
            try:
                columns = (repeat(topic), left, keys[start:], repeat(partition), none, none, timestamps[start:])
                deque(map(self._client.produce, *columns), 0)
            except BufferError:
                start = len(values) - operator.length_hint(left) - 1
                deadline = self._wait_for_room(deadline)
            except ck.KafkaException as raised:
                key = keys[len(values) - operator.length_hint(left) - 1]
                raise self._refused(error_of(raised), topic, partition, key) from raised
            else:
                break
        self._serve()  # delivery reports count against the queue until they are served

    def _wait_for_room(self, deadline: float | None) -> float:
        """Serves delivery reports while the queue is full; gives up when the transaction can no longer succeed."""
        now = time.monotonic()
        deadline = now + self._settings.transaction_timeout_ms / 1000 if deadline is None else deadline
        self._serve(0.05)
        self._raise_failure("produce")
        if now > deadline:
            raise AbortableError(
                f"no room in the client's queue for {self._settings.transaction_timeout_ms} ms",
                code="_QUEUE_FULL",
                call="produce",
            )
        return deadline

    # ---- errors ----------------------------------------------------------------------------------------------------

    def _refused(self, error: KafkaError, topic: str, partition: int, key: bytes | None) -> StreamkitError:
        """Why `produce` itself refused a record: for what it is, or because the transaction has failed already."""
        if error.name() in REJECTED:
            text = f"{topic}-{partition}: {error.str()}"
            return RejectedRecordError(text, code=error.name(), call="produce", topic=topic, partition=partition, key=key)
        self._serve()
        if self._open and error.code() == KafkaError._STATE and self._root("produce") is None:
            return self._why_it_failed()
        return self._error("produce", error)

    def _why_it_failed(self) -> StreamkitError:
        """Why the open transaction takes no more records. `produce` only says that it does not; `begin_transaction` does nothing
        while one is open, and tells what has failed it."""
        try:
            self._client.begin_transaction()
        except ck.KafkaException as raised:
            error = error_of(raised)
            if error.code() != KafkaError._STATE:
                return self._error("produce", error)
        return AbortableError("the transaction has failed already and must be aborted", code="_STATE", call="produce")

    def _raise_failure(self, call: str, error: KafkaError | None = None, cause: BaseException | None = None) -> None:
        """Raises what is wrong with this transaction, if anything is; `error` is what the call itself reported."""
        found = self._root(call) if error is None else self._error(call, error)
        try:
            if found is not None:
                raise found from cause
        finally:
            del found  # which has this frame in its traceback: neither would go before a full collection

    def _error(self, call: str, error: KafkaError) -> StreamkitError:
        return self._root(call) or self._events.classified(error, call, **self._what(call, error))

    def _what(self, call: str, error: KafkaError) -> dict[str, str]:
        """Resource and operation, as an access control list calls them."""
        offsets = call == "send_offsets_to_transaction"
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            if self._tap.refused_topic is not None:
                return {"about": f"topic '{self._tap.refused_topic}'", "operation": "WRITE"}
            refused = _REFUSED_OFFSETS.search(error.str())
            return {"about": f"topic '{refused[1]}'" if refused else "a topic", "operation": "READ" if offsets else "WRITE"}
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return {"about": "the consumer group", "operation": "READ"}
        return {"about": f"transactional id '{self._id}'", "operation": "WRITE"}

    def _root(self, call: str) -> StreamkitError | None:
        """What happened first, rather than what a failing call says about it: after a fatal error every call only says
        `_FATAL`; after a failed delivery `produce` says `_STATE`; with a wrong password everything says "timed out"."""
        if self._events.fatal is not None:
            return classify(self._events.fatal, call, **self._what(call, self._events.fatal))
        failures = self._failures
        if failures and call != "abort_transaction":  # that a record failed is why it is called
            return failures.root(call)
        return self._events.refusal()

    def close(self) -> None:
        """Drops the producer without waiting. `ck.Producer.close` would flush, without a time-out; destroying it waits for
        librdkafka's threads, so that happens in a thread of its own (R31: a client call may never return)."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if self._sender is not None:
            self._sender.close()
        self._told.close()
        dropped = [producer]
        del producer
        arguments = dropped, self._events, self._left_behind
        threading.Thread(target=_drop, args=arguments, name=f"drop {self._id}", daemon=True).start()


def _int64s(column: Iterable[int], size: int) -> Int64s:
    """At most so many of a column, behind each other in memory."""
    if isinstance(column, np.ndarray):
        return np.ascontiguousarray(column[:size], np.int64)
    return np.fromiter(islice(column, size), np.int64)


def _drop(holder: list[ck.Producer], events: ErrorEvents, left_behind: threading.Thread | None) -> None:
    """Empties the queues, serves the delivery reports of that (each holds memory of the binding), and destroys.

    Not while a thread is still inside of it. Until that returns its log lines are served, 70 a second while no broker is there:
    librdkafka walks through all that wait for each one that it adds, which came to a third of a processor within five minutes.
    """
    producer = holder.pop()
    with suppress(ck.KafkaException, SystemError):  # it goes anyway
        producer.purge()
        for _ in range(20):
            if not len(producer):
                break
            producer.poll(0.01)
    while left_behind is not None and left_behind.is_alive():
        left_behind.join(_SERVE_EVERY_S)
        with suppress(ck.KafkaException, SystemError), events.caught():
            producer.poll(0)
    del producer
