"""The transaction coordinator: who owns a transactional id, and what its transaction touches.

    EMPTY           -> EMPTY, ONGOING                   a new owner (epoch + 1); or partitions or offsets are added
    ONGOING         -> PREPARE_COMMIT, PREPARE_ABORT    the owner ends it; a new owner or the time-out aborts it
    PREPARE_COMMIT  -> COMPLETE_COMMIT                  every marker is written
    PREPARE_ABORT   -> COMPLETE_ABORT
    COMPLETE_COMMIT -> EMPTY, ONGOING                   as from EMPTY
    COMPLETE_ABORT  -> EMPTY, ONGOING                   as from EMPTY

The decision (PREPARE_*) is what EndTxn is answered for. Markers follow one by one, as `Broker.defer` lets them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId

MAX_EPOCH = 2**15 - 2  # the last epoch but one; a claim beyond it takes a new producer id


class TransactionState(Enum):
    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


TRANSITIONS: Mapping[TransactionState, frozenset[TransactionState]] = {
    TransactionState.EMPTY: frozenset({TransactionState.EMPTY, TransactionState.ONGOING}),
    TransactionState.ONGOING: frozenset({TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT}),
    TransactionState.PREPARE_COMMIT: frozenset({TransactionState.COMPLETE_COMMIT}),
    TransactionState.PREPARE_ABORT: frozenset({TransactionState.COMPLETE_ABORT}),
    TransactionState.COMPLETE_COMMIT: frozenset({TransactionState.EMPTY, TransactionState.ONGOING}),
    TransactionState.COMPLETE_ABORT: frozenset({TransactionState.EMPTY, TransactionState.ONGOING}),
}
PREPARED = (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)


@dataclass(slots=True)
class Transaction:
    """What the coordinator knows of a transactional id. ``partitions`` and ``groups`` are those of the open transaction, or
    those whose markers are not written yet; ``deadline`` (monotonic) is when it is aborted."""

    transactional_id: str
    producer: ProducerId
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: dict[TopicPartition, None] = field(default_factory=dict)  # an ordered set
    groups: dict[str, None] = field(default_factory=dict)
    deadline: float = 0.0

    def to(self, state: TransactionState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"'{self.transactional_id}': {self.state} -> {state}")
        self.state = state

    def bump_epoch(self) -> None:
        self.producer = ProducerId(self.producer.id, self.producer.epoch + 1)


class TransactionCoordinator:
    """Decides what a producer may do. The caller holds the cluster's lock and writes the markers."""

    def __init__(self) -> None:
        self._transactions: dict[str, Transaction] = {}
        self._next_producer_id = 1000

    def find(self, transactional_id: str) -> Transaction | None:
        return self._transactions.get(transactional_id)

    def ongoing(self) -> list[Transaction]:
        return [t for t in self._transactions.values() if t.state is TransactionState.ONGOING]

    def claim(self, transactional_id: str, timeout_ms: int) -> Transaction:
        """Gives the id to a new owner: its epoch fences the older one. The transaction must have ended."""
        transaction = self._transactions.get(transactional_id)
        if transaction is None:
            transaction = Transaction(transactional_id, self._new_producer(), timeout_ms)
            self._transactions[transactional_id] = transaction
        transaction.to(TransactionState.EMPTY)
        if transaction.producer.epoch >= MAX_EPOCH:
            transaction.producer = self._new_producer()
        transaction.bump_epoch()
        transaction.timeout_ms = timeout_ms
        return transaction

    def _new_producer(self) -> ProducerId:
        self._next_producer_id += 1
        return ProducerId(self._next_producer_id - 1, -1)

    def owned(self, transactional_id: str, producer: ProducerId) -> Transaction:
        """The transaction of the id, if `producer` still owns it."""
        transaction = self._transactions.get(transactional_id)
        if transaction is None or transaction.producer.id != producer.id:
            raise BrokerError("INVALID_PRODUCER_ID_MAPPING", f"'{transactional_id}' does not belong to producer {producer.id}")
        if transaction.producer.epoch != producer.epoch:
            now = transaction.producer.epoch
            raise BrokerError("PRODUCER_FENCED", f"'{transactional_id}': epoch {producer.epoch} was replaced by {now}")
        return transaction

    def add(
        self, transaction: Transaction, *, partitions: Iterable[TopicPartition] = (), group: str | None = None, now: float
    ) -> None:
        """Makes partitions, or the offsets of a group, part of the transaction; the first one opens it."""
        if transaction.state in PREPARED:
            raise _still_ending(transaction)
        if transaction.state is not TransactionState.ONGOING:
            transaction.to(TransactionState.ONGOING)
            transaction.deadline = now + transaction.timeout_ms / 1000
        transaction.partitions.update(dict.fromkeys(partitions))
        if group is not None:
            transaction.groups[group] = None

    def prepare(self, transaction: Transaction, *, commit: bool) -> bool:
        """Decides the end of the transaction; False if that very end was decided before and is complete.

        Brokers without transactions v2 cannot tell a repetition of the last EndTxn from one that was meant for the open
        transaction: both name the same epoch (KAFKA-17754).
        """
        state = transaction.state
        if state is TransactionState.ONGOING:
            transaction.to(TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT)
            return True
        if state is (TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT):
            return False
        if state is (TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT):
            raise _still_ending(transaction)
        raise BrokerError("INVALID_TXN_STATE", f"'{transaction.transactional_id}' has no open transaction: {state.value}")

    def complete_if_written(self, transaction: Transaction) -> None:
        if not transaction.partitions and not transaction.groups:
            commit = transaction.state is TransactionState.PREPARE_COMMIT
            transaction.to(TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT)


def _still_ending(transaction: Transaction) -> BrokerError:
    return BrokerError("CONCURRENT_TRANSACTIONS", f"the markers of '{transaction.transactional_id}' are not all written yet")
