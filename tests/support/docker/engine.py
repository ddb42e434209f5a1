"""A Docker engine: the one that answers, else one that is installed and started here, if that is wanted.

    DOCKER_HOST or /var/run/docker.sock answers ──> it is used as it is, and left as it is
    else, CI is set or STREAMKIT_TESTS_DOCKER=install, we are root, and there is apt-get:
        apt-get install what is missing ──> does it answer now? ──no──> dockerd, stopped at the end by its process id

Two things can go wrong, and they are told apart because CI must not pass without its container tests by accident:

- `EngineRefusedError`: this machine does not let us run an engine (not root, no apt-get, or dockerd starts and gives up, as it
  does in a sandbox without the kernel's help). The tests are skipped, and the summary says why.
- `EngineError`: something broke that should have worked (a package that does not install, an engine that hangs). With CI set the
  tests fail; elsewhere they are skipped.

`STREAMKIT_TESTS_DOCKER`: `install` as above without CI, `require` lets both be failures, `off` skips without looking.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command import output_of
from tests.support.jvm import Report
from tests.support.watchdog import Watchdog

MODE = "STREAMKIT_TESTS_DOCKER"
PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}  # command -> Debian's package
INSTALL_TIMEOUT = 300  # seconds
START_TIMEOUT = 30
STOP_TIMEOUT = 30  # dockerd stops the containers that still run, ten seconds each at most


class EngineError(Exception):
    """No engine can be had though one should be; the message says what failed."""


class EngineRefusedError(EngineError):
    """This machine does not let us run an engine; the message says why."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers: in words where it comes from, and how to end it (nothing to end if it was there)."""

    way: str
    version: str
    stop: Callable[[], None]


def wanted() -> bool:
    """Whether an engine may be installed and started here."""
    return os.environ.get(MODE) in {"install", "require"} or bool(os.environ.get("CI"))


def is_failure(error: EngineError) -> bool:
    """Whether the container tests fail for this, or are skipped."""
    if os.environ.get(MODE) == "require":
        return True
    return bool(os.environ.get("CI")) and not isinstance(error, EngineRefusedError)


def find_engine(report: Report) -> Engine:
    """The engine of this machine. `report` is told which, and what is done to get it."""
    if os.environ.get(MODE) == "off":
        raise EngineRefusedError(f"{MODE}=off")
    started = time.monotonic()
    engine = _running("the engine of this machine") or _own(report)
    report(f"{engine.way}, version {engine.version}, ready after {time.monotonic() - started:.1f} s")
    return engine


def client() -> Any:
    """A client of the engine. `EngineError`: none answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a client whose constructor failed leaves its socket open
        try:
            return importlib.import_module("docker").from_env(timeout=60)  # asks the engine for its version
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no engine
            reason = f"no Docker engine answers ({type(error).__name__})"
        gc.collect()
    raise EngineError(reason)


def _running(way: str) -> Engine | None:
    try:
        with contextlib.closing(client()) as docker:
            return Engine(way, docker.version()["Version"], lambda: None)
    except EngineError:
        return None


def _own(report: Report) -> Engine:
    if not wanted():
        raise EngineRefusedError(f"no Docker engine answers, and none is installed here without CI or {MODE}=install")
    if os.environ.get("DOCKER_HOST"):
        raise EngineError(f"DOCKER_HOST={os.environ['DOCKER_HOST']} does not answer")
    if os.geteuid() != 0:
        raise EngineRefusedError("no Docker engine answers, and installing one takes root")
    if missing := sorted({package for command, package in PACKAGES.items() if not shutil.which(command)}):
        if not shutil.which("apt-get"):
            raise EngineRefusedError("no Docker engine answers, and there is no apt-get to install one")
        report(f"apt-get install {' '.join(missing)} ...")
        install(missing)
        if engine := _running("the engine that apt-get has installed and started"):
            return engine
    return _start(report)


def install(packages: Sequence[str]) -> None:
    """By apt-get. `EngineError`: it does not work."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-qq", "-y", "--no-install-recommends", "install", *packages]
    done = _run(install, environment)
    if done.returncode:  # the lists of packages may be old, or not there at all
        _run(["apt-get", "-qq", "update"], environment)
        done = _run(install, environment)
    if done.returncode:
        raise EngineError(f"{' '.join(install)} failed: {done.stdout.strip()[-500:]}")


def _run(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return output_of(command, environment, INSTALL_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{' '.join(command)} took longer than {INSTALL_TIMEOUT} s") from error


def _start(report: Report) -> Engine:
    """dockerd as a process of this run: its containers and images stay where dockerd keeps them, for the next run."""
    log = Path(tempfile.mkdtemp(prefix="streamkit-dockerd-")) / "dockerd.log"
    report(f"starting dockerd, log in {log} ...")
    with log.open("wb") as output:
        # A session of its own: Ctrl-C in the terminal must reach pytest only, which then stops things in order.
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=_daemon_environment()
        )
    watchdog = Watchdog()
    watchdog.watch_daemon(daemon.pid)
    stop = _Stop(daemon, watchdog)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        if engine := _running("dockerd, started for this run"):
            return Engine(engine.way, engine.version, stop)
        if daemon.poll() is not None:
            watchdog.release()
            raise EngineRefusedError(f"dockerd gave up with exit code {daemon.returncode}:\n{_last_lines(log)}")
        if time.monotonic() > deadline:
            stop()
            raise EngineError(f"dockerd did not answer within {START_TIMEOUT} s:\n{_last_lines(log)}")
        time.sleep(0.1)


def _daemon_environment() -> dict[str, str]:
    """Debian keeps iptables in /usr/sbin, which is not on everybody's PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


@dataclass(frozen=True, slots=True)
class _Stop:
    """Ends the daemon that we started; what still runs in it is stopped by it."""

    daemon: subprocess.Popen[bytes]
    watchdog: Watchdog

    def __call__(self) -> None:
        self.watchdog.forget_process(self.daemon.pid)
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.watchdog.release()


def _last_lines(log: Path, count: int = 8) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
