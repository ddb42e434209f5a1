"""Tells where the time goes: once a minute while records come, and of the whole run at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streamkit.clock import Clock
from streamkit.instrument import Instrument
from streamkit.stages import Stages, StageTime, since

EVERY_S: Final = 60.0
_TOLD_FROM: Final = 0.001
"""Stages below this share of the whole are no news."""


class StageReport:
    """`look` after every step, `closing` when the last one is done, `end` when the worker is closed."""

    def __init__(
        self, stages: Stages, instrument: Instrument, clock: Clock, state_bytes: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        self._stages = stages
        self._state_bytes = state_bytes
        self._left: int | None = None  # of state, before it went with the worker
        self._instrument = instrument
        self._clock = clock
        self._times: Sequence[StageTime] = stages.times()
        self._begin = self._times
        self._records = stages.records
        self._first = stages.records
        self._next = clock.monotonic() + EVERY_S

    def look(self) -> None:
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + EVERY_S
        times, records = self._stages.times(), self._stages.records
        if records > self._records:
            self._tell(since(times, self._times), records - self._records)
        self._times, self._records = times, records

    def closing(self) -> None:
        """The state goes with the worker; what it took is told at the end."""
        self._left = sum(self._state_bytes().values())

    def end(self) -> list[StageTime]:
        """The times of the whole run."""
        times = since(self._stages.times(), self._begin)
        if self._stages.records > self._first:
            self._tell(times, self._stages.records - self._first)
        return times

    def _tell(self, times: Sequence[StageTime], records: int) -> None:
        whole = sum(each.seconds for each in times)
        self._instrument.event(
            "stages",
            seconds=round(whole, 1),
            records=records,
            records_per_s=round(records / whole),
            state_bytes=sum(self._state_bytes().values()) if self._left is None else self._left,
            shares={each.name: round(100 * each.seconds / whole, 1) for each in times if each.seconds >= _TOLD_FROM * whole},
        )
