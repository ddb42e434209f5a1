"""Expressions of every kind that Polars has, a line each: those that a stream runs, and those that
it refuses.

Columns: i j (int), x y (float), s u (text), f g (bool), t v (datetime), d (date), k (bytes), n m (int and text, with nulls).
"""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).parent
NAMES = ["i", "j", "x", "y", "s", "u", "f", "g", "t", "v", "d", "k", "n", "m"]

ALLOWED = (HERE / "expressions_allowed.txt").read_text().splitlines()

REFUSED = (HERE / "expressions_refused.txt").read_text().splitlines()

# Neither: they make no expression, or none that could be in a plan.
NOT_EXPRESSIONS = {
    "": {"deserialize", "arr", "bin", "cat", "dt", "ext", "list", "meta", "name", "str", "struct", "map"},
}


def build(text: str) -> Any:
    """The expression of one line above."""
    scope: dict[str, Any] = {name: pl.col(name) for name in NAMES}
    scope |= {"pl": pl, "datetime": datetime, "date": date, "time": time, "timedelta": timedelta, "UTC": UTC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # users may still write cut() and pl.count("i")
        return eval(text, scope)


def frame() -> pl.DataFrame:
    """A dozen records with nulls, NaN, zeros, negative numbers, empty and non-ASCII text."""
    rows = 12
    start = datetime(2020, 2, 28, 23, 50, tzinfo=UTC)
    return pl.DataFrame(
        {
            "i": [0, 1, 2, 3, -1, 7, 2, 1, 100, -50, 4, 5],
            "j": [1, 2, 0, 3, 5, -7, 2, 1, 3, 50, -4, 1],
            "x": [0.0, 1.5, -2.25, 0.1, 1e300, float("nan"), float("inf"), -0.0, 3.3, 0.5, 1.0, 2.0],
            "y": [1.0, 1.5, 0.0, 0.1, 2.0, 1.0, 2.5, -1.0, 3.3, float("nan"), 1.0, -2.0],
            "s": ["abc", "", "b", "äbç", "ab ab", "123", "2020-01-02", "x", "12:30", "aBc", "2020-01-02 03:04", " b "],
            "u": ["abc", "b", "", "x", "ab", "3", "a", "xbx", "1", "B", "b", "bb"],
            "f": [True, False] * 6,
            "g": [True, True, False] * 4,
            "t": [start + timedelta(minutes=7 * n, microseconds=n) for n in range(rows)],
            "v": [start - timedelta(hours=31 * n) for n in range(rows)],
            "d": [date(2020, 2, 26) + timedelta(days=n) for n in range(rows)],
            "k": [b"abc", b"a", b"c", b"", b"\xff\x00", b"ca", b"1", b"ab", b"bc", b"q", b"ac", b"a"],
            "n": [1, None, 3, None, 5, 6, None, 8, 9, 1, None, 2],
            "m": ["a", None, "c", "d", None, "f", "g", None, "i", "j", "k", None],
        },
        schema_overrides={"t": pl.Datetime("us", "UTC"), "v": pl.Datetime("us", "UTC")},
    )
