"""Where a worker's time goes: every moment of its thread belongs to exactly one stage, so the times add up to the whole.

    wait | consume | decode | operator ... | encode | produce | updates | changelog | commit | commit-wait | restore | other

A stage is *entered*; that ends the one before it. So a stage has only its own time: an operator's is without that of those
behind it, encoding is without producing. Stamps are per batch, not per record: under a microsecond to enter a stage and go back.
Processor time (a system call, 400 ns) is read only around the two stages that wait for the broker, and splits them: `consume` is
the part of a poll that was work, `wait` the rest; `commit` and `commit-wait` likewise. Elsewhere the thread works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

OTHER: Final = 0
CONSUME: Final = 1
COMMIT: Final = 2
CHANGELOG: Final = 3
UPDATES: Final = 4
PRODUCE: Final = 5
RESTORE: Final = 6
NOT_A_STAGE: Final = -1
"""To enter this changes nothing: what only passes batches on."""

_FIXED: Final = ("other", "consume", "commit", "changelog", "updates", "produce", "restore")
_WAITING: Final = {CONSUME: "wait", COMMIT: "commit-wait"}
_ORDER: Final = (
    "wait", "consume", "decode", "operator", "encode", "produce", "updates", "changelog", "commit", "commit-wait", "restore",
    "other",
)  # fmt: skip


class StageTime(NamedTuple):
    """``operator`` is the label of the step, or the topic that is decoded; empty where there is only one of the stage."""

    stage: str
    operator: str
    seconds: float

    @property
    def name(self) -> str:
        """Both in one word or two.

        >>> StageTime("decode", "bids", 0.5).name, StageTime("commit", "", 0.1).name
        ('decode bids', 'commit')
        """
        return f"{self.stage} {self.operator}".rstrip()


class Stages:
    """Times of one worker, since it was made. One thread stamps; any may read.

    >>> at = iter(range(0, 10_000, 1_000))
    >>> stages = Stages(wall_ns=lambda: next(at), cpu_ns=lambda: 0)
    >>> decode = stages.number("decode", "bids")
    >>> before = stages.enter(decode)
    >>> _ = stages.enter(PRODUCE); _ = stages.enter(decode); _ = stages.enter(before)
    >>> [(each.name, round(each.seconds * 1e6)) for each in stages.times()]
    [('decode bids', 2), ('produce', 1), ('other', 2)]
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.perf_counter_ns, cpu_ns: Callable[[], int] = time.thread_time_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._cpu_ns = cpu_ns
        self._names: list[tuple[str, str]] = [(name, "") for name in _FIXED]
        self._numbers: dict[tuple[str, str], int] = {name: number for number, name in enumerate(self._names)}
        self._wall: list[int] = [0] * len(self._names)
        self._worked: dict[int, int] = dict.fromkeys(_WAITING, 0)
        self._current = OTHER
        self._entered = wall_ns()
        self._entered_cpu = 0
        self.records = 0

    def number(self, stage: str, operator: str) -> int:
        """The number by which a stage is entered; the same one for the same names."""
        number = self._numbers.setdefault((stage, operator), len(self._names))
        if number == len(self._names):
            self._names.append((stage, operator))
            self._wall.append(0)
        return number

    def enter(self, number: int) -> int:
        """From now on it is this stage; gives the one before, to be entered again."""
        before = self._current
        if number < 0 or number == before:
            return before
        now = self._wall_ns()
        self._wall[before] += now - self._entered
        if before in self._worked:
            self._worked[before] += self._cpu_ns() - self._entered_cpu
        if number in self._worked:
            self._entered_cpu = self._cpu_ns()
        self._entered = now
        self._current = number
        return before

    def times(self) -> list[StageTime]:
        """All stages that took any time, in the order in which a record meets them."""
        found = []
        running = self._wall_ns() - self._entered
        for number, (stage, operator) in enumerate(self._names):
            spent = self._wall[number] + (running if number == self._current else 0)
            if number in _WAITING:
                worked = min(self._worked[number], spent)
                found.append(StageTime(_WAITING[number], "", (spent - worked) / 1e9))
                spent = worked
            found.append(StageTime(stage, operator, spent / 1e9))
        found.sort(key=lambda each: _ORDER.index(each.stage))
        return [each for each in found if each.seconds > 0]


class NoStages(Stages):
    """Measures nothing: for operators by themselves."""

    def enter(self, number: int) -> int:  # noqa: ARG002 - as in `Stages`
        return OTHER


def since(now: Sequence[StageTime], before: Sequence[StageTime]) -> list[StageTime]:
    """What was spent between two looks.

    >>> since([StageTime("decode", "bids", 3.0)], [StageTime("decode", "bids", 1.0)])
    [StageTime(stage='decode', operator='bids', seconds=2.0)]
    """
    known = {(each.stage, each.operator): each.seconds for each in before}
    return [each._replace(seconds=each.seconds - known.get((each.stage, each.operator), 0.0)) for each in now]
