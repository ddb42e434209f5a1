"""Fixtures of all tiers, and two promises of the run as a whole: the real Kafka is named, and a run that tested nothing
is not a success. With pytest-xdist (`-n`) they hold as well: what the workers share is `tests/support/shared.py`."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.examples import FAST, USUAL
from tests.support.second_attempt import allow, summarise
from tests.support.shared import SHARED, Answer, Kind, Say, Shared, Started

# How long an example takes says nothing on a machine that others use as well. `make test` draws all examples; with `--no-broker`
# (`make test-fast`) every test draws three tenths of its own.
settings.register_profile(
    "streamkit", max_examples=USUAL, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("streamkit-fast", settings.get_profile("streamkit"), max_examples=FAST)
settings.load_profile("streamkit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-broker", action="store_true", help="deselect the tests that need a real Kafka broker")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-broker") and not config.getoption("--hypothesis-profile", None):
        settings.load_profile("streamkit-fast")  # before the tests are imported: they ask for their share of examples then
    # The engine first: the broker may be a container of it.
    config.stash[SHARED] = Shared(config, [Kind("docker", "Docker", _docker), Kind("real_broker", "real Kafka", _kafka)])


@pytest.hookimpl(tryfirst=True)  # before `-m` is applied, so that `-m broker` sees the marks set here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # Tests of containers bring their own broker, and `--no-broker` means: nothing outside of this process.
        if {"real_broker", "docker"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.broker)
        if item.get_closest_marker("broker"):
            allow(item)
    if config.getoption("--no-broker"):
        needy = [item for item in items if item.get_closest_marker("broker")]
        if needy:
            config.hook.pytest_deselected(items=needy)
            items[:] = [item for item in items if not item.get_closest_marker("broker")]
    if config.stash[SHARED].is_worker:
        from tests.support.distribution import rank

        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(tryfirst=True)  # before a worker of pytest-xdist says that it has collected: then it is looked up what it needs
def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts the broker before the first test if any of them asks for it: outside every test's own time-out, because jars
    or an image may have to be fetched, and at once, because without a broker the run has failed.

    What collecting has made lives until the end: the garbage collector need not look through it again and again."""
    if not session.config.option.collectonly:
        session.config.stash[SHARED].ask(session.items)
        _leave_without_broker(session.config)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_broker(request: pytest.FixtureRequest) -> str:
    """The bootstrap address of a real Kafka: one for the whole run, so topics and groups need names of their own."""
    if request.config.getoption("--no-broker"):
        pytest.fail("this run has no broker (--no-broker): mark the test with @pytest.mark.broker")
    answer = request.config.stash[SHARED].answer("real_broker")
    if answer.error:
        pytest.fail(answer.error, pytrace=False)
    return answer.address


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    succeeded = session.exitstatus == pytest.ExitCode.OK and not config.option.collectonly
    if reporter is not None and not config.stash[SHARED].is_worker and succeeded and not reporter.stats.get("passed"):
        config.stash[SHARED].say("real_broker", "no test passed, so this run proves nothing")
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
    if hasattr(config, "workeroutput"):
        config.stash[SHARED].hand_over(config.workeroutput)
    yield


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SHARED].stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    config.stash[SHARED].summarise(terminalreporter)
    summarise(terminalreporter)


# ---- with pytest-xdist, in the process that hands the tests out


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests wait for brokers, but those compute as well, and with two for each processor
    some waited longer than they should."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.support.distribution import Portions

    return Portions(config, log) if config.getvalue("dist") == "load" else None  # `--dist` of the command line holds


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.config.stash[SHARED].join(node.workerinput)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    node.config.stash[SHARED].collected()
    _leave_without_broker(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[SHARED].take_over(getattr(node, "workeroutput", {}))


# ---- what is shared


def _kafka(say: Say) -> Started:
    from tests.support.broker import NoBrokerError, find_broker

    try:
        broker = find_broker(lambda line: say(f"kafka: {line}"))
    except NoBrokerError as error:
        say(str(error))
        return Started(Answer(error=str(error), failure=True))
    return Started(Answer(broker.bootstrap), broker.stop)


def _leave_without_broker(config: pytest.Config) -> None:
    if config.stash[SHARED].failed("real_broker"):
        pytest.exit("no real Kafka can be had: see above", returncode=pytest.ExitCode.TESTS_FAILED)


def _docker(say: Say) -> Started:
    from tests.support.docker.engine import EngineError, find_engine, is_failure
    from tests.support.docker.images import KAFKA, PYTHON, Images

    def tell(line: str) -> None:
        say("docker: " + re.sub(r"\n(?=.)", "\n    ", line))

    stop = None
    try:
        engine = find_engine(tell)
        stop = engine.stop
        Images(tell).ensure(PYTHON, KAFKA)
    except EngineError as error:
        tell(f"{'FAILED' if is_failure(error) else 'skipped'}: {error}")
        return Started(Answer(error=str(error), failure=is_failure(error)), stop)
    return Started(Answer(engine.way), stop)
