"""`docker compose`: version 2 where it is there, else Debian's version 1, which takes the same file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.docker.engine import EngineError, EngineRefusedError, install, wanted
from tests.support.jvm import Report

_TIMEOUT_S = 240


class Compose:
    """One project of a compose file: `compose("up", "-d")` gives what it said, or raises."""

    def __init__(self, command: list[str], file: Path, project: str, environment: dict[str, str]) -> None:
        self.project = project
        self._command = [*command, "-f", str(file), "-p", project]
        self._environment = {**os.environ, **environment, "COMPOSE_ANSI": "never", "COMPOSE_INTERACTIVE_NO_CLI": "1"}

    def __call__(self, *arguments: str) -> str:
        command = [*self._command, *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"{' '.join(command)} took longer than {_TIMEOUT_S} s") from error
        if done.returncode:
            raise EngineError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout


def find_compose(report: Report) -> list[str]:
    """The command. `EngineRefusedError`: there is none, and none may be installed."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if _version(command) is not None:
            return command
    if not wanted():
        raise EngineRefusedError("there is neither `docker compose` nor docker-compose")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise EngineRefusedError(
            "there is neither `docker compose` nor docker-compose, and to install one takes root and apt-get"
        )
    report("apt-get install docker-compose ...")
    install(["docker-compose"])
    if _version(["docker-compose"]) is None:
        raise EngineError("docker-compose was installed and does not run")
    return ["docker-compose"]


def _version(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            [*command, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None
