"""Instants in columns: RFC 3339 text and datetime objects to and from int64 microseconds since 1970 UTC.

Text is read as msgspec reads it (date and time apart by ``T`` or a space, an offset, ``Z`` or nothing, which is UTC; digits
beyond microseconds are rounded), so a projection and the full decode of a record agree. Texts of one shape, of which a topic
has few, are parsed as a matrix of characters.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Micros = npt.NDArray[np.int64]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MICROS = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
LAST_MICROS = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z
_DATE_TIME = "0000-00-00T00:00:00"
_OFFSET = "+00:00"
_TZINFO = operator.attrgetter("tzinfo")
_DAYS, _SECONDS, _MICROSECONDS = (operator.attrgetter(name) for name in ("days", "seconds", "microseconds"))


def micros_of(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly; a naive datetime is taken as UTC.

    >>> micros_of(datetime(2020, 4, 15, 8, 5, 0, 1))
    1586937900000001
    """
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def datetime_of(micros: int) -> datetime:
    """The datetime, in UTC, of microseconds since 1970; OverflowError outside the years 1 to 9999.

    >>> datetime_of(1586937900000001).isoformat()
    '2020-04-15T08:05:00.000001+00:00'
    """
    return EPOCH + timedelta(microseconds=int(micros))


def datetimes_of(micros: Micros) -> list[datetime]:
    """`datetime_of` for a column."""
    if len(micros) and not _in_range(micros):
        raise OverflowError("an instant outside the years 1 to 9999")
    return list(map(EPOCH.__add__, micros.view("m8[us]").tolist()))


def micros_of_datetimes(moments: Sequence[datetime]) -> Micros:
    """`micros_of` for a column."""
    if set(map(_TZINFO, moments)) != {UTC}:
        return np.fromiter(map(micros_of, moments), np.int64, len(moments))
    since = list(map(operator.sub, moments, repeat(EPOCH)))
    count = len(since)
    seconds = np.fromiter(map(_DAYS, since), np.int64, count) * 86_400 + np.fromiter(map(_SECONDS, since), np.int64, count)
    return seconds * 1_000_000 + np.fromiter(map(_MICROSECONDS, since), np.int64, count)


def parse_one(text: str) -> int:
    """Microseconds of one RFC 3339 text; ValueError if it is none, or outside the years 1 to 9999 in UTC.

    >>> parse_one("2020-04-15T10:05:00+02:00") == parse_one("2020-04-15T08:05:00")
    True
    """
    micros = micros_of(msgspec.convert(text, datetime))
    if not FIRST_MICROS <= micros <= LAST_MICROS:
        raise ValueError(f"{text!r} is outside the years 1 to 9999 in UTC")
    return micros


def parse(texts: Sequence[str]) -> Micros:
    """Microseconds of RFC 3339 texts; ValueError if any is none (`parse_one` then finds which).

    >>> parse(["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z", "1970-01-01 01:00:00+01:00"]).tolist()
    [1000000, 1500000, 0]
    """
    micros = _parse_alike(texts)
    return micros if micros is not None else _parse_by_length(texts)


