"""A topic: its partitions, its identity and its configuration."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping

from streamkit.kafka.client import TopicInfo, TopicPartition
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import PartitionLog

MAX_INT64 = 2**63 - 1
DEFAULTS: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "delete.retention.ms": "86400000",
    "max.compaction.lag.ms": str(MAX_INT64),
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": str(MAX_INT64),
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
_RANGES: Mapping[str, tuple[float, float]] = {  # of numbers, ends included
    "delete.retention.ms": (0, MAX_INT64),
    "max.compaction.lag.ms": (1, MAX_INT64),
    "max.message.bytes": (0, 2**31 - 1),
    "message.timestamp.after.max.ms": (0, MAX_INT64),
    "message.timestamp.before.max.ms": (0, MAX_INT64),
    "min.cleanable.dirty.ratio": (0, 1),
    "min.compaction.lag.ms": (0, MAX_INT64),
    "min.insync.replicas": (1, 2**31 - 1),
    "retention.bytes": (-MAX_INT64 - 1, MAX_INT64),
    "retention.ms": (-1, MAX_INT64),
    "segment.bytes": (1024 * 1024, 2**31 - 1),
    "segment.ms": (1, MAX_INT64),
}
_CHOICES: Mapping[str, frozenset[str]] = {
    "compression.type": frozenset({"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}),
    "message.timestamp.type": frozenset({"CreateTime", "LogAppendTime"}),
    "unclean.leader.election.enable": frozenset({"true", "false"}),
}
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_POLICIES = {"delete", "compact"}


class TopicConfig:
    """Effective settings of a topic, as text like Kafka gives them, and the ones that the broker acts on as values."""

    def __init__(self, overrides: Mapping[str, str]) -> None:
        unknown = sorted(set(overrides) - set(DEFAULTS))
        if unknown:
            raise BrokerError("INVALID_CONFIG", f"Unknown topic config name: {', '.join(unknown)}")
        self.text: Mapping[str, str] = {**DEFAULTS, **overrides}
        for name, text in overrides.items():
            _check(name, text)
        self.policies = {policy.strip() for policy in self.text["cleanup.policy"].split(",") if policy.strip()}
        if not self.policies <= _POLICIES:
            raise BrokerError("INVALID_CONFIG", f"Invalid value {self.text['cleanup.policy']} for cleanup.policy")
        self.log_append_time = self.text["message.timestamp.type"] == "LogAppendTime"
        self.max_message_bytes = self._number("max.message.bytes")
        self.segment_bytes = self._number("segment.bytes")
        self.segment_ms = self._number("segment.ms")
        self.retention_ms = self._number("retention.ms")
        self.retention_bytes = self._number("retention.bytes")
        self.delete_retention_ms = self._number("delete.retention.ms")
        self.timestamp_before_max_ms = self._number("message.timestamp.before.max.ms")
        self.timestamp_after_max_ms = self._number("message.timestamp.after.max.ms")

    def _number(self, name: str) -> int:
        return int(self.text[name])


def _check(name: str, text: str) -> None:
    if name in _CHOICES and text not in _CHOICES[name]:
        raise _invalid(name, text)
    if name in _RANGES:
        try:
            number = float(text) if name == "min.cleanable.dirty.ratio" else int(text)
        except ValueError:
            raise _invalid(name, text) from None
        least, most = _RANGES[name]
        if not least <= number <= most:
            raise _invalid(name, text)


def _invalid(name: str, text: str) -> BrokerError:
    return BrokerError("INVALID_CONFIG", f"Invalid value {text} for {name}")


class Topic:
    """A named set of partition logs. A topic that is deleted and made again has another id."""

    def __init__(self, name: str, partitions: int, config: Mapping[str, str], incarnation: int) -> None:
        if not _LEGAL_NAME.fullmatch(name) or name in {".", ".."}:
            raise BrokerError("TOPIC_EXCEPTION", f"'{name}' is not a legal topic name")
        if partitions < 1:
            raise BrokerError("INVALID_PARTITIONS", f"topic {name}: {partitions} partitions")
        self.name = name
        self.config = TopicConfig(config)
        self.logs = [PartitionLog(TopicPartition(name, p)) for p in range(partitions)]
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}/{incarnation}")
        self.topic_id = base64.urlsafe_b64encode(identity.bytes).rstrip(b"=").decode()

    def add_partitions(self, total: int) -> None:
        if total <= len(self.logs):
            raise BrokerError(
                "INVALID_PARTITIONS", f"topic {self.name} has {len(self.logs)} partitions already, not below {total}"
            )
        self.logs += [PartitionLog(TopicPartition(self.name, p)) for p in range(len(self.logs), total)]

    def clean(self, now_ms: int) -> None:
        """What the log cleaner and the retention task do in one pass each."""
        config = self.config
        for log in self.logs:
            if "compact" in config.policies:
                log.compact(now_ms, config.delete_retention_ms)
            if "delete" in config.policies:
                if config.retention_ms >= 0:
                    log.delete_older_than(now_ms - config.retention_ms)
                if config.retention_bytes >= 0:
                    log.delete_larger_than(config.retention_bytes)

    def info(self) -> TopicInfo:
        return TopicInfo(self.name, len(self.logs), self.topic_id, dict(self.config.text))
