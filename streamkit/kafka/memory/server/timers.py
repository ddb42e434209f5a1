"""What brokers do by themselves in time: end sessions, rebalances and transactions that took too long, and outages."""

from __future__ import annotations

from collections.abc import Iterator

from streamkit.kafka.memory.server.broker import GROUP_REQUESTS, TRANSACTION_REQUESTS, Broker
from streamkit.kafka.memory.server.requests.end_txn import fence_and_abort


def next_due(broker: Broker) -> float | None:
    """When `run_due` has something to do next (monotonic seconds), or None."""
    return min(_dues(broker), default=None)


def _dues(broker: Broker) -> Iterator[float]:
    loading = broker.outage_end(GROUP_REQUESTS)
    for group in broker.groups.values():
        due = group.membership.next_due()
        if due is not None:
            yield max(due, loading)
    loading = broker.outage_end(TRANSACTION_REQUESTS)
    yield from (max(transaction.deadline, loading) for transaction in broker.transactions.ongoing())
    yield from (outage.until for outage in broker.outages)


def run_due(broker: Broker) -> None:
    """Does what is due. A coordinator that is away or loads does nothing meanwhile."""
    now = broker.clock.monotonic()
    changed = broker.drop_ended_outages(now)
    if broker.outage_end(GROUP_REQUESTS) <= now:
        for group in broker.groups.values():
            changed |= group.membership.run_due(now)
    if broker.outage_end(TRANSACTION_REQUESTS) <= now:
        for transaction in broker.transactions.ongoing():
            if transaction.deadline <= now:
                fence_and_abort(broker, transaction)
                changed = True
    if changed:
        broker.touch()
