"""How a process takes part in its groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GroupProtocol = Literal["classic", "consumer"]


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Times in milliseconds. ``heartbeat_interval_ms`` 0: with every poll, so that changes are noticed at once.
    ``max_poll_interval_ms`` None: a member that does not poll is never given up. With the consumer protocol session and
    heartbeats are the broker's settings, but for the 0."""

    protocol: GroupProtocol = "classic"
    instance_id: str | None = None
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 0
    max_poll_interval_ms: int | None = None

    @property
    def rebalance_timeout_ms(self) -> int:
        """As in librdkafka: a member may take as long for a rebalance as for a poll."""
        return self.max_poll_interval_ms or 300_000
