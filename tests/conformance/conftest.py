"""Every test here runs on the embedded cluster and, as a test that needs a broker, on a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from tests.conformance.world import MemoryWorld, RealWorld, Shared, World

KAFKAS = [pytest.param("memory", id="memory"), pytest.param("real", id="real", marks=pytest.mark.broker)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and call.params.get("world") == "real":
            # A list of its own: the variants of a test share one, and only this one asks for the broker. That it asks
            # before it runs lets the broker start outside the test's time-out.
            item.fixturenames = [*item.fixturenames, "real_broker"]  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def shared(real_broker: str) -> Iterator[Shared]:
    made = Shared(ConfluentClient(ConnectionSettings(real_broker)), ahead=True)
    yield made
    made.close()


@pytest.fixture(params=KAFKAS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World
    if request.param == "memory":
        made = MemoryWorld()
    else:
        made = RealWorld(request.getfixturevalue("real_broker"), request.getfixturevalue("shared"))
    yield made
    made.close()
    request.node.user_properties.extend(("difference", why) for why in made.differences)


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest, world: World) -> str:
    """For tests that hold under both group protocols."""
    world.protocol = request.param
    return request.param
