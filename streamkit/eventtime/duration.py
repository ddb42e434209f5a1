"""Durations in a pipeline: `streamkit.config.duration` reads them, a wrong one is an error where it is declared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from streamkit.config.duration import duration_text, parse_ms
from streamkit.errors import DeclarationError

__all__ = ["Duration", "duration_ms", "duration_text"]

Duration = str | timedelta

_LONGEST_MS = 100 * 365 * 86_400_000  # a hundred years: far below what int64 milliseconds hold, far above any sane window


def duration_ms(value: Any, *, what: str, negative: bool = False) -> int:
    """Milliseconds of a duration; ``what`` names the argument in errors, ``negative`` allows one below zero (offsets).

    >>> duration_ms("2m", what="size"), duration_ms(timedelta(seconds=1.5), what="size")
    (120000, 1500)
    >>> duration_ms("2 minutes", what="size")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: size: '2 minutes' is not a duration; write a whole number and ...
    """
    try:
        ms = parse_ms(value)
    except ValueError as error:
        raise DeclarationError(f"{what}: {error}") from None
    if ms < 0 and not negative:
        raise DeclarationError(f"{what}: a duration must not be negative, got {value!r}")
    if abs(ms) > _LONGEST_MS:
        raise DeclarationError(f"{what}: {value!r} is longer than a hundred years")
    return ms
