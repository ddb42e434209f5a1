"""Fixed windows: tumbling and cumulating, over one grid of *panes*.

A pane is the smallest slice [end - step, end) in which records are aggregated once. A tumbling window is one pane. The
cumulating windows of a span [start, start + size) end at start + step, start + 2*step, ...; the window that ends at a pane's
end is that pane together with the earlier panes of its span, so a pane is rolled into the next one when its window closes.
Panes are named by their end (`pane_end`, milliseconds), windows as well: each pane end closes exactly one window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamkit.errors import DeclarationError

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """Windows on a fixed grid. ``size_ms`` is the span, ``step_ms`` the pane (equal for tumbling), all in milliseconds.

    Boundaries lie at ``offset_ms`` + multiples of ``size_ms`` from 1970-01-01T00:00Z, also before it.
    """

    kind: str
    size_ms: int
    step_ms: int
    offset_ms: int = 0
    grace_ms: int = 0

    def __post_init__(self) -> None:
        for what, value in (("size", self.size_ms), ("step", self.step_ms)):
            if value <= 0:
                raise DeclarationError(f"{self.kind} window: {what} must be longer than 0, got {value} ms")
        if self.grace_ms < 0:
            raise DeclarationError(f"{self.kind} window: grace must not be negative, got {self.grace_ms} ms")
        if self.size_ms % self.step_ms:
            raise DeclarationError(f"{self.kind} window: size ({self.size_ms} ms) must be a multiple of step ({self.step_ms} ms)")

    def __str__(self) -> str:
        parts = [_duration(self.size_ms)]
        if self.step_ms != self.size_ms:
            parts.append(f"step={_duration(self.step_ms)}")
        if self.offset_ms:
            parts.append(f"offset={_duration(self.offset_ms)}")
        if self.grace_ms:
            parts.append(f"grace={_duration(self.grace_ms)}")
        return f"{self.kind}({', '.join(parts)})"

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        """The end of the pane that each timestamp falls into: the smallest grid point > timestamp."""
        return timestamps - (timestamps - self.offset_ms) % self.step_ms + self.step_ms

    def start_of(self, pane_end: int) -> int:
        """Start of the window that ends at ``pane_end``: the start of its span."""
        last = pane_end - self.step_ms
        return last - (last - self.offset_ms) % self.size_ms

    def ends_span(self, pane_end: int) -> bool:
        """Whether no later window of the same span follows."""
        return (pane_end - self.offset_ms) % self.size_ms == 0

    def span_ends(self, pane_ends: Int64s) -> Int64s:
        """The end of the span of each pane: of the last window that holds the pane."""
        last = pane_ends - self.step_ms
        return last - (last - self.offset_ms) % self.size_ms + self.size_ms

    def closes_at(self, window_end: int) -> int:
        """The smallest watermark at which the window is complete, grace included: W >= end + grace - 1."""
        return window_end + self.grace_ms - 1

    def first_open_end(self, watermarks: Int64s) -> Int64s:
        """The smallest window end on the grid that a watermark has not passed (with grace): end + grace - 1 > W."""
        passed = watermarks - self.grace_ms + 1  # every end <= passed is closed
        return passed - (passed - self.offset_ms) % self.step_ms + self.step_ms


def _duration(ms: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if ms % length == 0:
            return f"{ms // length}{unit}"
    return f"{ms}ms"
