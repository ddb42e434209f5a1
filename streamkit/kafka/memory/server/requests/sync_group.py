"""SyncGroup: asks for the share of the new generation (classic protocol)."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.classic_group import Synced


def sync_group(broker: Broker, group_id: str, member_id: str, instance_id: str | None = None) -> Synced | None:
    """None while the rebalance still waits for other members."""
    return broker.classic_group(group_id).sync(member_id, broker.clock.monotonic(), instance_id)
