"""How to reach a cluster, and the librdkafka configuration that follows from it.

Every rule that a configuration can break is held here: properties that would break a guarantee are refused with the
reason (R22), and the time-outs that depend on each other are derived from three arguments (R20).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from streamkit.errors import ConfigError

Config = dict[str, Any]
FETCH_MAX_BYTES: Final = 4_194_304

# librdkafka warns about properties of the other kind of client, so what the user passes is split by these names
# (columns "P" and "C" of its CONFIGURATION.md, version 2.16).
PRODUCER_ONLY: Final = frozenset({
    "acks", "batch.num.messages", "batch.size", "compression.codec", "compression.level", "compression.type",
    "delivery.report.only.error", "delivery.timeout.ms", "enable.gapless.guarantee", "enable.idempotence", "linger.ms",
    "message.send.max.retries", "message.timeout.ms", "partitioner", "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes", "queue.buffering.max.messages", "queue.buffering.max.ms", "queuing.strategy",
    "request.required.acks", "request.timeout.ms", "retries", "sticky.partitioning.linger.ms", "transaction.timeout.ms",
    "transactional.id",
})  # fmt: skip
CONSUMER_ONLY: Final = frozenset({
    "auto.commit.enable", "auto.commit.interval.ms", "auto.offset.reset", "check.crcs", "consume.callback.max.messages",
    "coordinator.query.interval.ms", "enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof",
    "fetch.error.backoff.ms", "fetch.max.bytes", "fetch.message.max.bytes", "fetch.min.bytes", "fetch.queue.backoff.ms",
    "fetch.wait.max.ms", "group.id", "group.instance.id", "group.protocol", "group.protocol.type", "group.remote.assignor",
    "heartbeat.interval.ms", "isolation.level", "max.partition.fetch.bytes", "max.poll.interval.ms",
    "offset.store.method", "offset.store.path", "offset.store.sync.interval.ms", "partition.assignment.strategy",
    "queued.max.messages.kbytes", "queued.min.messages", "session.timeout.ms",
})  # fmt: skip


class Guard(NamedTuple):
    """A property that is not the user's: the values that mean what streamkit sets anyway, and why others are refused."""

    allowed: tuple[str, ...]
    reason: str


_ASSIGNOR = "tasks need an assignor that keeps partitions of the same number together, and only range does"
_OWN_ARGUMENT = "it has a setting of its own, from which other time-outs are derived"
_OFFSETS = "offsets are committed in the transaction with the results, never by the client on its own"

