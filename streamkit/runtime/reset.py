"""Takes an app back to its beginning: positions and internal topics are deleted, source and sink topics are left alone."""

from __future__ import annotations

from dataclasses import dataclass

from streamkit.config import EngineSettings
from streamkit.errors import KafkaError, StartError
from streamkit.kafka.client import Admin
from streamkit.plan.names import is_internal
from streamkit.plan.topology import Topology


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset deletes: the group's positions, and the internal topics that exist."""

    group: str
    topics: tuple[str, ...]


def plan_reset(topology: Topology, admin: Admin, settings: EngineSettings) -> ResetPlan:
    """Looks only. Internal topics are found by the app's prefix, so those of an older version of the plan are found as well."""
    app = topology.plan.app
    known = admin.topic_names(settings.start_timeout_ms / 1000)
    return ResetPlan(app, tuple(sorted(name for name in known if is_internal(name, app))))


def reset(plan: ResetPlan, admin: Admin, settings: EngineSettings) -> None:
    """`StartError` while a worker of the app is alive. Done again, it finds nothing left to do."""
    timeout = settings.start_timeout_ms / 1000
    try:
        admin.delete_group(plan.group, timeout)
    except KafkaError as error:
        if error.code == "NON_EMPTY_GROUP":
            raise StartError(
                f"app '{plan.group}' still has live workers (or one that died within its session time-out): stop them first"
            ) from error
        raise
    if plan.topics:
        admin.delete_topics(plan.topics, timeout)
