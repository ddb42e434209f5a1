"""Windows that time does not close: a number of records, and all records of a key.

Nothing is late for them. On the grid of `windows.py` each is one window of all event times, which no watermark reaches: only the
end of a bounded input does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from streamkit.errors import DeclarationError
from streamkit.eventtime.watermark import END_OF_TIME, MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME
from streamkit.eventtime.windows import Int64s, Window

ALL_TIME_END = MAX_TIMESTAMP + 1


@dataclass(frozen=True, slots=True)
class TimelessWindow(Window):
    """One window of all event times."""

    closed_by_time: ClassVar[bool] = False

    def pane_ends(self, timestamps: Int64s) -> Int64s:
        return np.broadcast_to(np.int64(ALL_TIME_END), len(timestamps))

    def ends_after(self, instants: Int64s) -> Int64s:
        return np.where(instants < ALL_TIME_END, ALL_TIME_END, END_OF_TIME)

    def start_of(self, window_end: int) -> int:  # noqa: ARG002 - there is but one
        return MIN_TIMESTAMP

    def previous_end(self, window_end: int) -> int:  # noqa: ARG002 - there is none
        return NO_TIME

    @property
    def longest_ms(self) -> int:
        """However far time moves, it closes nothing."""
        return 0


@dataclass(frozen=True, slots=True)
class GlobalWindow(TimelessWindow):
    """All records of a key."""

    kind: ClassVar[str] = "global_window"
    has_bounds: ClassVar[bool] = False

    def __str__(self) -> str:
        return self._text()

    @property
    def identity(self) -> list[Any]:
        return [self.kind]


@dataclass(frozen=True, slots=True)
class CountWindow(TimelessWindow):
    """The last ``size`` records of a key, whenever another ``every`` have come."""

    kind: ClassVar[str] = "count_window"

    size: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        for what, value in (("size", self.size), ("every", self.every)):
            if type(value) is not int or value < 1:
                raise DeclarationError(f"{self.kind}: {what} must be a whole number of records, at least 1, got {value!r}")

    def __str__(self) -> str:
        return self._text(str(self.size), *([f"every={self.every}"] if self.every != self.size else []))

    @property
    def identity(self) -> list[Any]:
        return [self.kind, self.size, self.every]
