"""Durations as users write them, ``"100ms"``, ``"5s"``, ``"2m"``, ``"1h"``, ``"1d"`` or a `timedelta`; inside, milliseconds."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT = re.compile(r"(-?)([0-9]+)(ms|s|m|h|d)")


def parse_ms(value: object) -> int:
    """Milliseconds of a duration. `ValueError` says what is wrong with it, for the caller to say where it stands.

    >>> parse_ms("2m"), parse_ms(timedelta(seconds=1.5))
    (120000, 1500)
    >>> parse_ms(50)
    Traceback (most recent call last):
    ValueError: 50 has no unit; write a whole number and ms, s, m, h or d ("90s", "2m"), or a timedelta
    """
    if isinstance(value, timedelta):
        ms, rest = divmod(value, timedelta(milliseconds=1))
        if rest:
            raise ValueError(f"{value!r} is finer than a millisecond, the unit of event time")
        return ms
    if isinstance(value, str) and (match := _TEXT.fullmatch(value.strip())):
        sign, digits, unit = match.groups()
        return int(f"{sign}{digits}") * _UNITS_MS[unit]
    wrong = f"{value!r} is not a duration"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        wrong = f"{value!r} has no unit"
    raise ValueError(f'{wrong}; write a whole number and ms, s, m, h or d ("90s", "2m"), or a timedelta')


def duration_text(ms: int) -> str:
    """The shortest way to write milliseconds as a duration.

    >>> duration_text(90_000), duration_text(86_400_000), duration_text(0)
    ('90s', '1d', '0s')
    """
    if ms == 0:
        return "0s"
    unit, length = next((unit, length) for unit, length in reversed(_UNITS_MS.items()) if ms % length == 0)
    return f"{ms // length}{unit}"
