"""Topics at start: sources and sinks must exist, internal topics are created or checked, then the layout is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import TopicError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, NewTopic, TopicInfo
from streamkit.plan.names import near_names
from streamkit.plan.topology import Topology
from streamkit.runtime.decide.topics import Use, misfit, wanted_config
from streamkit.runtime.layout import Layout

_ASK_AGAIN_S: Final = 3.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 0.5


class StoppedError(Exception):
    """Told to stop while it waited: nobody's error, and nothing is open."""


def _never() -> bool:
    return False


def external_topics(topology: Topology) -> dict[str, str]:
    """Name -> "source" or "sink" of every topic that the app does not own."""
    topics = {sink.topic.name: "sink" for part in topology.parts for sink in part.sinks}
    return topics | {source.topic.name: "source" for part in topology.parts for source in part.sources}


def lay_out(
    topology: Topology,
    admin: Admin,
    settings: EngineSettings,
    instrument: Instrument,
    clock: Clock | None = None,
    stopped: Callable[[], bool] = _never,
) -> Layout:
    """Checks and creates what the plan needs; TopicError says what is missing or does not fit, and what to do.

    With a ``clock`` a topic that is missing is asked for again for a moment: of one that was created just now, or is being
    created by what starts together with this worker, a broker may not know yet. `StoppedError` if ``stopped`` says so meanwhile.
    """
    timeout = settings.start_timeout_ms / 1000
    wanted = external_topics(topology)
    found = _described(wanted, admin, timeout, instrument, clock, stopped)
    _refuse_missing(wanted, found, admin, timeout)
    layout = Layout(topology, {name: info.partitions for name, info in found.items() if info is not None})
    internal = _ensure(layout.internal_topics(), admin, settings, instrument, clock, stopped)
    layout.found |= {name: info for name, info in {**found, **internal}.items() if info is not None}
    return layout


def _described(
    wanted: Collection[str],
    admin: Admin,
    timeout: float,
    instrument: Instrument,
    clock: Clock | None,
    stopped: Callable[[], bool],
) -> dict[str, TopicInfo | None]:
    """As the cluster has them; None for one that is not there, or not in time."""
    found = admin.describe_topics(sorted(wanted), timeout)
    if clock is None:
        return found
    deadline, pause = clock.monotonic() + _ASK_AGAIN_S, _FIRST_PAUSE_S
    while (missing := [name for name in sorted(wanted) if found.get(name) is None]) and clock.monotonic() < deadline:
        if pause == _FIRST_PAUSE_S:
            instrument.event("waiting-for-topics", topics=missing, gives_up_in_s=round(_ASK_AGAIN_S))
        if stopped():
            raise StoppedError
        clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
        found = admin.describe_topics(sorted(wanted), timeout)
    return found


def existing_layout(topology: Topology, admin: Admin, settings: EngineSettings) -> Layout:
    """The layout on the topics that there are, for looking only: nothing is created."""
    timeout = settings.start_timeout_ms / 1000
    wanted = external_topics(topology)
    found = admin.describe_topics(sorted(wanted), timeout)
    _refuse_missing(wanted, found, admin, timeout)
    return Layout(topology, {name: info.partitions for name, info in found.items() if info is not None})


def _refuse_missing(wanted: Mapping[str, str], found: Mapping[str, TopicInfo | None], admin: Admin, timeout: float) -> None:
    missing = [name for name in sorted(wanted) if found.get(name) is None]
    if not missing:
        return
    known = [name for name in admin.topic_names(timeout) if not name.startswith("__")]
    lines = [f"  {wanted[name]} topic '{name}' does not exist; {near_names(name, known)}" for name in missing]
    raise TopicError(
        "topics are missing:\n" + "\n".join(lines) + "\nCreate them (kafka-topics.sh --create --topic NAME --partitions N), "
        "or start with --create-topics for a first try"
    )


def _ensure(
    internal: Mapping[str, tuple[Use, int]],
    admin: Admin,
    settings: EngineSettings,
    instrument: Instrument,
    clock: Clock | None,
    stopped: Callable[[], bool],
) -> Mapping[str, TopicInfo | None]:
    """Creates what is missing, refuses what does not fit; all of them as they are."""
    timeout = settings.start_timeout_ms / 1000
    if not internal:
        return {}
    found = admin.describe_topics(sorted(internal), timeout)
    new = [
        NewTopic(name, count, settings.replication_factor, wanted_config(use, settings.min_insync_replicas))
        for name, (use, count) in sorted(internal.items())
        if found.get(name) is None
    ]
    if new:
        admin.create_topics(new, timeout)
        instrument.event("topics-created", topics=[f"{t.name} ({t.partitions})" for t in new])
        found = _described(internal, admin, timeout, instrument, clock, stopped)  # another worker may have made them otherwise
    for name, (use, count) in internal.items():
        info = found.get(name)
        reason = "it could not be created" if info is None else misfit(use, info, count)
        if reason is not None:
            raise TopicError(f"internal {use.value} topic '{name}' does not fit: {reason}")
    return found


def create_external(
    topology: Topology, admin: Admin, settings: EngineSettings, *, partitions: int, instrument: Instrument
) -> None:
    """Creates source and sink topics that are missing, for a first try: records are kept for ever, whatever their event time."""
    timeout = settings.start_timeout_ms / 1000
    wanted = external_topics(topology)
    found = admin.describe_topics(sorted(wanted), timeout)
    config = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
    new = [NewTopic(name, partitions, settings.replication_factor, config) for name in sorted(wanted) if found.get(name) is None]
    if new:
        admin.create_topics(new, timeout)
        instrument.event("topics-created", topics=[f"{t.name} ({t.partitions})" for t in new])
