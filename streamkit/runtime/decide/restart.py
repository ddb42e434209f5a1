"""What becomes of a worker process that has died: it is started again with back-off, or the service gives up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
GIVE_UP_AFTER = 5
WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Start it again after this pause."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It died too often within too short a time: the cause does not pass by itself."""

    deaths: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """It ended as it should."""


def after_exit(
    code: int, deaths: Sequence[float], now: float, *, stopping: bool, first_pause_s: float = FIRST_PAUSE_S
) -> RestartAfter | GiveUp | Done:
    """``deaths``: monotonic seconds of the earlier deaths of this worker; ``code`` its exit code (negative: a signal).

    >>> after_exit(0, [], 10.0, stopping=False)
    Done()
    >>> after_exit(-9, [], 10.0, stopping=False), after_exit(-9, [5.0, 8.0], 10.0, stopping=False)
    (RestartAfter(pause_s=0.5), RestartAfter(pause_s=2.0))
    >>> after_exit(1, [1.0, 2.0, 4.0, 8.0], 10.0, stopping=False)
    GiveUp(deaths=5, within_s=9.0)
    """
    if code == 0 or stopping:
        return Done()
    recent = [at for at in deaths if now - at < WITHIN_S]
    if len(recent) + 1 >= GIVE_UP_AFTER:
        return GiveUp(len(recent) + 1, now - recent[0])
    return RestartAfter(min(first_pause_s * 2 ** len(recent), LONGEST_PAUSE_S))
