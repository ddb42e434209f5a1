"""tumbling and cumulating: windows of event time on a fixed grid."""

from __future__ import annotations

from typing import Any

from streamkit.errors import DeclarationError
from streamkit.eventtime.duration import Duration, duration_ms
from streamkit.eventtime.windows import FixedWindow


def tumbling(size: Duration, *, offset: Duration = "0s", grace: Duration = "0s") -> FixedWindow:
    """Windows of one size side by side: each record is in exactly one.

    Boundaries are at multiples of ``size`` from 1970-01-01T00:00Z, moved by ``offset`` (which may be negative). A window
    [start, end) closes when the watermark passes end + ``grace``: longer grace, fewer late records, later results (Kafka Streams'
    ``TimeWindows.ofSizeAndGrace``). `DeclarationError`: a duration that is malformed, a size of zero, a negative grace.

    >>> import streamkit as sk
    >>> print(sk.tumbling("1m", grace="10s"))
    tumbling(1m, grace=10s)
    >>> sk.tumbling("0s")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: tumbling window: size must be longer than 0, got 0 ms
    """
    size_ms = duration_ms(size, what="tumbling window: size")
    return _fixed("tumbling", size_ms, size_ms, offset, grace)


def cumulating(size: Duration, step: Duration, *, offset: Duration = "0s", grace: Duration = "0s") -> FixedWindow:
    """Windows of one start that grow by ``step`` up to ``size``, then start anew: a running total with results on the way.

    The windows of a span are [start, start + step), [start, start + 2*step), ... [start, start + size) (Flink's ``CUMULATE``).
    A record counts in every window that holds it; one that is late for the first ones still counts in the later ones. No result
    for a window in which nothing has arrived yet. ``offset`` and ``grace`` as in `tumbling`. `DeclarationError`: as there, or
    a size that is no multiple of the step.

    >>> import streamkit as sk
    >>> print(sk.cumulating("10m", step="2m"))
    cumulating(10m, step=2m)
    >>> sk.cumulating("10m", step="3m")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: cumulating window: size (600000 ms) must be a multiple of step (180000 ms)
    """
    size_ms, step_ms = (duration_ms(value, what=f"cumulating window: {what}") for what, value in (("size", size), ("step", step)))
    return _fixed("cumulating", size_ms, step_ms, offset, grace)


def checked_window(window: Any) -> FixedWindow:
    if not isinstance(window, FixedWindow):
        raise DeclarationError(f'window: expected sk.tumbling("1m") or sk.cumulating("10m", step="2m"), got {window!r}')
    return window


def _fixed(kind: str, size_ms: int, step_ms: int, offset: Duration, grace: Duration) -> FixedWindow:
    offset_ms = duration_ms(offset, what=f"{kind} window: offset", negative=True)
    return FixedWindow(kind, size_ms, step_ms, offset_ms, duration_ms(grace, what=f"{kind} window: grace"))
