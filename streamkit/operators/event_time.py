"""Event times out of untyped values and functions: datetimes, RFC 3339 text, or int milliseconds since 1970 UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record import instants

Int64s = npt.NDArray[np.int64]


def scalar_ms(value: Any) -> int:
    """One event time in milliseconds. A naive datetime is UTC; parts of a millisecond are cut off downwards.

    ValueError for null, text that is not RFC 3339, or an int beyond 64 bits; TypeError for other types.

    >>> scalar_ms("2020-04-15T08:05:00Z"), scalar_ms(1586937900000)
    (1586937900000, 1586937900000)
    """
    if isinstance(value, datetime):
        return instants.micros_of(value) // 1000
    if isinstance(value, str):
        try:
            return instants.parse_one(value) // 1000
        except ValueError:
            raise ValueError(f"{value[:40]!r} is no time of RFC 3339, such as '2020-04-15T08:05:00Z'") from None
    if value is None:
        raise ValueError("the event time is null")
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"an event time is a datetime or int milliseconds, not {type(value).__name__}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"event time {value} does not fit into 64 bits")
    return int(value)


def milliseconds_of(values: list[Any]) -> tuple[Int64s, npt.NDArray[np.bool_] | None]:
    """`scalar_ms` of each value, and which are not null (None: all of them)."""
    valid = np.fromiter((value is not None for value in values), bool, len(values))
    if bool(valid.all()):
        return np.fromiter(map(scalar_ms, values), np.int64, len(values)), None
    return np.fromiter((0 if value is None else scalar_ms(value) for value in values), np.int64, len(values)), valid
