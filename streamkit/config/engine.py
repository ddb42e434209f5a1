"""The settings of the engine, as one frozen value. Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from streamkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a worker works, whatever its Kafka is.

    ``commit_interval_ms``: longest time between the first change and its commit. ``max_records``: records of one poll; about
    2,000 stay in the processor's cache. ``control_interval_ms``: least time between two words on time through a repartition topic
    (a window that may close is told at once). ``heartbeat_ms``: after this long the last word is repeated.
    ``replication_factor`` -1 is the broker's default.
    """

    commit_interval_ms: int = 100
    transaction_timeout_ms: int = 30_000
    max_records: int = 2_000
    poll_timeout_ms: int = 100
    control_interval_ms: int = 1_000
    heartbeat_ms: int = 3_000
    idle_check_ms: int = 500
    restore_stall_ms: int = 120_000
    start_timeout_ms: int = 30_000
    purge_interval_ms: int = 30_000
    replication_factor: int = -1
    min_insync_replicas: int | None = None
    session_timeout_ms: int = 45_000
    max_poll_interval_ms: int = 300_000

    def __post_init__(self) -> None:
        if self.commit_interval_ms < 1 or self.commit_interval_ms > self.transaction_timeout_ms // 4:
            raise ConfigError(
                f"commit_interval ({self.commit_interval_ms} ms) must be at least 1 ms and at most a quarter of "
                f"transaction_timeout ({self.transaction_timeout_ms} ms): a slow commit would be timed out by the broker"
            )
        if self.commit_interval_ms >= self.session_timeout_ms:
            raise ConfigError(
                f"commit_interval ({self.commit_interval_ms} ms) must be below session_timeout ({self.session_timeout_ms} ms)"
            )
        if self.max_records < 1:
            raise ConfigError(f"max_records must be at least 1, got {self.max_records}")

    @property
    def deadline_s(self) -> float:
        """Longest time that the end of a transaction may take: half of what the broker would wait (R20)."""
        return self.transaction_timeout_ms / 2000
