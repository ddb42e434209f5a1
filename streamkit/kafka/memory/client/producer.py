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

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from streamkit.errors import AbortableError, FatalError, FencedError, GenerationError, KafkaError
from streamkit.kafka.client import Committed, GroupMetadata, Headers, TopicPartition
from streamkit.kafka.memory.client.accumulator import Accumulator
from streamkit.kafka.memory.client.classify import transaction_failure
from streamkit.kafka.memory.client.link import Call, Link
from streamkit.kafka.memory.client.sender import Sender
from streamkit.kafka.memory.faults import Faults, faulty
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId
from streamkit.kafka.memory.server.requests.add_offsets_to_txn import add_offsets_to_txn
from streamkit.kafka.memory.server.requests.end_txn import end_txn
from streamkit.kafka.memory.server.requests.init_producer_id import init_producer_id
from streamkit.kafka.memory.server.requests.txn_offset_commit import GroupMember, txn_offset_commit

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
    """Implements `Producer`. ``guards`` is whether it refuses, like our client of a real Kafka, offsets that no broker would
    fence; librdkafka itself does not, and the tests of the engine's own guards need it so."""

    def __init__(self, link: Link, transactional_id: str, transaction_timeout_ms: int, *, guards: bool = True) -> None:
        self.state = ProducerState.NEW
        self._link = link
        self._transactional_id = transactional_id
        self._transaction_timeout_ms = transaction_timeout_ms
        self._guards = guards
        self._producer = ProducerId(-1, -1)
        self._accumulator = Accumulator(link)
        self._sender = Sender(link, transactional_id, transaction_timeout_ms / 2000)  # R20: half, so that an abort is in time
        self._error: KafkaError | None = None
        self._disturbance: str | None = None

    @property
    def faults(self) -> Faults:
        return self._link.faults

    @property
    def client_id(self) -> str:
        return self._link.client_id

    # ---- transaction -----------------------------------------------------------------------------------------------

    @faulty
    def init_transactions(self, timeout: float) -> None:
        self._require(ProducerState.READY, "init_transactions")
        self._claim(self._link.call("init_transactions", timeout), None)
        self.state = ProducerState.READY

    def _claim(self, call: Call, current: ProducerId | None) -> None:
        """A producer id with a new epoch, hence new sequence numbers; ``current`` if only the epoch is wanted (KIP-360)."""
        wanted = (self._transactional_id, self._transaction_timeout_ms, current)
        try:
            self._producer = call.send("InitProducerId", init_producer_id, *wanted)
        except BrokerError as error:
            raise self._failed(transaction_failure(error, call.name)) from error
        self._sender.use(self._producer)

    @faulty
    def begin(self) -> None:
        self._require(ProducerState.OPEN, "begin")
        self.state = ProducerState.OPEN
        self._sender.begin()

    @faulty
    def flush(self, timeout: float) -> None:
        self._flush(self._link.call("flush", timeout))

    @faulty
    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, timeout: float) -> None:
        if self.state is not ProducerState.OPEN:
            raise self._misused("send_offsets")
        if self._guards:
            _refuse_unfenced(offsets, group)
        if not offsets:
            return  # as librdkafka, which asks nobody then
        instance_id = group.opaque if isinstance(group.opaque, str) else None
        member = GroupMember(group.group_id, group.member_id, group.generation, instance_id)
        owner = (self._transactional_id, self._producer)
        call = self._link.call("send_offsets", timeout)
        try:
            self._sender.tell_coordinator(call, "AddOffsetsToTxn", add_offsets_to_txn, *owner, group.group_id)
            call.send("TxnOffsetCommit", txn_offset_commit, *owner, member, dict(offsets))
        except BrokerError as error:
            raise self._failed(transaction_failure(error, "send_offsets")) from error
        finally:
            self._note_lost(call)

    @faulty
    def commit(self, timeout: float) -> None:
        if _REPEATED.get(self.state) == "commit":
            return
        call = self._link.call("commit", timeout)
        self._flush(call)
        self._end(call, commit=True)
        self.state = ProducerState.COMMITTED

    @faulty
    def abort(self, timeout: float) -> None:
        if _REPEATED.get(self.state) == "abort":
            return
        self._require(ProducerState.ABORTED, "abort")
        self._accumulator.drain()
        self._sender.drop()
        call = self._link.call("abort", timeout)
        self._end(call, commit=False)
        if self._sender.needs_epoch:
            self._claim(call, self._producer)
        if self._sender.lacks_records:
            # The next records would skip the sequence numbers of those that were not delivered.
            self._disturbance = self._disturbance or "a batch was not delivered, so sequence numbers are missing"
        self._error = None
        self.state = ProducerState.ABORTED

    def disturbed(self) -> str | None:
        return self._disturbance

    def close(self) -> None:
        self._accumulator.drain()
        if self.state is not ProducerState.FAILED:
            self._error = FatalError("this producer was closed", code="_DESTROY")
            self.state = ProducerState.FAILED

    def _flush(self, call: Call) -> None:
        if self.state is not ProducerState.OPEN:
            raise self._misused(call.name)
        for tp, columns in self._accumulator.drain().items():
            self._sender.add(tp, columns)
        self._sender.send(call)
        if self._sender.failure is not None:
            raise self._failed(self._sender.failure)

    def _end(self, call: Call, *, commit: bool) -> None:
        """Ends the transaction on the coordinator, unless the coordinator never heard of it. What happens to the request on its
        way is kept for `disturbed` (R6)."""
        self._disturbance = self._disturbance or self._link.faults.take_disturbance(self._link.client_id)
        if not self._sender.coordinator_heard:
            return
        try:
            call.send("EndTxn", end_txn, self._transactional_id, self._producer, commit=commit)
        except BrokerError as error:
            raise self._failed(transaction_failure(error, call.name)) from error
        finally:
            self._note_lost(call)

    def _note_lost(self, call: Call) -> None:
        """A request that got no answer may still arrive: in a later transaction of this epoch it would act on that (R6)."""
        if call.lost:
            self._disturbance = f"{call.lost} requests of {call.name} got no answer"

    # ---- records ---------------------------------------------------------------------------------------------------

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
        self._send_if_full(tp)

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
            self._send_if_full(tp)

    def _send_if_full(self, tp: TopicPartition) -> None:
        if self._accumulator.size(tp) >= _SEND_RECORDS:
            self._sender.add(tp, self._accumulator.take(tp))
            self._sender.try_to_send()

    # ---- errors ----------------------------------------------------------------------------------------------------

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


def _refuse_unfenced(offsets: Mapping[TopicPartition, Committed], group: GroupMetadata) -> None:
    if not offsets:
        raise ValueError("send_offsets without offsets would not fence a stale member: send the committed offset again (R1)")
    if group.generation < 0 or not group.member_id:
        message = f"group '{group.group_id}': not a member; the broker would accept these offsets unfenced (R10)"
        raise GenerationError(message, code="UNKNOWN_MEMBER_ID", call="send_offsets")