GUARDED: Final[Mapping[str, Guard]] = {
    "enable.auto.commit": Guard(("false",), _OFFSETS),
    "auto.commit.enable": Guard(("false",), _OFFSETS),
    "enable.auto.offset.store": Guard(("false",), _OFFSETS),
    "offset.store.method": Guard(("broker",), _OFFSETS),
    "isolation.level": Guard(("read_committed",), "read_uncommitted would process records of aborted transactions"),
    "auto.offset.reset": Guard(
        ("error",), "the start position is chosen once and committed; afterwards a lost offset stops the service"
    ),
    "allow.auto.create.topics": Guard(("false",), "a topic made by accident has the wrong partitions and settings"),
    "enable.partition.eof": Guard(("true",), "restore and idleness are decided by the end of a partition"),
    "group.protocol": Guard((), "it has a setting of its own, group_protocol"),
    "group.remote.assignor": Guard((), _ASSIGNOR),
    "partition.assignment.strategy": Guard(("range",), _ASSIGNOR),
    "group.id": Guard((), "the group is the name of the app"),
    "group.instance.id": Guard((), "all workers would share it and fence each other; static_membership gives each its own"),
    "enable.idempotence": Guard(("true",), "without it a retried request writes records twice"),
    "acks": Guard(("all", "-1"), "fewer acknowledgements lose records when a broker fails"),
    "request.required.acks": Guard(("all", "-1"), "fewer acknowledgements lose records when a broker fails"),
    "transactional.id": Guard((), "it names the worker's slot; another one would not fence its predecessor"),
    "partitioner": Guard(("murmur2_random",), "keys must go to the partition that Java clients choose, or joins miss them"),
    "delivery.report.only.error": Guard(("true",), "reports of success are not used and cost time"),
    "message.timeout.ms": Guard((), "it is derived from the transaction time-out, which it must stay below"),
    "delivery.timeout.ms": Guard((), "it is derived from the transaction time-out, which it must stay below"),
    "log_level": Guard((), "log lines are read; set the level of the Python logger 'streamkit.kafka'"),
    "log.connection.close": Guard(("true",), "log lines on the coordinator's connection are read"),
    "log.queue": Guard(("true",), "log lines go to the Python logger 'streamkit.kafka'"),
    "bootstrap.servers": Guard((), "it has a setting of its own"),
    "metadata.broker.list": Guard((), "it is an old name of bootstrap.servers, which has a setting of its own"),
    "client.id": Guard((), "it is the name of the app with the slot of the worker, so that brokers can tell workers apart"),
    "transaction.timeout.ms": Guard((), _OWN_ARGUMENT),
    "session.timeout.ms": Guard((), _OWN_ARGUMENT),
    "max.poll.interval.ms": Guard((), _OWN_ARGUMENT),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """One cluster and how its clients behave. Times are milliseconds.

    ``properties`` passes any other librdkafka property through to all clients that know it (security, buffers, DNS).
    Raises ConfigError for values that break an order of R20 or a guarantee of R22.
    """

    bootstrap_servers: str
    client_id: str = "streamkit"
    transaction_timeout_ms: int = 30_000
    session_timeout_ms: int = 45_000
    max_poll_interval_ms: int = 300_000
    fetch_queue_records: int = 50_000
    fetch_queue_kbytes: int = 65_536
    send_queue_records: int = 500_000
    send_queue_kbytes: int = 524_288
    properties: Mapping[str, str] = field(default_factory=dict)
    group_protocol: Literal["classic", "consumer"] = "classic"
    group_instance_id: str | None = None  # of a static member

    def __post_init__(self) -> None:
        if not self.bootstrap_servers.strip():
            raise ConfigError("kafka: no bootstrap servers given; name at least one as host:port")
        refuse_guarded(self.properties)
        if not 1_000 <= self.transaction_timeout_ms < self.session_timeout_ms <= self.max_poll_interval_ms:
            raise ConfigError(
                f"kafka: wanted is 1,000 <= transaction_timeout_ms ({self.transaction_timeout_ms}) < session_timeout_ms "
                f"({self.session_timeout_ms}) <= max_poll_interval_ms ({self.max_poll_interval_ms}): the transaction of a worker "
                "that is gone must have ended before its partitions are given to another"
            )
        if self.socket_timeout_ms > self.transaction_timeout_ms:
            raise ConfigError(
                f"kafka: socket.timeout.ms ({self.socket_timeout_ms}) is above transaction_timeout_ms "
                f"({self.transaction_timeout_ms}): a lost request would never be noticed within its transaction"
            )

    @property
    def socket_timeout_ms(self) -> int:
        """After how long the producer calls a request lost; R6 counts a commit that took this long as disturbed."""
        given = self.properties.get("socket.timeout.ms")
        if given is None:
            return min(10_000, self.transaction_timeout_ms // 3)
        try:
            return int(given)
        except ValueError:
            raise ConfigError(f"kafka: socket.timeout.ms must be a number of milliseconds, not {given!r}") from None

    @property
    def silence_ms(self) -> int:
        """After how long consumers and admin clients give a silent connection up, and ask another broker who leads.

        librdkafka's default, 60 s, hides a stopped broker for a minute. Half a session, so that a worker can still find the new
        coordinator within its session; not below 3 s (librdkafka warns below fetch.wait.max.ms + 1 s), at most 10 s.
        """
        return min(10_000, max(3_000, self.session_timeout_ms // 2))

    @property
    def message_timeout_ms(self) -> int:
        """After how long an unacknowledged record fails its transaction: half, so that the abort still comes in time (R20)."""
        return self.transaction_timeout_ms // 2

    @property
    def fetch_max_bytes(self) -> int:
        """Of one response, of all partitions together, compressed. librdkafka refuses less than message.max.bytes.

        It looks at the bounds of its queue before it asks, not at what then comes; by its default, 52 MB, each partition may
        bring 2 MB. Behind a backlog in 12 partitions that was a queue of 320 MB, of small records, well compressed; it is 90 now.
        """
        given = self.properties.get("message.max.bytes", "0")
        try:
            return max(FETCH_MAX_BYTES, int(given))
        except ValueError:
            raise ConfigError(f"kafka: message.max.bytes must be a number of bytes, not {given!r}") from None

    def consumer_config(self, group_id: str) -> Config:
        return {
            **self._common(),
            "socket.timeout.ms": self.silence_ms,
            "group.id": group_id,
            **self._membership(),
            "max.poll.interval.ms": self.max_poll_interval_ms,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            # With the default of 1000 the fetcher sleeps a second whenever the local queue is full.
            "fetch.queue.backoff.ms": 2,
            "queued.min.messages": self.fetch_queue_records,
            "queued.max.messages.kbytes": self.fetch_queue_kbytes,
            "fetch.message.max.bytes": 2_000_000,
            "fetch.max.bytes": self.fetch_max_bytes,
            **self._passed_on(without=PRODUCER_ONLY),
        }

    def _membership(self) -> Config:
        """R21. With KIP-848 session and heartbeats are the group's settings on the broker, and the client refuses its own."""
        static = {} if self.group_instance_id is None else {"group.instance.id": self.group_instance_id}
        if self.group_protocol == "consumer":
            return {"group.protocol": "consumer", "group.remote.assignor": "range", **static}
        return {
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": self.session_timeout_ms,
            # By a heartbeat a member learns of a rebalance, for which the group waits: so one in a second, not in three.
            "heartbeat.interval.ms": max(1, min(1_000, self.session_timeout_ms // 3)),
            **static,
        }

    def producer_config(self, transactional_id: str) -> Config:
        return {
            **self._common(),
            "socket.timeout.ms": self.socket_timeout_ms,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": self.transaction_timeout_ms,
            "message.timeout.ms": self.message_timeout_ms,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": self.send_queue_records,
            "queue.buffering.max.kbytes": self.send_queue_kbytes,
            "delivery.report.only.error": True,
            **self._passed_on(without=CONSUMER_ONLY),
            # R6 reads what happens on the coordinator's connection. Normal log lines are not enough: an error that is
            # identical to the last one is not logged again for 30 s. The debug context has them all, and costs about
            # four lines per transaction.
            "debug": ",".join(dict.fromkeys([*self._debug_contexts(), "broker"])),
        }

    def admin_config(self) -> Config:
        return {
            **self._common(),
            "socket.timeout.ms": self.silence_ms,
            **self._passed_on(without=PRODUCER_ONLY | CONSUMER_ONLY),
        }

    @property
    def debugs(self) -> bool:
        """Whether the user asked for librdkafka's debug lines."""
        return bool(self._debug_contexts())

    def _debug_contexts(self) -> list[str]:
        return [context.strip() for context in self.properties.get("debug", "").split(",") if context.strip()]

    def _common(self) -> Config:
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.client_id,
            # Brokers that restart are found again within a second instead of ten.
            "reconnect.backoff.max.ms": 1_000,
            # KIP-714 telemetry would push once more while a client is being dropped.
            "enable.metrics.push": False,
        }

    def _passed_on(self, *, without: frozenset[str]) -> Config:
        return {name: value for name, value in self.properties.items() if name not in without}


def refuse_guarded(properties: Mapping[str, str]) -> None:
    """Raises ConfigError for the first property that would break a guarantee (R22), with the reason."""
    for name, value in properties.items():
        guard = GUARDED.get(name.removeprefix("topic."))
        if guard is not None and str(value).strip().lower() not in guard.allowed:
            raise ConfigError(
                f"kafka: the property {name}={value} is refused: {guard.reason}. Remove it from the kafka properties"
            )
