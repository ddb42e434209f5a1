"""Batches on their way to the partitions: sequence numbers, repetition, and what could not be delivered.

    queued -> sent -> acknowledged          the broker has appended it, or had before (a repetition)
                   -> sent                  no answer, or not now: sent again, first, with the same sequence numbers
                   -> failed                refused, or older than the message time-out; its sequence numbers stay used

As in librdkafka numbers are given when a batch is made and never taken back, so a batch that failed leaves a gap that the broker
answers with OUT_OF_ORDER_SEQUENCE_NUMBER, until a new epoch starts the numbers anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from streamkit.errors import AbortableError, KafkaError, RetriableError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.client.classify import delivery_failure
from streamkit.kafka.memory.client.link import Call, Link
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import MAX_SEQUENCE, ProducerId
from streamkit.kafka.memory.server.requests.add_partitions_to_txn import add_partitions_to_txn
from streamkit.kafka.memory.server.requests.produce import produce

P = ParamSpec("P")


@dataclass(slots=True, eq=False)
class Sent:
    """A batch with its sequence numbers; ``expires`` (monotonic) is when it counts as failed."""

    tp: TopicPartition
    columns: Columns
    records: int
    first_sequence: int
    expires: float


class Sender:
    """Owns what was given to it until the broker has it."""

    def __init__(self, link: Link, transactional_id: str, message_timeout_s: float) -> None:
        self.failure: KafkaError | None = None  # the first one of the transaction
        self.coordinator_heard = False  # of this transaction, perhaps
        self.needs_epoch = False  # numbers are missing and the broker may not know: only a new epoch helps
        self.lacks_records = False  # something failed, in this transaction
        self._link = link
        self._transactional_id = transactional_id
        self._message_timeout_s = message_timeout_s
        self._producer = ProducerId(-1, -1)
        self._next: dict[TopicPartition, int] = {}
        self._queue: deque[Sent] = deque()
        self._added: set[TopicPartition] = set()  # what the coordinator knows to be in the transaction

    def use(self, producer: ProducerId) -> None:
        """Starts the sequence numbers of a new producer id or epoch."""
        self._producer = producer
        self._next.clear()
        self.needs_epoch = False

    def begin(self) -> None:
        self._added.clear()
        self.coordinator_heard = False
        self.failure = None
        self.lacks_records = False

    def add(self, tp: TopicPartition, columns: Columns) -> None:
        records = len(columns)
        first = self._next.get(tp, 0)
        self._next[tp] = (first + records) % (MAX_SEQUENCE + 1)
        expires = self._link.clock.monotonic() + self._message_timeout_s
        self._queue.append(Sent(tp, columns, records, first, expires))

    def try_to_send(self) -> None:
        """Sends what is queued as far as it goes without repeating anything."""
        try:
            self.send(self._link.call("produce", 0.0))
        except RetriableError:
            return  # the flush will

    def send(self, call: Call) -> None:
        """Sends what is queued, in order. A failure is kept, to be raised by the flush (delivery reports come later than
        produce). RetriableError, with the rest still queued, if the time of the call is up."""
        while self._queue:
            batch = self._queue[0]
            try:
                if self._link.clock.monotonic() > batch.expires:
                    self._fail(_timed_out(batch.tp, batch.records, self._message_timeout_s), new_epoch=True)
                else:
                    self._deliver(batch, call)
            except BrokerError as error:
                self._fail(
                    delivery_failure(error, batch.tp, batch.columns), new_epoch=error.code == "OUT_OF_ORDER_SEQUENCE_NUMBER"
                )
            self._queue.popleft()

    def drop(self) -> None:
        """Forgets what is queued, because the transaction is aborted: whether the broker has it is not known."""
        if self._queue:
            self.needs_epoch = True
            self._queue.clear()

    def _deliver(self, batch: Sent, call: Call) -> None:
        owner = (self._transactional_id, self._producer)
        if batch.tp not in self._added:
            self.tell_coordinator(call, "AddPartitionsToTxn", add_partitions_to_txn, *owner, [batch.tp])
            self._added.add(batch.tp)
        call.send("Produce", produce, batch.tp, batch.columns, *owner, batch.first_sequence, batch.records)

    def tell_coordinator(
        self, call: Call, request: str, handler: Callable[Concatenate[Broker, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Makes something part of the transaction. Only a refusal leaves it certain that nothing was."""
        heard, self.coordinator_heard = self.coordinator_heard, True
        try:
            call.send(request, handler, *args, **kwargs)
        except BrokerError:
            self.coordinator_heard = heard or call.lost > 0
            raise

    def _fail(self, error: KafkaError, *, new_epoch: bool) -> None:
        self.failure = self.failure or error
        self.lacks_records = True
        self.needs_epoch = self.needs_epoch or new_epoch


def _timed_out(tp: TopicPartition, records: int, seconds: float) -> KafkaError:
    message = f"{records} records for {tp} were not acknowledged within {seconds:g} s"
    return AbortableError(message, code="_MSG_TIMED_OUT", call="flush")
