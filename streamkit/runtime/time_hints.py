"""Event times that are possible and yet look wrong: told once for each topic, for a number may be either."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from streamkit.clock import Clock
from streamkit.instrument import Instrument
from streamkit.plan.topology import Topology
from streamkit.runtime.task import Task

_1971_MS = 31_536_000_000
_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeHints:
    """Looks at the latest event time of each source partition, when it is committed.

    All times in 1970: seconds that are taken for milliseconds (those of today lie in January 1970). More than a day ahead of the
    clock, and no ``max_future``: one such record has closed every window before it.
    """

    def __init__(self, clock: Clock, instrument: Instrument, topology: Topology) -> None:
        self._clock = clock
        self._instrument = instrument
        sources = [source for part in topology.parts for source in part.sources]
        self._bounded = frozenset(source.topic.name for source in sources if source.event_time.max_future_ms is not None)
        self._told: set[tuple[str, str]] = set()

    def committed(self, tasks: Iterable[Task]) -> None:
        soon = self._clock.now_ms() + _DAY_MS
        for task in tasks:
            for tp, position in task.inputs.items():
                if position.watermark is None:
                    continue
                latest = position.watermark.max_timestamp
                if 0 <= latest < _1971_MS:
                    self._tell("times-in-1970", tp.topic, tp.partition, latest, as_seconds=_instant(latest * 1000))
                elif latest > soon and tp.topic not in self._bounded:
                    self._tell("times-ahead", tp.topic, tp.partition, latest)

    def _tell(self, event: str, topic: str, partition: int, latest: int, **more: str) -> None:
        if (event, topic) not in self._told:
            self._told.add((event, topic))
            self._instrument.event(event, topic=topic, partition=partition, latest=_instant(latest), **more)


def _instant(milliseconds: int) -> str:
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
