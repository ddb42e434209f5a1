"""Fixtures for pytest; they are there wherever streamkit is installed, and cost nothing until they are asked for.

`streamkit_kafka` is a real Kafka for the whole run, `streamkit_service` starts a service on it and removes it after the test.
Topics and groups outlive a test: give them names of their own, or reset what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from streamkit.testing.containers.broker import Kafka
    from streamkit.testing.containers.replicas import Service


@pytest.fixture(scope="session")
def streamkit_kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A real Kafka: the one that KAFKA_BOOTSTRAP_SERVERS names, else a container. Which of them is printed."""
    from streamkit.errors import StreamkitError  # noqa: PLC0415 - a run that asks for no fixture loads nothing
    from streamkit.testing.containers.broker import kafka  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        try:
            broker = stack.enter_context(kafka(report=partial(_print, request.config)))
        except StreamkitError as error:
            pytest.fail(str(error), pytrace=False)
        yield broker


@pytest.fixture
def streamkit_service(streamkit_kafka: Kafka, request: pytest.FixtureRequest) -> Iterator[Callable[..., Service]]:
    """Starts a service on `streamkit_kafka`, with the arguments of `streamkit.testing.containers.service`."""
    from streamkit.testing.containers.replicas import service  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        started: list[Service] = []

        def start(*arguments: Any, **options: Any) -> Service:
            run = partial(service, *arguments, kafka=streamkit_kafka, report=partial(_print, request.config))
            started.append(stack.enter_context(run(**options)))
            return started[-1]

        yield start
        for each in started:  # shown by pytest beside a test that failed
            request.node.add_report_section("call", "streamkit", each.logs())


def _print(config: pytest.Config, line: str) -> None:
    """Past pytest's capture."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or capture is None:  # a worker of pytest-xdist has no terminal
        return
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(line)
