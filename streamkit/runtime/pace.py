"""How long the next commit waits: the commit interval, and four times what commits take at present (R30)."""

from __future__ import annotations

from collections import deque
from typing import Final

from streamkit.config import EngineSettings

LOOKS_BACK: Final = 3
_TIMES: Final = 4


class Pace:
    """What commits take is the least of the last three. One that a broker, a garbage collection or a full machine held up for a
    quarter of a second says nothing of the next, and would hold results back for a second more."""

    def __init__(self, settings: EngineSettings) -> None:
        self._interval_s = settings.commit_interval_ms / 1000
        self._most_s = settings.transaction_timeout_ms / 4000  # else the broker would time the next transaction out (R20)
        self._taken: deque[float] = deque(maxlen=LOOKS_BACK)

    def pause_s(self, took_s: float) -> float:
        """Between a commit that took so long and the next.

        >>> pace = Pace(EngineSettings(commit_interval_ms=100))
        >>> [pace.pause_s(took) for took in (0.01, 0.25, 0.05, 0.25, 0.25, 0.25)]
        [0.1, 0.1, 0.1, 0.2, 0.2, 1.0]
        """
        self._taken.append(took_s)
        return max(self._interval_s, min(_TIMES * min(self._taken), self._most_s))
