"""Fixtures of all tiers, and two promises of the run as a whole: the real Kafka is named, and a run that tested nothing
is not a success."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.broker import Broker, NoBrokerError, find_broker

# How long an example takes says nothing on a machine that others use as well.
settings.register_profile("streamkit", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("streamkit")

_BROKER = pytest.StashKey[Broker]()
_REPORTED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-broker", action="store_true", help="deselect the tests that need a real Kafka broker")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORTED] = []


@pytest.hookimpl(tryfirst=True)  # before `-m` is applied, so that `-m broker` sees the marks set here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "real_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)
    if config.getoption("--no-broker"):
        needy = [item for item in items if item.get_closest_marker("broker")]
        if needy:
            config.hook.pytest_deselected(items=needy)
            items[:] = [item for item in items if not item.get_closest_marker("broker")]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts the broker before the first test if any of them asks for it: outside every test's own time-out, because jars
    or an image may have to be fetched, and at once, because without a broker the run has failed."""
    config = session.config
    if config.option.collectonly or not any("real_broker" in getattr(item, "fixturenames", ()) for item in session.items):
        return
    try:
        _broker(config)
    except NoBrokerError as error:
        _report(config, str(error))
        pytest.exit("no real Kafka can be had: see above", returncode=pytest.ExitCode.TESTS_FAILED)


@pytest.fixture(scope="session")
def real_broker(request: pytest.FixtureRequest) -> str:
    """The bootstrap address of a real Kafka: one for the whole run, so topics and groups need names of their own."""
    if request.config.getoption("--no-broker"):
        pytest.fail("this run has no broker (--no-broker): mark the test with @pytest.mark.broker")
    try:
        return _broker(request.config).bootstrap
    except NoBrokerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    succeeded = session.exitstatus == pytest.ExitCode.OK and not session.config.option.collectonly
    if reporter is not None and succeeded and not reporter.stats.get("passed"):
        _report(session.config, "no test passed, so this run proves nothing")
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
    yield


def pytest_unconfigure(config: pytest.Config) -> None:
    broker = config.stash.get(_BROKER, None)
    if broker is not None:
        del config.stash[_BROKER]
        broker.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_REPORTED]:
        terminalreporter.section("real Kafka")
        for line in config.stash[_REPORTED]:
            terminalreporter.write_line(line)


def _broker(config: pytest.Config) -> Broker:
    broker = config.stash.get(_BROKER, None)
    if broker is None:
        broker = find_broker(lambda line: _report(config, f"kafka: {line}"))
        config.stash[_BROKER] = broker
    return broker


def _report(config: pytest.Config, line: str) -> None:
    """Says it now, past pytest's capture, and once more in the summary."""
    config.stash[_REPORTED].append(line)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or capture is None:  # a worker of pytest-xdist has no terminal
        return
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(line)
