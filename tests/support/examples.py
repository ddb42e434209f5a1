"""How many examples hypothesis draws: tests/conftest.py chooses for the whole run, and a test that is dearer or cheaper than
most names its own number."""

from __future__ import annotations

from hypothesis import settings

USUAL = 100
FAST = 60
"""Where only the tests run that need no broker. They run often, and each time with other examples."""


def examples(number: int) -> int:
    """For ``max_examples``: this number in a run of all tests, the same share of it as everywhere in one of the fast tests."""
    return max(1, number * settings().max_examples // USUAL)
