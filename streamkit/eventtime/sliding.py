"""Windows that lie where the records are: each distinct event time of a key has one that ends with it.

Both kinds are as long as ``size_ms`` and one millisecond more, since both of their ends belong to them: [t - size, t] in whole
milliseconds is [t - size, t + 1). A window may so begin at any millisecond, and is still named by its end (windows.py). A pane is
the records of one millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from streamkit.errors import DeclarationError
from streamkit.eventtime.duration import duration_text
from streamkit.eventtime.windows import Int64s, Window


@dataclass(frozen=True, slots=True)
class RecordWindow(Window):
    """Base of the windows that follow the records. ``right``: whether there is also one that begins right after a record."""

    right: ClassVar[bool]

    size_ms: int = 0

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        if self.size_ms <= 0:
            raise DeclarationError(f"{self.kind} window: size must be longer than 0, got {self.size_ms} ms")

    def __str__(self) -> str:
        return self._text(duration_text(self.size_ms))

    @property
    def identity(self) -> list[Any]:
        return [self.kind, self.size_ms]

    @property
    def longest_ms(self) -> int:
        return self.size_ms + 1

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        return timestamps + 1

    def ends_after(self, instants: Int64s) -> Int64s:
        return instants + 1  # a window may end at any millisecond

    def start_of(self, window_end: int) -> int:
        return window_end - self.longest_ms

    def previous_end(self, window_end: int) -> int:
        return window_end - 1


@dataclass(frozen=True, slots=True)
class SlidingWindow(RecordWindow):
    """Of each distinct time t of a key [t - size, t], and [t + 1, t + 1 + size] if anything lies in it."""

    kind: ClassVar[str] = "sliding"
    overlaps: ClassVar[bool] = True
    right: ClassVar[bool] = True

    def last_window_end(self, pane_ends: Int64s) -> Int64s:
        return pane_ends + self.size_ms


@dataclass(frozen=True, slots=True)
class RollingWindow(RecordWindow):
    """Of each distinct time t of a key [t - size, t]. A record counts for later ones too, but is late when its own is closed."""

    kind: ClassVar[str] = "rolling"
    right: ClassVar[bool] = False
