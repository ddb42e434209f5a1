"""When a task tells its time downstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamkit.eventtime.watermark import NO_TIME
from streamkit.eventtime.windows import Window
from streamkit.runtime.control import TaskWord


@dataclass(frozen=True, slots=True)
class LastWord:
    """What a task said last through a repartition topic, and when (monotonic seconds)."""

    word: TaskWord
    at: float


def due(
    word: TaskWord, last: LastWord | None, *, now: float, windows: Sequence[Window], interval_s: float, heartbeat_s: float
) -> bool:
    """Whether this word must go out with the next transaction.

    At once: the first word, a changed state, and a frontier that may close a window downstream. Other news at most once per
    interval. No news is repeated as a heartbeat, so that a reader that restarts hears from everyone.
    """
    if last is None or word.state != last.word.state:
        return True
    if word.frontier > last.word.frontier:
        if any(_closes(window, last.word.frontier, word.frontier) for window in windows):
            return True
        return now - last.at >= interval_s
    return now - last.at >= heartbeat_s


def _closes(window: Window, before: int, after: int) -> bool:
    if before == NO_TIME:
        return True
    ends = window.first_open_end(np.array([before, after], np.int64))
    return bool(ends[0] != ends[1])
