"""Broker settings that make tests quick: what is decided by a time-out at a human pace is decided at a test's pace."""

from __future__ import annotations

KAFKA_VERSION = "4.3.1"

TEST_SETTINGS = {
    # Topics are created by whoever owns them; a broker that makes them up on first use would hide a missing one.
    "auto.create.topics.enable": "false",
    # 4 partitions instead of 50: the first consumer group and the first transaction wait for fewer logs to be made.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # Groups: no wait for further members (default 3 s); short sessions allowed; KIP-848 answers at once (default 5 s).
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.session.timeout.ms": "1000",
    # Transactions whose producer died are aborted soon after their time-out (default: looked for every 10 s).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # Compaction starts within a moment; a smaller buffer starts quicker.
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
    # A killed node is noticed in 2 s (default 9), a lost controller in 1 s.
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "2000",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
}


def replication_settings(nodes: int) -> dict[str, str]:
    """Internal topics replicated as far as the cluster allows: three copies of which two must have a record."""
    copies, in_sync = str(min(3, nodes)), str(min(2, nodes))
    return {
        "default.replication.factor": copies,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
