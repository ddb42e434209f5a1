"""A transactional producer on the embedded cluster, with the states and the error classes of librdkafka's.

    NEW       -> READY, FAILED                        init_transactions
    READY     -> READY, OPEN, FAILED                  init_transactions repeated; begin
    OPEN      -> COMMITTED, ABORTED, BROKEN, FAILED   commit; abort; an abortable error
    BROKEN    -> ABORTED, FAILED                      abort
    COMMITTED -> OPEN, FAILED                         begin
    ABORTED   -> OPEN, FAILED                         begin

FAILED is fenced, fatally wrong, or closed. COMMITTED and ABORTED answer a repeated commit or abort with success: the
first answer may not have reached the caller.
"""

# ruff: noqa: ARG002 - the protocol gives every call a time-out; the embedded cluster answers at once.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from streamkit.errors import AbortableError, FatalError, FencedError, GenerationError, KafkaError
from streamkit.kafka.client import Committed, GroupMetadata, Headers, TopicPartition
from streamkit.kafka.memory.client.accumulator import Accumulator
from streamkit.kafka.memory.client.classify import delivery_failure, transaction_failure
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.faults import Faults, faulty
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId
from streamkit.kafka.memory.server.requests import produce as produce_request
from streamkit.kafka.memory.server.requests import transactions

_SEND_RECORDS = 10_000  # so many of one partition are sent without waiting for the flush


class ProducerState(Enum):
    NEW = "new"
    READY = "ready"
    OPEN = "open"
    BROKEN = "broken"
    COMMITTED = "committed"
    ABORTED = "aborted"
    FAILED = "failed"


TRANSITIONS: Mapping[ProducerState, frozenset[ProducerState]] = {
    ProducerState.NEW: frozenset({ProducerState.READY, ProducerState.FAILED}),
    ProducerState.READY: frozenset({ProducerState.READY, ProducerState.OPEN, ProducerState.FAILED}),
    ProducerState.OPEN: frozenset({ProducerState.COMMITTED, ProducerState.ABORTED, ProducerState.BROKEN, ProducerState.FAILED}),
    ProducerState.BROKEN: frozenset({ProducerState.ABORTED, ProducerState.FAILED}),
    ProducerState.COMMITTED: frozenset({ProducerState.OPEN, ProducerState.FAILED}),
    ProducerState.ABORTED: frozenset({ProducerState.OPEN, ProducerState.FAILED}),
    ProducerState.FAILED: frozenset(),
}
_REPEATED = {ProducerState.COMMITTED: "commit", ProducerState.ABORTED: "abort"}


