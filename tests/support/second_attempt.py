"""A test on a real Kafka that fails gets one more attempt: it waits for brokers and processes on a machine that has other work.
What the first one died of is printed at the end of the run. Wrong results get none: lost or doubled once is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NONE = ("tests/chaos/test_chaos.py",)
"""What is found there is drawn: a second attempt may draw something else."""


class WrongResultsError(AssertionError):
    """Results that are not those of the reference."""


@contextmanager
def results() -> Iterator[None]:
    """Around assertions on what came out."""
    try:
        yield
    except AssertionError as error:
        raise WrongResultsError(str(error)) from error


def allow(item: pytest.Item) -> None:
    if not item.nodeid.startswith(NONE):
        item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=3, rerun_except=[WrongResultsError.__name__]))


def summarise(reporter: pytest.TerminalReporter) -> None:
    """The first attempts that failed, in full."""
    for report in reporter.getreports("rerun"):
        reporter.section(f"first attempt of {report.nodeid}", sep="=", yellow=True)
        reporter.line(report.longreprtext)
