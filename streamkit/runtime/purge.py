"""R23: repartition records below the committed offsets are of no use to anyone; they are deleted now and then."""

from __future__ import annotations

from collections.abc import Iterable

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import KafkaError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin
from streamkit.runtime.layout import Layout
from streamkit.runtime.task import Task

_TIMEOUT_S = 2.0


class Purge:
    """`committed` is called when all that these tasks have processed is committed."""

    def __init__(self, layout: Layout, admin: Admin, clock: Clock, settings: EngineSettings, instrument: Instrument) -> None:
        self._internal = layout.repartition_topics()
        self._admin = admin
        self._clock = clock
        self._every_s = settings.purge_interval_ms / 1000
        self._instrument = instrument
        self._next = clock.monotonic() + self._every_s

    def committed(self, tasks: Iterable[Task]) -> None:
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + self._every_s
        positions = [position for task in tasks for position in task.inputs.values()]
        done = {p.tp: p.next_offset for p in positions if p.tp.topic in self._internal and p.next_offset > 0}
        if not done:
            return
        try:
            self._admin.delete_records(done, _TIMEOUT_S)
        except KafkaError as error:  # nothing depends on it, and the next purge covers this one
            self._instrument.event("purge-failed", error=str(error))
