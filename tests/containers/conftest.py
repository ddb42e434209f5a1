"""The tier that needs Docker: what it does where there is none, and what its tests share.

Where a Docker engine answers it is used. Where none does and CI is set (or STREAMKIT_TESTS_DOCKER=install), one is installed and
started for this run, and the public images are pulled, or look-alikes built (tests/support/docker). All that happens before the
first test, outside of its time-out. Where no engine can be had, the tests are skipped and the summary says why; in CI they fail
instead, unless it is the machine that refuses to run one (`tests/support/docker/engine.py` tells the two apart).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamkit.testing.containers import Kafka, kafka
from tests.support.container import label_of_this_run
from tests.support.docker.engine import Engine, EngineError, client, find_engine, is_failure
from tests.support.docker.images import KAFKA, PYTHON, Images, build
from tests.support.watchdog import Watchdog

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIDS = "streamkit/bids:test"
QUICK = {"commit_interval": "50ms", "transaction_timeout": "4s", "session_timeout": "6s"}
"""Settings with which a killed replica is missed within a test's patience."""


@dataclass
class Docker:
    """What became of the search for an engine, for all tests of the run."""

    report: list[str] = field(default_factory=list)
    engine: Engine | None = None
    error: EngineError | None = None
    watchdog: Watchdog | None = None


_DOCKER = pytest.StashKey[Docker]()


@pytest.hookimpl(tryfirst=True)  # before `-m` is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_ours(item) and "docker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)  # they bring their own, and `--no-broker` means: nothing outside of this process


@pytest.hookimpl(tryfirst=True)  # before the broker of the run is looked for: it may be a container then
def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any(_is_ours(item) and "docker" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        session.config.stash[_DOCKER] = docker = Docker()
        try:
            docker.engine = find_engine(lambda line: _say(session.config, line))
            Images(lambda line: _say(session.config, line)).ensure(PYTHON, KAFKA)
        except EngineError as error:
            docker.error = error
            _say(session.config, f"{'FAILED' if is_failure(error) else 'skipped'}: {error}")


@pytest.hookimpl(trylast=True)  # after the broker of the run, which may be a container
def pytest_unconfigure(config: pytest.Config) -> None:
    docker = config.stash.get(_DOCKER, None)
    if docker is not None:
        del config.stash[_DOCKER]
        if docker.watchdog is not None:
            docker.watchdog.release()
        if docker.engine is not None:
            docker.engine.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    docker = config.stash.get(_DOCKER, None)
    if docker is not None:
        terminalreporter.section("Docker")
        for line in docker.report:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest) -> Docker:
    """An engine with the public images; without one the test is skipped, or fails, as this file says."""
    found = request.config.stash.get(_DOCKER, None)
    assert found is not None, "the engine is looked for when the collection is finished"
    if found.error is not None:
        (pytest.fail if is_failure(found.error) else pytest.skip)(f"no Docker: {found.error}")
    if found.watchdog is None:
        found.watchdog = Watchdog()
        found.watchdog.watch_label(label_of_this_run())
    return found


@pytest.fixture(scope="session")
def bids_image(docker: Docker, request: pytest.FixtureRequest) -> str:
    """The image of the bids service, of this working tree."""
    with contextlib.closing(client()) as api:
        try:
            build(api, ROOT, BIDS, dockerfile="services/Dockerfile", arguments={"SERVICE": "bids"})
        except EngineError as error:
            pytest.fail(str(error), pytrace=False)
        size = api.images.get(BIDS).attrs["Size"]
        _say(request.config, f"image of the bids service: {size / 1e6:.0f} MB unpacked")
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


def _is_ours(item: pytest.Item) -> bool:
    return HERE in Path(item.path).parents


def _say(config: pytest.Config, line: str) -> None:
    """Now, past pytest's capture, and once more in the summary."""
    line = re.sub(r"\n(?=.)", "\n    ", line)
    config.stash[_DOCKER].report.append(f"docker: {line}")
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None and capture is not None:  # a worker of pytest-xdist has no terminal
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"docker: {line}")
