"""InitProducerId: makes the caller the owner of a transactional id, with the next epoch."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import ProducerId
from streamkit.kafka.memory.server.requests.end_txn import fence_and_abort
from streamkit.kafka.memory.server.transaction import PREPARED, TransactionState

MAX_TRANSACTION_TIMEOUT_MS = 900_000  # transaction.max.timeout.ms of a broker with default settings


def init_producer_id(broker: Broker, transactional_id: str, timeout_ms: int, current: ProducerId | None = None) -> ProducerId:
    """Makes the caller the owner of the transactional id: aborts what its predecessor left open and bumps the epoch.

    ``current`` is the producer of a caller that only wants a new epoch (KIP-360); it is refused if it was replaced.
    CONCURRENT_TRANSACTIONS while markers of the last transaction are not written yet.
    """
    if not 0 < timeout_ms <= MAX_TRANSACTION_TIMEOUT_MS:
        raise BrokerError("INVALID_TRANSACTION_TIMEOUT", f"{timeout_ms} is not within 1 and {MAX_TRANSACTION_TIMEOUT_MS}")
    transaction = broker.transactions.find(transactional_id)
    if transaction is not None and current is not None:
        broker.transactions.owned(transactional_id, current)
    if transaction is not None and transaction.state is TransactionState.ONGOING:
        fence_and_abort(broker, transaction)
    if transaction is not None and transaction.state in PREPARED:
        raise BrokerError("CONCURRENT_TRANSACTIONS", f"the markers of '{transactional_id}' are not all written yet")
    return broker.transactions.claim(transactional_id, timeout_ms).producer
