"""Windows of event time, cut into *panes*.

A pane is the smallest slice of time in which records are aggregated once; every window consists of whole panes. Panes and
windows are both named by their end, in milliseconds. Which panes a window has, and in which windows a pane counts:

    tumbling, calendar   each window is one pane
    cumulating           the window of a span that ends with a pane is that pane and the earlier ones of its span
    session              each record is a window of its own, which the store puts together with others
    hopping              a window is the last size / pane panes; a pane counts in every window that ends from
                         `first_window_end` to `last_window_end`

All are pure functions of the grid; the ones that take a column take and give int64 milliseconds. `calendar.py` has the
windows whose grid is a calendar's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from streamkit.config.duration import duration_text
from streamkit.errors import DeclarationError

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window(ABC):
    """What the windows of one aggregate are. ``grace_ms``: how long after its end a window still takes records."""

    kind: ClassVar[str]
    overlaps: ClassVar[bool] = False
    """Whether a pane counts in several windows and is kept until the last of them has closed (hopping)."""

    has_bounds: ClassVar[bool] = True
    """Whether results say from when to when their window lasted."""

    closed_by_time: ClassVar[bool] = True
    """Whether a watermark can close a window, and so a record be late."""

    grace_ms: int = 0

    def __post_init__(self) -> None:
        if self.grace_ms < 0:
            raise DeclarationError(f"{self.kind} window: grace must not be negative, got {self.grace_ms} ms")

    @property
    @abstractmethod
    def identity(self) -> list[Any]:
        """What its state depends on, for the fingerprint."""

    # ---- the grid

    @abstractmethod
    def pane_ends(self, timestamps: Int64s) -> Int64s:
        """The end of the pane that each timestamp falls into: the smallest one > timestamp."""

    def ends_after(self, instants: Int64s) -> Int64s:
        """The smallest window end > each instant."""
        return self.pane_ends(instants)

    def first_window_end(self, pane_ends: Int64s) -> Int64s:
        """The end of the first window in which each pane counts."""
        return pane_ends

    def last_window_end(self, pane_ends: Int64s) -> Int64s:
        """The end of the last window in which each pane counts."""
        return pane_ends

    @abstractmethod
    def start_of(self, window_end: int) -> int: ...
    @abstractmethod
    def previous_end(self, window_end: int) -> int:
        """The end of the window before the one that ends there."""

    def next_end(self, window_end: int) -> int:
        return int(self.ends_after(np.array([window_end], np.int64))[0])

    @property
    @abstractmethod
    def longest_ms(self) -> int:
        """No window is longer than this."""

    # ---- closing

    def closes_at(self, window_end: int) -> int:
        """The smallest watermark at which the window is complete, grace included: W >= end + grace - 1."""
        return window_end + self.grace_ms - 1

    def first_open_end(self, watermarks: Int64s) -> Int64s:
        """The smallest window end that a watermark has not passed (with grace): end + grace - 1 > W."""
        return self.ends_after(watermarks - self.grace_ms + 1)  # every end <= W - grace + 1 is closed

    def _text(self, *parts: str) -> str:
        grace = (f"grace={duration_text(self.grace_ms)}",) if self.grace_ms else ()
        return f"{self.kind}({', '.join((*parts, *grace))})"


@dataclass(frozen=True, slots=True)
class FixedWindow(Window):
    """Windows of one size on a grid: boundaries lie at ``offset_ms`` + multiples of ``step_ms`` from 1970-01-01T00:00Z,
    also before it."""

    size_ms: int = 0
    step_ms: int = 0
    offset_ms: int = 0

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        for what, value in (("size", self.size_ms), (self._step, self.step_ms)):
            if value <= 0:
                raise DeclarationError(f"{self.kind} window: {what} must be longer than 0, got {value} ms")

    _step: ClassVar[str] = "step"

    def __str__(self) -> str:
        parts = [duration_text(self.size_ms)]
        if self.step_ms != self.size_ms:
            parts.append(f"{self._step}={duration_text(self.step_ms)}")
        if self.offset_ms:
            parts.append(f"offset={duration_text(self.offset_ms)}")
        return self._text(*parts)

    @property
    def identity(self) -> list[Any]:
        return [self.kind, self.size_ms, self.step_ms, self.offset_ms]

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        return timestamps - (timestamps - self.offset_ms) % self.step_ms + self.step_ms

    @property
    def longest_ms(self) -> int:
        return self.size_ms

    def previous_end(self, window_end: int) -> int:
        return window_end - self.step_ms


@dataclass(frozen=True, slots=True)
class TumblingWindow(FixedWindow):
    """Side by side: [start, start + size)."""

    kind: ClassVar[str] = "tumbling"

    def start_of(self, window_end: int) -> int:
        return window_end - self.size_ms


@dataclass(frozen=True, slots=True)
class CumulatingWindow(FixedWindow):
    """Of one start, growing by a step up to the size; the windows of a span [start, start + size) are its steps so far."""

    kind: ClassVar[str] = "cumulating"

    def __post_init__(self) -> None:
        FixedWindow.__post_init__(self)
        if self.size_ms % self.step_ms:
            size, step = duration_text(self.size_ms), duration_text(self.step_ms)
            raise DeclarationError(f"{self.kind} window: size ({size}) must be a multiple of step ({step})")

    def start_of(self, window_end: int) -> int:
        last = window_end - self.step_ms
        return last - (last - self.offset_ms) % self.size_ms

    def last_window_end(self, pane_ends: Int64s) -> Int64s:
        last = pane_ends - self.step_ms
        return last - (last - self.offset_ms) % self.size_ms + self.size_ms

    def ends_span(self, pane_end: int) -> bool:
        """Whether no later window of the same span follows."""
        return (pane_end - self.offset_ms) % self.size_ms == 0


@dataclass(frozen=True, slots=True)
class HoppingWindow(FixedWindow):
    """Of one size, one starting every step (the hop). Panes are as long as the greatest common divisor of both, so that a
    size need not be a multiple of the hop."""

    kind: ClassVar[str] = "hopping"
    overlaps: ClassVar[bool] = True
    _step: ClassVar[str] = "hop"

    def __post_init__(self) -> None:
        FixedWindow.__post_init__(self)
        if self.step_ms > self.size_ms:
            raise DeclarationError(
                f"hopping window: hop ({duration_text(self.step_ms)}) must not be longer than size "
                f"({duration_text(self.size_ms)}): records in between would be in no window. Filter them out instead"
            )

    @property
    def pane_ms(self) -> int:
        return math.gcd(self.size_ms, self.step_ms)

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        return timestamps - (timestamps - self.offset_ms) % self.pane_ms + self.pane_ms

    def ends_after(self, instants: Int64s) -> Int64s:
        return instants - (instants - self.offset_ms - self.size_ms) % self.step_ms + self.step_ms

    def first_window_end(self, pane_ends: Int64s) -> Int64s:
        return self.ends_after(pane_ends - 1)

    def last_window_end(self, pane_ends: Int64s) -> Int64s:
        last_starts = pane_ends - self.pane_ms  # the window that begins with the pane, or the last one before it
        return last_starts - (last_starts - self.offset_ms) % self.step_ms + self.size_ms

    def start_of(self, window_end: int) -> int:
        return window_end - self.size_ms

    def counts_in(self, pane_end: int) -> tuple[int, int]:
        """The ends of the first and the last window in which a pane counts."""
        first = pane_end - 1 - (pane_end - 1 - self.offset_ms - self.size_ms) % self.step_ms + self.step_ms
        last_start = pane_end - self.pane_ms
        return first, last_start - (last_start - self.offset_ms) % self.step_ms + self.size_ms


@dataclass(frozen=True, slots=True)
class SessionWindow(Window):
    """Records of a key that follow each other by less than a gap. Of one record it is [time, time + gap)."""

    kind: ClassVar[str] = "session"

    gap_ms: int = 0

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        if self.gap_ms <= 0:
            raise DeclarationError(f"session window: gap must be longer than 0, got {self.gap_ms} ms")

    def __str__(self) -> str:
        return self._text(duration_text(self.gap_ms))

    @property
    def identity(self) -> list[Any]:
        return [self.kind, self.gap_ms]

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        return timestamps + self.gap_ms

    def ends_after(self, instants: Int64s) -> Int64s:
        return instants + 1  # a session may end at any millisecond

    def start_of(self, window_end: int) -> int:
        """Of the session of one record."""
        return window_end - self.gap_ms

    def previous_end(self, window_end: int) -> int:
        return window_end - 1

    @property
    def longest_ms(self) -> int:
        """After the last record."""
        return self.gap_ms