def _parse_by_length(texts: Sequence[str]) -> Micros:
    """Where a writer leaves out zeros at the end of the fraction (Java's `Instant`, Python's `isoformat`), a batch has texts of
    several lengths, and those of one length are alike."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    micros = np.empty(len(texts), np.int64)
    for length in np.unique(lengths).tolist():
        at = np.flatnonzero(lengths == length)
        some = [texts[index] for index in at.tolist()]
        alike = _parse_alike(some)
        micros[at] = np.fromiter(map(parse_one, some), np.int64, len(some)) if alike is None else alike
    return micros


def _parse_alike(texts: Sequence[str]) -> Micros | None:
    """All texts at once; None unless all have the shape of the first and are well-formed."""
    if not texts or not (joined := "".join(texts)).isascii() or len(set(map(len, texts))) != 1:
        return None
    shape = _shape(texts[0])
    if shape is None or len(joined) != len(shape) * len(texts):
        return None
    # One row per character position: every step below then runs over adjacent bytes.
    chars = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), len(shape)).T.copy()
    digits = chars - np.uint8(ord("0"))
    for place, wanted in enumerate(shape):
        if not (digits[place].max() <= 9 if wanted == "0" else (chars[place] == ord(wanted)).all()):
            return None
    return _assemble(digits, shape)


def _shape(text: str) -> str | None:
    """Of ``2020-04-15T08:05:00.25+02:00``: ``0000-00-00T00:00:00.00+00:00``. None for what the fast path leaves alone."""
    body, zone = text, ""
    if text.endswith("Z"):
        body, zone = text[:-1], "Z"
    elif text[-6:-5] in ("+", "-") and len(text) > len(_DATE_TIME):
        body, zone = text[:-6], text[-6] + _OFFSET[1:]
    date_time = _DATE_TIME if body[10:11] == "T" else _DATE_TIME.replace("T", " ")
    fraction = body[len(date_time) :]
    if fraction and (fraction[0] != "." or not 2 <= len(fraction) <= 10):
        return None
    return date_time + fraction[:1] + "0" * len(fraction[1:]) + zone


def _assemble(digits: npt.NDArray[np.uint8], shape: str) -> Micros | None:
    days = _days(_number(digits[0:4]), _number(digits[5:7]), _number(digits[8:10]))
    hour, minute, second = _number(digits[11:13]), _number(digits[14:16]), _number(digits[17:19])
    if days is None or hour.max() > 23 or minute.max() > 59 or second.max() > 59:
        return None
    micros = (days * 86_400 + (hour * 60 + minute) * 60 + second) * 1_000_000
    signed = shape[-6] in "+-"
    fraction = digits[len(_DATE_TIME) + 1 : len((shape[:-6] if signed else shape).removesuffix("Z"))]
    if len(fraction):
        micros += _fraction(fraction)
    if signed:
        ahead, minutes = _number(digits[-5:-3]), _number(digits[-2:])
        if ahead.max() > 23 or minutes.max() > 59:
            return None
        offset = (ahead * 60 + minutes) * 60_000_000
        micros = micros + offset if shape[-6] == "-" else micros - offset
    return micros if _in_range(micros) else None


def _number(digits: npt.NDArray[np.uint8]) -> Micros:
    value: Micros = digits[0].astype(np.int64)
    for digit in digits[1:]:
        value *= 10
        value += digit
    return value


def _fraction(digits: npt.NDArray[np.uint8]) -> Micros:
    micros: Micros = _number(digits[:6]) * 10 ** max(0, 6 - len(digits))
    if len(digits) > 6:
        micros += digits[6] >= 5
    return micros


def _days(year: Micros, month: Micros, day: Micros) -> Micros | None:
    """Days since 1970; None if any is not in the calendar."""
    if year.min() < 1 or month.min() < 1 or month.max() > 12 or day.min() < 1:
        return None
    months = (year - 1970) * 12 + month - 1
    unique = np.arange(months.min(), months.max() + 2)
    if len(unique) > 10_000:  # dates centuries apart: not worth a table
        return None
    starts = unique.view("M8[M]").astype("M8[D]").view(np.int64)
    place = months - unique[0]
    if (day > (starts[1:] - starts[:-1])[place]).any():
        return None
    days: Micros = starts[place] + day - 1
    return days


def _in_range(micros: Micros) -> bool:
    return bool(micros.min() >= FIRST_MICROS and micros.max() <= LAST_MICROS)


def as_utc(moment: Any) -> datetime:
    """The same instant with ``tzinfo`` UTC; a naive datetime is taken as UTC. ValueError outside the years 1 to 9999."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)  # type: ignore[no-any-return]
    try:
        return moment.astimezone(UTC)  # type: ignore[no-any-return]
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is outside the years 1 to 9999 in UTC") from None
