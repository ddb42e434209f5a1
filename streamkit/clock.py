"""Where time comes from: the wall clock in a service, a manual clock in tests and simulations."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and monotonic time. The engine reads time only here."""

    def now_ms(self) -> int:
        """Wall time in milliseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for intervals and deadlines."""
        ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told; `sleep` moves it.

    >>> clock = ManualClock(now_ms=1_000)
    >>> clock.advance(1.5)
    >>> clock.now_ms()
    2500
    """

    def __init__(self, now_ms: int = 1_577_836_800_000) -> None:  # 2020-01-01
        self._start_ms = now_ms
        self._elapsed = 0.0

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: advance({seconds})")
        self._elapsed += seconds

    def now_ms(self) -> int:
        return self._start_ms + round(self._elapsed * 1000)

    def monotonic(self) -> float:
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
