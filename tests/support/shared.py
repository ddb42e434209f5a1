"""What all processes of a test run share, started once: the real Kafka and the Docker engine.

Without pytest-xdist there is one process, and it starts them itself. With it the workers know the tests, and the main process,
which has the terminal and outlives every worker, starts and stops what they share:

    worker   has collected ──> `ask`: a file in the run's directory          a test's fixture ──> `answer`: reads NAME.json
                                  │                                                                   ^
    main     pytest-xdist says that a worker has collected ──> `provide`: starts it, once ──> writes NAME.json
                                                                       before the first test is given out

So a worker that crashes takes nothing with it, and its successor finds all running. If the main process itself is killed, the
watchdogs of what it has started clean up.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.watchdog import Watchdog

_DIRECTORY = "streamkit_shared"
_LINES = "streamkit_lines"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it: its address, or why it cannot be had, and whether tests fail for that or are skipped."""

    address: str = ""
    error: str = ""
    failure: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    answer: Answer
    stop: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """`fixture`: what a test asks with; `title`: its section in the summary."""

    fixture: str
    title: str
    start: Callable[[Say], Started]


class Shared:
    """One per process of a run. `kinds` are started in this order, and stopped in the other one."""

    def __init__(self, config: pytest.Config, kinds: Iterable[Kind]) -> None:
        self._config = config
        self._kinds = {kind.fixture: kind for kind in kinds}
        self._started: dict[str, Started] = {}
        self._lines: dict[str, list[str]] = {name: [] for name in self._kinds}
        told: dict[str, str] = getattr(config, "workerinput", {})
        self.is_worker = bool(told)
        self._directory = Path(told[_DIRECTORY]) if self.is_worker else None
        self._watchdog: Watchdog | None = None

    # ---- in every process

    def ask(self, items: Iterable[pytest.Item]) -> None:
        """All of these tests are about to run. Starts what they need, or has it started by the main process."""
        names = {name for item in items for name in getattr(item, "fixturenames", ())}
        wanted = [name for name in self._kinds if name in names]
        if not self.is_worker:
            self.provide(wanted)
            return
        assert self._directory is not None
        for name in wanted:
            (self._directory / f"{name}.wanted").touch()

    def answer(self, name: str) -> Answer:
        if not self.is_worker:
            self.provide([name])
            return self._started[name].answer
        assert self._directory is not None
        try:
            return Answer(**json.loads((self._directory / f"{name}.json").read_text()))
        except FileNotFoundError:
            return Answer(error=f"'{name}' has to be an argument of the test: it is started before the first one", failure=True)

    def say(self, name: str, line: str) -> None:
        """Now, past pytest's capture, and once more in the summary; of a worker in the summary only."""
        self._lines[name].append(line)
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or capture is None or self.is_worker:
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)

    # ---- in the main process

    def provide(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._started:
                continue
            started = self._started[name] = self._kinds[name].start(partial(self.say, name))
            if self._directory is not None:
                part = self._directory / f"{name}.part"
                part.write_text(json.dumps(asdict(started.answer)))
                part.rename(self._directory / f"{name}.json")

    def failed(self, name: str) -> bool:
        """Whether it was to be started, and cannot be had."""
        return name in self._started and bool(self._started[name].answer.error)

    def join(self, workerinput: dict[str, object]) -> None:
        """A worker is about to start."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="streamkit-run-"))
            self._watchdog = Watchdog()
            self._watchdog.watch_directory(self._directory)
        workerinput[_DIRECTORY] = str(self._directory)

    def collected(self) -> None:
        """A worker has collected."""
        assert self._directory is not None
        self.provide([name for name in self._kinds if (self._directory / f"{name}.wanted").exists()])

    def hand_over(self, workeroutput: dict[str, object]) -> None:
        """A worker ends: what it had to say."""
        workeroutput[_LINES] = self._lines

    def take_over(self, workeroutput: dict[str, dict[str, list[str]]]) -> None:
        for name, lines in workeroutput.get(_LINES, {}).items():
            self._lines[name] += lines

    def summarise(self, terminal: pytest.TerminalReporter) -> None:
        for name, kind in self._kinds.items():
            if self._lines[name]:
                terminal.section(kind.title)
                for line in dict.fromkeys(self._lines[name]):
                    terminal.write_line(line)

    def stop(self) -> None:
        if self.is_worker:
            return
        while self._started:
            stop = self._started.popitem()[1].stop
            if stop is not None:
                stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        if self._watchdog is not None:
            self._watchdog.release()
            self._watchdog = None


SHARED = pytest.StashKey[Shared]()
"""Where the configuration of pytest has it."""
