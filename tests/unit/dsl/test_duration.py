"""Durations as users write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import DeclarationError
from streamkit.eventtime.duration import duration_ms, duration_text


@pytest.mark.parametrize(
    "value,ms",
    [
        ("100ms", 100), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000), (" 5s ", 5_000), ("0s", 0),
        (timedelta(seconds=1.5), 1_500), (timedelta(days=1), 86_400_000), (timedelta(0), 0),
    ],
)  # fmt: skip
def test_durations(value, ms):
    assert duration_ms(value, what="size") == ms


@pytest.mark.parametrize("value", ["", "5", "s", "1.5s", "5 s", "5S", "1h30m", "five", "5µs", None, True, [], "٣s"])
def test_what_is_no_duration(value):
    with pytest.raises(DeclarationError, match=r"size: .* is not a duration; write a whole number and ms, s, m, h or d"):
        duration_ms(value, what="size")


@pytest.mark.parametrize("value", [5, 2.5])
def test_a_number_has_no_unit(value):
    with pytest.raises(DeclarationError, match="has no unit"):
        duration_ms(value, what="size")


def test_limits():
    with pytest.raises(DeclarationError, match="finer than a millisecond"):
        duration_ms(timedelta(microseconds=1), what="size")
    with pytest.raises(DeclarationError, match="longer than a hundred years"):
        duration_ms("99999999999d", what="size")
    with pytest.raises(DeclarationError, match="must not be negative"):
        duration_ms("-5s", what="size")
    assert duration_ms("-5s", what="offset", negative=True) == -5_000
    assert duration_ms(timedelta(seconds=-5), what="offset", negative=True) == -5_000


@given(st.integers(0, 10**12))
def test_text_is_read_back(ms):
    assert duration_ms(duration_text(ms), what="size") == ms
