"""Tells that records come late, whether anything reads `late()` or not: never dropped in silence, and not a line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from streamkit.instrument import Instrument
from streamkit.runtime.task import Task, TaskId

REPORT_EVERY_S = 10.0


class LateReport:
    """Counts late records by operator; `committed` is called with what has been committed, and tells what is new now and then."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._told: dict[tuple[TaskId, str], int] = {}
        self._next = 0.0

    def started(self, tasks: Iterable[Task]) -> None:
        """What these tasks had counted before they came here is no news."""
        for task in tasks:
            for name, operator in task.chain.aggregates.items():
                self._told[task.id, name] = operator.progress.late_records

    def committed(self, tasks: Iterable[Task], now: float) -> None:
        if now < self._next:
            return
        new: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for task in tasks:
            for name, operator in task.chain.aggregates.items():
                count = operator.progress.late_records
                total[name] += count
                new[name] += count - self._told.get((task.id, name), 0)
                self._told[task.id, name] = count
        for name, count in new.items():
            if count:
                self._instrument.event("late-records", operator=name, new=count, total=total[name])
                self._next = now + REPORT_EVERY_S
