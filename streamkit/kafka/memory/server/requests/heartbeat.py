"""Heartbeat: keeps the session, and tells of a rebalance (classic protocol)."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker


def heartbeat(broker: Broker, group_id: str, member_id: str, generation: int, instance_id: str | None = None) -> None:
    broker.classic_group(group_id).heartbeat(member_id, generation, broker.clock.monotonic(), instance_id)
