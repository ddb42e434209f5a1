"""The transaction coordinator: who owns a transactional id, and what its transaction touches.

    EMPTY           -> EMPTY, ONGOING                   a new owner (epoch + 1); or partitions or offsets are added
    ONGOING         -> COMPLETE_COMMIT, COMPLETE_ABORT  the owner ends it; a new owner or the time-out aborts it
    COMPLETE_COMMIT -> EMPTY, ONGOING                   as from EMPTY
    COMPLETE_ABORT  -> EMPTY, ONGOING                   as from EMPTY

Markers are written in the same breath as the decision; a cluster with delays would put PREPARE_* states in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId


class TransactionState(Enum):
    EMPTY = "Empty"
    ONGOING = "Ongoing"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


TRANSITIONS: Mapping[TransactionState, frozenset[TransactionState]] = {
    TransactionState.EMPTY: frozenset({TransactionState.EMPTY, TransactionState.ONGOING}),
    TransactionState.ONGOING: frozenset({TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT}),
    TransactionState.COMPLETE_COMMIT: frozenset({TransactionState.EMPTY, TransactionState.ONGOING}),
    TransactionState.COMPLETE_ABORT: frozenset({TransactionState.EMPTY, TransactionState.ONGOING}),
}


@dataclass(slots=True)
class Transaction:
    """What the coordinator knows of a transactional id. ``partitions`` and ``groups`` are those of the open transaction."""

    transactional_id: str
    producer: ProducerId
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: dict[TopicPartition, None] = field(default_factory=dict)  # an ordered set
    groups: dict[str, None] = field(default_factory=dict)
    started_ms: int = 0

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
            transaction = Transaction(transactional_id, ProducerId(self._next_producer_id, -1), timeout_ms)
            self._transactions[transactional_id] = transaction
            self._next_producer_id += 1
        transaction.to(TransactionState.EMPTY)
        transaction.bump_epoch()
        transaction.timeout_ms = timeout_ms
        return transaction

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
        self, transaction: Transaction, *, partitions: Iterable[TopicPartition] = (), group: str | None = None, now_ms: int
    ) -> None:
        """Makes partitions, or the offsets of a group, part of the transaction; the first one opens it."""
        if transaction.state is not TransactionState.ONGOING:
            transaction.to(TransactionState.ONGOING)
            transaction.started_ms = now_ms
        transaction.partitions.update(dict.fromkeys(partitions))
        if group is not None:
            transaction.groups[group] = None

    def complete(self, transaction: Transaction, *, commit: bool) -> None:
        transaction.to(TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT)
        transaction.partitions.clear()
        transaction.groups.clear()
