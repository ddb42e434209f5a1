"""What internal topics must be like (R23), and whether an existing one is."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamkit.kafka.client import TopicInfo

_FOREVER = "-1"
_ANY_TIME = str(2**63 - 1)
_TIMESTAMPS = {
    # event times of any age or future are kept as they are: defaults refuse records stamped an hour ahead
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": _ANY_TIME,
    "message.timestamp.after.max.ms": _ANY_TIME,
}
_CENTURY_MS = 100 * 365 * 86_400_000


class Use(enum.Enum):
    CHANGELOG = "changelog"
    REPARTITION = "repartition"


def wanted_config(use: Use, min_insync_replicas: int | None = None) -> dict[str, str]:
    """The settings with which an internal topic is created."""
    config = dict(_TIMESTAMPS)
    config["retention.ms"] = _FOREVER  # event times of 2020 in a topic with default retention are deleted within a minute
    config["retention.bytes"] = _FOREVER
    if use is Use.CHANGELOG:
        # delete is there so that DeleteRecords may cut below the oldest live block; the active segment is never compacted
        config |= {"cleanup.policy": "compact,delete", "segment.bytes": str(64 * 1024 * 1024)}
    else:
        config["cleanup.policy"] = "delete"
    if min_insync_replicas is not None:
        config["min.insync.replicas"] = str(min_insync_replicas)
    return config


def misfit(use: Use, info: TopicInfo, partitions: int) -> str | None:
    """What is wrong with an existing internal topic, in words; None if it fits."""
    if info.partitions != partitions:
        return (
            f"it has {info.partitions} partitions, the plan needs {partitions} (one per task). If a source topic's partition "
            "count was changed, keys are now elsewhere: reset the app (streamkit reset) and let it start anew"
        )
    return _policy_misfit(use, info.config) or _time_misfit(info.config)


def _policy_misfit(use: Use, config: Mapping[str, str]) -> str | None:
    policies = {part.strip() for part in config.get("cleanup.policy", "").split(",") if part.strip()}
    if use is Use.CHANGELOG and "compact" not in policies:
        return _differs("cleanup.policy", config, "compact,delete", "old state would be deleted instead of compacted")
    if use is Use.REPARTITION and "compact" in policies:
        return _differs("cleanup.policy", config, "delete", "records of one key would be thrown away before they were read")
    if "delete" in policies and config.get("retention.ms", _FOREVER) != _FOREVER:
        return _differs("retention.ms", config, _FOREVER, "records would be deleted by their event time")
    return None


def _time_misfit(config: Mapping[str, str]) -> str | None:
    if config.get("message.timestamp.type", "CreateTime") != "CreateTime":
        return _differs("message.timestamp.type", config, "CreateTime", "event times would be replaced by the broker's clock")
    for name in ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms"):
        if int(config.get(name, _ANY_TIME)) < _CENTURY_MS:
            return _differs(name, config, _ANY_TIME, "records with other event times would be refused")
    return None


def _differs(name: str, config: Mapping[str, str], wanted: str, why: str) -> str:
    value = f"[{wanted}]" if "," in wanted else wanted
    return (
        f"{name} is {config.get(name)!r} but must be {wanted!r}: {why}. "
        f"Change it with kafka-configs.sh --alter --entity-type topics --add-config {name}={value}"
    )
