"""What internal topics must be like (R23), whether an existing one is, and what has become of the topics of a running app."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from streamkit.errors import TopicChangedError
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


# ---- while the app runs


class Growth(enum.Enum):
    """What more partitions of a source topic mean."""

    RESTART = "a restart takes them up"
    RESET = "keys would be in other partitions than their state"


@dataclass(frozen=True, slots=True)
class Known:
    """A topic of the plan as it was at the start. ``use`` is None for topics that the app does not own."""

    info: TopicInfo
    is_source: bool = False
    use: Use | None = None

    @property
    def words(self) -> str:
        kind = "source" if self.is_source else "sink" if self.use is None else f"internal {self.use.value}"
        return f"{kind} topic '{self.info.name}'"


def change_of(known: Known, now: TopicInfo | None, growth: Growth) -> TopicChangedError | None:
    """The error for what became of a topic; None if it is what it was, or if nothing depends on what changed.

    topic      deleted   made anew   more partitions            settings
    source     stop      stop        stop, see Growth           -
    sink       stop      go on       go on                      -
    internal   stop      stop        stop                       stop if they do not fit any more
    """
    if now is None:
        return _changed(known, f"{known.words} was deleted while the app ran", _after_deletion(known))
    if now.topic_id != known.info.topic_id and (known.is_source or known.use is not None):
        what = f"{known.words} was deleted and made anew while the app ran (its id was {known.info.topic_id}, is {now.topic_id})"
        return _changed(known, what, _after_recreation(known))
    if known.use is not None:
        reason = misfit(known.use, now, known.info.partitions)
        return _changed(known, f"{known.words} was changed while the app ran", reason) if reason is not None else None
    if known.is_source and now.partitions != known.info.partitions:
        what = f"{known.words} grew from {known.info.partitions} to {now.partitions} partitions while the app ran"
        return _changed(known, what, _AFTER_GROWTH[growth])
    return None


def _changed(known: Known, what: str, hint: str) -> TopicChangedError:
    return TopicChangedError(what, topic=known.info.name, hint=hint)


def _after_deletion(known: Known) -> str:
    if known.use is not None:
        return "What it held is lost: reset the app (streamkit reset), so that positions and state start anew together"
    if known.is_source:
        return "Make it again and reset the app (streamkit reset), or take it out of the pipeline"
    return "Make it again, with the same number of partitions; a restarted app goes on where it was"


def _after_recreation(known: Known) -> str:
    if known.use is not None:
        return _after_deletion(known)
    return (
        "The committed positions are those of the old topic: reset the app (streamkit reset), so that it begins with the new one"
    )


_AFTER_GROWTH: Mapping[Growth, str] = {
    Growth.RESTART: "A restart takes the new ones up; whatever looks after the process (--workers, a container's restart policy) "
    "does it by itself",
    Growth.RESET: "Records of one key are now in other partitions than its state. Reset the app (streamkit reset) to process "
    "everything anew with the new number, or recreate the topic with the old one",
}