class MemoryProducer:
    """Implements `Producer`. Time-outs are accepted and never reached: the embedded cluster answers at once."""

    def __init__(self, link: Link, transactional_id: str, transaction_timeout_ms: int) -> None:
        self.state = ProducerState.NEW
        self._link = link
        self._transactional_id = transactional_id
        self._transaction_timeout_ms = transaction_timeout_ms
        self._producer = ProducerId(-1, -1)
        self._accumulator = Accumulator(link)
        self._partitions: set[TopicPartition] = set()  # what the coordinator knows to be in the transaction
        self._sent_anything = False
        self._error: KafkaError | None = None
        self._disturbance: str | None = None

    @property
    def faults(self) -> Faults:
        return self._link.faults

    @property
    def client_id(self) -> str:
        return self._link.client_id

    @faulty
    def init_transactions(self, timeout: float) -> None:
        self._require(ProducerState.READY, "init_transactions")
        self._producer = self._link.send(transactions.init_producer_id, self._transactional_id, self._transaction_timeout_ms)
        self.state = ProducerState.READY

    @faulty
    def begin(self) -> None:
        self._require(ProducerState.OPEN, "begin")
        self.state = ProducerState.OPEN
        self._partitions.clear()
        self._sent_anything = False

    @faulty
    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        if self.state is not ProducerState.OPEN:
            raise self._misused("produce")
        tp = self._accumulator.add(topic, value, key, partition, timestamp, headers)
        if self._accumulator.size(tp) >= _SEND_RECORDS:
            self._deliver(tp, self._accumulator.take(tp))

    @faulty
    def produce_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Iterable[bytes | None],
        partition: int,
        timestamps: int | Iterable[int],
        headers: Iterable[Headers | None] | None = None,
    ) -> None:
        if self.state is not ProducerState.OPEN:
            raise self._misused("produce_many")
        for tp in sorted(self._accumulator.add_many(topic, values, keys, partition, timestamps, headers)):
            if self._accumulator.size(tp) >= _SEND_RECORDS:
                self._deliver(tp, self._accumulator.take(tp))

    @faulty
    def flush(self, timeout: float) -> None:
        self._flush("flush")

    @faulty
    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, timeout: float) -> None:
        if self.state is not ProducerState.OPEN:
            raise self._misused("send_offsets")
        if not offsets:
            raise ValueError("send_offsets without offsets would not fence a stale member: send the committed offset again (R1)")
        if group.generation < 0 or not group.member_id:
            message = f"group '{group.group_id}': not a member; the broker would accept these offsets unfenced (R10)"
            raise GenerationError(message, code="UNKNOWN_MEMBER_ID", call="send_offsets")
        member = transactions.GroupMember(group.group_id, group.member_id, group.generation)
        owner = (self._transactional_id, self._producer)
        try:
            self._link.send(transactions.add_offsets_to_txn, *owner, group.group_id)
            self._sent_anything = True
            self._link.send(transactions.txn_offset_commit, *owner, member, dict(offsets))
        except BrokerError as error:
            raise self._failed(transaction_failure(error, "send_offsets")) from error

    @faulty
    def commit(self, timeout: float) -> None:
        if _REPEATED.get(self.state) == "commit":
            return
        self._flush("commit")
        self._end(commit=True)
        self.state = ProducerState.COMMITTED

    @faulty
    def abort(self, timeout: float) -> None:
        if _REPEATED.get(self.state) == "abort":
            return
        self._require(ProducerState.ABORTED, "abort")
        self._accumulator.drain()
        self._end(commit=False)
        self._error = None
        self.state = ProducerState.ABORTED

    def disturbed(self) -> str | None:
        return self._disturbance

    def close(self) -> None:
        self._accumulator.drain()
        if self.state is not ProducerState.FAILED:
            self._error = FatalError("this producer was closed", code="_DESTROY")
            self.state = ProducerState.FAILED

    def _flush(self, call: str) -> None:
        if self.state is not ProducerState.OPEN:
            raise self._misused(call)
        for tp, columns in self._accumulator.drain().items():
            self._deliver(tp, columns)
        if self._error is not None:
            raise self._failed(self._error)

    def _deliver(self, tp: TopicPartition, columns: Columns) -> None:
        """Sends records; a failure is kept, to be raised by the flush (delivery reports come later than produce)."""
        owner = (self._transactional_id, self._producer)
        try:
            if tp not in self._partitions:
                self._link.send(transactions.add_partitions_to_txn, *owner, [tp])
                self._partitions.add(tp)
                self._sent_anything = True
            self._link.send(produce_request.produce, tp, columns, *owner)
        except BrokerError as error:
            self._error = self._error or delivery_failure(error, tp, columns)

    def _end(self, *, commit: bool) -> None:
        """Ends the transaction on the coordinator, unless the coordinator never heard of it."""
        self._disturbance = self._link.faults.take_disturbance(self._link.client_id)
        if not self._sent_anything:
            return
        try:
            self._link.send(transactions.end_txn, self._transactional_id, self._producer, commit=commit)
        except BrokerError as error:
            raise self._failed(transaction_failure(error, "commit" if commit else "abort")) from error

    def _failed(self, error: KafkaError) -> KafkaError:
        self._error = error
        if isinstance(error, FencedError | FatalError):
            self.state = ProducerState.FAILED
        elif isinstance(error, AbortableError):
            self.state = ProducerState.BROKEN
        return error

    def _require(self, state: ProducerState, call: str) -> None:
        """Raises unless `call`, which leads to `state`, fits the present state."""
        if state not in TRANSITIONS[self.state]:
            raise self._misused(call)

    def _misused(self, call: str) -> KafkaError:
        """The error of a call that does not fit the state: what broke the producer before, or the caller's mistake."""
        if self._error is not None and self.state in {ProducerState.BROKEN, ProducerState.FAILED}:
            return self._error
        return FatalError(f"not possible while the producer is {self.state.value}", code="_STATE", call=call)
