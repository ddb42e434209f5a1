"""LeaveGroup: goes without waiting for the session to expire (classic protocol)."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker


def leave_group(broker: Broker, group_id: str, member_id: str, instance_id: str | None = None) -> None:
    broker.classic_group(group_id).leave(member_id, broker.clock.monotonic(), instance_id)
    broker.touch()
