"""The tier that needs Docker: what it does where there is none, and what its tests share.

Where a Docker engine answers it is used. Where none does and CI is set (or STREAMKIT_TESTS_DOCKER=install), one is installed and
started for this run, and the public images are pulled, or look-alikes built (tests/support/docker). All that happens before the
first test, outside of its time-out. Where no engine can be had, the tests are skipped and the summary says why; in CI they fail
instead, unless it is the machine that refuses to run one (`tests/support/docker/engine.py` tells the two apart).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamkit.testing.containers import Kafka, kafka
from tests.support.container import label_of_this_run
from tests.support.docker.engine import EngineError, client
from tests.support.docker.images import build
from tests.support.shared import SHARED
from tests.support.watchdog import Watchdog

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIDS = "streamkit/bids:test"
QUICK = {"commit_interval": "50ms", "transaction_timeout": "4s", "session_timeout": "6s"}
"""Settings with which a killed replica is missed within a test's patience."""


@dataclass(frozen=True, slots=True)
class Docker:
    """The engine of this run; `say` puts a line into the summary."""

    way: str
    say: Callable[[str], None]


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest) -> Iterator[Docker]:
    """An engine with the public images; without one the test is skipped, or fails, as this file says."""
    shared = request.config.stash[SHARED]
    answer = shared.answer("docker")
    if answer.error:
        (pytest.fail if answer.failure else pytest.skip)(f"no Docker: {answer.error}")
    with Watchdog() as watchdog:
        watchdog.watch_label(label_of_this_run())
        yield Docker(answer.address, lambda line: shared.say("docker", f"docker: {line}"))


@pytest.fixture(scope="session")
def bids_image(docker: Docker) -> str:
    """The image of the bids service, of this working tree."""
    with contextlib.closing(client()) as api:
        try:
            build(api, ROOT, BIDS, dockerfile="services/Dockerfile", arguments={"SERVICE": "bids"})
        except EngineError as error:
            pytest.fail(str(error), pytrace=False)
        size = api.images.get(BIDS).attrs["Size"]
        docker.say(f"image of the bids service: {size / 1e6:.0f} MB unpacked")
    return BIDS


@pytest.fixture(scope="module")
def shared_kafka(docker: Docker) -> Iterator[Kafka]:
    """A Kafka in a container, for tests whose topics have names of their own."""
    with own_kafka() as broker:
        yield broker


@contextlib.contextmanager
def own_kafka() -> Iterator[Kafka]:
    """A Kafka in a container, whatever KAFKA_BOOTSTRAP_SERVERS says: this tier's containers must reach it in its network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
        with kafka(settings={"log.cleaner.backoff.ms": "200"}) as broker:
            yield broker


@pytest.fixture
def clean_kafka(docker: Docker) -> Iterator[Kafka]:
    """A Kafka in a container for this test alone: the bids service has topics of fixed names."""
    with own_kafka() as broker:
        yield broker
