"""Whether the topics of a running app still are what they were at its start (R23).

Looked at every so often, and at once when a call says that a topic is unknown or an offset lost. A topic that was deleted and
made anew has the same name and other records: positions and state of the old one mean nothing in it. What is found is raised, and
the worker stops with nothing more committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamkit.clock import Clock
from streamkit.errors import KafkaError, LostOffsetError, RetriableError, StateError, StreamkitError, TopicError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, TopicInfo
from streamkit.runtime.decide.topics import Growth, Known, change_of
from streamkit.runtime.layout import Layout

_TIMEOUT_S: Final = 2.0
_CONFIRM_S: Final = 1.0
_SUSPICIOUS: Final = frozenset(
    {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID", "_NOENT", "INCONSISTENT_TOPIC_ID"}
)


class TopicGuard:
    """Compares the topics of a layout with what the cluster says of them now."""

    def __init__(self, layout: Layout, admin: Admin, clock: Clock, every_s: float, instrument: Instrument) -> None:
        self._layout = layout
        self._admin = admin
        self._clock = clock
        self._every_s = every_s
        self._instrument = instrument
        self._known = known_topics(layout)
        self._next = clock.monotonic() + every_s
        self._missing: frozenset[str] = frozenset()  # at the last look

    def look(self) -> None:
        """TopicChangedError, if it is time to look and something has changed.

        A topic that is not found is looked for once more a moment later: a broker that has just come back may not know of it yet.
        """
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + self._every_s
            self._compare(self._describe(), certain=False)

    def suspect(self, error: StreamkitError) -> None:
        """TopicChangedError, if that explains the error."""
        code = error.code if isinstance(error, KafkaError) else ""
        if code in _SUSPICIOUS or isinstance(error, (LostOffsetError, StateError)):
            try:
                self._compare(self._describe(), certain=True)
            except StreamkitError as found:
                raise found from error

    def _describe(self) -> Mapping[str, TopicInfo | None] | None:
        try:
            return self._admin.describe_topics(sorted(self._known), _TIMEOUT_S) if self._known else {}
        except RetriableError:  # nobody answers, so nothing is known to have changed
            return None

    def _compare(self, found: Mapping[str, TopicInfo | None] | None, *, certain: bool) -> None:
        if found is None:
            return
        missing = frozenset(name for name in self._known if found.get(name) is None)
        for name, known in self._known.items():
            now = found.get(name)
            if now is None and not certain and name not in self._missing:
                self._next = self._clock.monotonic() + _CONFIRM_S
                continue
            error = change_of(known, now, self._growth(known, now))
            if error is not None:
                raise error
            if now is not None and (now.topic_id, now.partitions) != (known.info.topic_id, known.info.partitions):
                self._instrument.event("sink-changed", topic=name, partitions=now.partitions)
                self._known[name] = Known(now, known.is_source, known.use)
        self._missing = missing

    def _growth(self, known: Known, now: TopicInfo | None) -> Growth:
        """Whether a start with the new number of partitions would want other internal topics than there are."""
        if now is None or not known.is_source or now.partitions == known.info.partitions:
            return Growth.RESTART
        counts = {name: each.info.partitions for name, each in self._known.items() if each.use is None}
        try:
            laid_out = Layout(self._layout.topology, {**counts, now.name: now.partitions})
        except TopicError:
            return Growth.RESET
        same = laid_out.internal_topics() == self._layout.internal_topics()
        return Growth.RESTART if same else Growth.RESET


def known_topics(layout: Layout) -> dict[str, Known]:
    """All topics of the plan as they were when they were checked."""
    sources = {source.topic.name for part in layout.topology.parts for source in part.sources}
    uses = {name: use for name, (use, _) in layout.internal_topics().items()}
    return {name: Known(info, name in sources, uses.get(name)) for name, info in layout.found.items()}
