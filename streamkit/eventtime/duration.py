"""Durations as users write them, ``"100ms"``, ``"5s"``, ``"2m"``, ``"1h"``, ``"1d"`` or a `timedelta`; inside, milliseconds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from streamkit.errors import DeclarationError

Duration = str | timedelta

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT = re.compile(r"(-?)([0-9]+)(ms|s|m|h|d)")
_LONGEST_MS = 100 * 365 * 86_400_000  # a hundred years: far below what int64 milliseconds hold, far above any sane window


def duration_ms(value: Any, *, what: str, negative: bool = False) -> int:
    """Milliseconds of a duration; ``what`` names the argument in errors, ``negative`` allows one below zero (offsets).

    >>> duration_ms("2m", what="size"), duration_ms(timedelta(seconds=1.5), what="size")
    (120000, 1500)
    >>> duration_ms("2 minutes", what="size")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: size: '2 minutes' is not a duration; write a whole number and ...
    """
    ms = _milliseconds(value, what)
    if ms < 0 and not negative:
        raise DeclarationError(f"{what}: a duration must not be negative, got {value!r}")
    if abs(ms) > _LONGEST_MS:
        raise DeclarationError(f"{what}: {value!r} is longer than a hundred years")
    return ms


def duration_text(ms: int) -> str:
    """The shortest way to write milliseconds as a duration.

    >>> duration_text(90_000), duration_text(86_400_000), duration_text(0)
    ('90s', '1d', '0s')
    """
    if ms == 0:
        return "0s"
    unit, length = next((unit, length) for unit, length in reversed(_UNITS_MS.items()) if ms % length == 0)
    return f"{ms // length}{unit}"


def _milliseconds(value: Any, what: str) -> int:
    if isinstance(value, timedelta):
        ms, rest = divmod(value, timedelta(milliseconds=1))
        if rest:
            raise DeclarationError(f"{what}: {value!r} is finer than a millisecond, the unit of event time")
        return ms
    if isinstance(value, str) and (match := _TEXT.fullmatch(value.strip())):
        sign, digits, unit = match.groups()
        return int(f"{sign}{digits}") * _UNITS_MS[unit]
    wrong = f"{value!r} is not a duration"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        wrong = f"{value!r} has no unit"
    raise DeclarationError(f'{what}: {wrong}; write a whole number and ms, s, m, h or d ("90s", "2m"), or a timedelta')
