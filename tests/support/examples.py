"""How much is drawn: tests/conftest.py chooses for the whole run, and a test that is dearer or cheaper than most names its own
number. What a run of the fast tests leaves out, `make test` has."""

from __future__ import annotations

from hypothesis import settings

USUAL = 100
FAST = 30
"""Where only the tests run that need no broker. They run often, and each time with other examples."""


def examples(number: int) -> int:
    """For ``max_examples``: this number in a run of all tests, the same share of it as everywhere in one of the fast tests."""
    return max(1, number * settings().max_examples // USUAL)


def seeds(number: int) -> int:
    """For runs of the simulator: this number in a run of all tests, half of it in one of the fast tests, of which there are still
    some hundreds."""
    return number if everything() else (number + 1) // 2


def everything() -> bool:
    """Whether this is a run of all tests."""
    return settings().max_examples >= USUAL
