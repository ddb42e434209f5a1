"""Tells that records come late, whether anything reads `late()` or not: never dropped in silence, and not a line for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from streamkit.instrument import Instrument
from streamkit.runtime.task import Task, TaskId

REPORT_EVERY_S = 10.0


@dataclass(slots=True)
class _Count:
    """Late records of one operator in one task: those that are committed, and those that were told."""

    committed: int
    told: int
    lateness_ms: int = 0  # the largest that was not told
    away: bool = False  # the task has left; it may come back as it was (parking.py), or restored


class LateReport:
    """Counts late records by operator, as far as they are committed, and tells every so often what is new.

    What was not told yet when a task leaves this worker, or the worker ends, is told then. A roll-back forgets nothing of it: the
    task comes back with the counts that were committed.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._counts: dict[tuple[TaskId, str], _Count] = {}
        self._news: set[str] = set()
        self._next = 0.0

    def started(self, tasks: Iterable[Task]) -> None:
        """What these tasks had counted before they came here is no news."""
        for task in tasks:
            for name, operator in task.chain.aggregates.items():
                late = operator.progress.late_records
                known = self._counts.get((task.id, name))
                if known is None or known.away:
                    self._counts[task.id, name] = _Count(late, late)

    def committed(self, tasks: Iterable[Task]) -> None:
        """These tasks have just committed."""
        for task in tasks:
            for name, operator in task.chain.aggregates.items():
                late = operator.progress.late_records
                count = self._counts[task.id, name]
                count.away = False
                if late != count.committed:
                    count.committed = late
                    count.lateness_ms = max(count.lateness_ms, operator.progress.most_lateness_ms)
                    self._news.add(name)
                operator.progress.most_lateness_ms = 0

    def look(self, now: float) -> None:
        """Tells what is new, if it is time."""
        if self._news and now >= self._next:
            self._next = now + REPORT_EVERY_S
            self._tell()

    def left(self, tasks: Collection[TaskId]) -> None:
        """These tasks are another worker's from now on, which takes their counts for told."""
        gone = [count for (task, _), count in self._counts.items() if task in tasks]
        if any(count.committed != count.told for count in gone):
            self._tell()
        for count in gone:
            count.away = True

    def close(self) -> None:
        if self._news:
            self._tell()

    def _tell(self) -> None:
        for operator in sorted(self._news):
            counts = [count for (_, name), count in self._counts.items() if name == operator and not count.away]
            self._instrument.event(
                "late-records",
                operator=operator,
                new=sum(count.committed - count.told for count in counts),
                total=sum(count.committed for count in counts),
                lateness_ms=max(count.lateness_ms for count in counts),
            )
            for count in counts:
                count.told, count.lateness_ms = count.committed, 0
        self._news.clear()
