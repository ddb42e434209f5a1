"""DescribeConfigs of a group: the settings of the consumer group protocol, which members cannot choose."""

from __future__ import annotations

from streamkit.kafka.memory.server.broker import Broker


def session_timeout_ms(broker: Broker, group_id: str) -> int:  # noqa: ARG001 - no group has a setting of its own
    """consumer.session.timeout.ms of a group, as KIP-848 has it."""
    return broker.consumer_session_timeout_ms
