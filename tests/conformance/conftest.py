"""Every test here runs on the embedded cluster and, as a test that needs a broker, on a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.kafka.memory import Cluster
from tests.conformance.world import MemoryWorld, RealWorld, World

KAFKAS = [pytest.param("memory", id="memory"), pytest.param("real", id="real", marks=pytest.mark.broker)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and call.params.get("world") == "real":
            # A list of its own: the variants of a test share one, and only this one asks for the broker. That it asks
            # before it runs lets the broker start outside the test's time-out.
            item.fixturenames = [*item.fixturenames, "real_broker"]  # type: ignore[attr-defined]


@pytest.fixture(params=KAFKAS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World = MemoryWorld(Cluster()) if request.param == "memory" else RealWorld(request.getfixturevalue("real_broker"))
    yield made
    made.close()
