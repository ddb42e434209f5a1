"""Nothing that a test run started outlives it, not even a run that was killed with SIGKILL.

A watchdog is a small process of its own that holds the reading end of a pipe. The test process tells it what to clean up
(processes, directories, containers); when the test process is gone, however it went, the kernel closes the pipe, and the
watchdog cleans up and ends. (`PR_SET_PDEATHSIG` would do it for processes, but on Linux only, it fires when the starting
*thread* ends, and it leaves directories and containers behind.)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from typing import IO, Self


class Watchdog:
    """The test process's side: what is watched is cleaned up when this process ends without `release`."""

    def __init__(self) -> None:
        # A session of its own: Ctrl-C in the terminal must reach pytest only, which then stops things in order.
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, start_new_session=True, text=True, bufsize=1
        )

    def watch_process(self, pid: int) -> None:
        self._say(f"process {pid}")

    def watch_daemon(self, pid: int) -> None:
        """A process that has something to put in order itself: it is told to end, not killed."""
        self._say(f"daemon {pid}")

    def forget_process(self, pid: int) -> None:
        """To be said before the process is waited for: afterwards its id may belong to somebody else."""
        self._say(f"forget {pid}")

    def watch_directory(self, path: os.PathLike[str]) -> None:
        self._say(f"directory {os.fspath(path)}")

    def watch_container(self, container_id: str) -> None:
        self._say(f"container {container_id}")

    def watch_label(self, label: str) -> None:
        """Containers and networks that carry it (`name=value`), those of later included."""
        self._say(f"label {label}")

    def release(self) -> None:
        """All is stopped in order: there is nothing left to clean up."""
        with contextlib.suppress(BrokenPipeError):  # the watchdog is already gone
            self._say("release")
            self._pipe.close()
        self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _say(self, line: str) -> None:
        self._pipe.write(line + "\n")


class _Watched:
    """The watchdog's side: what to clean up."""

    def __init__(self) -> None:
        self.processes: dict[int, int | None] = {}  # process id -> file descriptor that pins it (Linux), so that a
        self.daemons: set[int] = set()  # process which got the same id later is never hit
        self.directories: list[str] = []
        self.containers: list[str] = []
        self.labels: list[str] = []

    def hear(self, verb: str, what: str) -> None:
        if verb == "daemon":
            self.daemons.add(int(what))
        if verb in {"process", "daemon"}:
            with contextlib.suppress(ProcessLookupError):
                self.processes[int(what)] = os.pidfd_open(int(what)) if hasattr(os, "pidfd_open") else None
        elif verb == "forget":
            descriptor = self.processes.pop(int(what), None)
            if descriptor is not None:
                os.close(descriptor)
        elif verb == "directory":
            self.directories.append(what)
        elif verb == "container":
            self.containers.append(what)
        elif verb == "label":
            self.labels.append(what)

    def clean_up(self) -> None:
        for pid, descriptor in self.processes.items():
            number = signal.SIGTERM if pid in self.daemons else signal.SIGKILL
            with contextlib.suppress(ProcessLookupError):
                if descriptor is not None:
                    signal.pidfd_send_signal(descriptor, number)
                else:
                    os.kill(pid, number)
        for path in self.directories:
            shutil.rmtree(path, ignore_errors=True)
        if self.containers or self.labels:
            import docker

            client = docker.from_env(timeout=30)
            for container in self.containers:
                with contextlib.suppress(docker.errors.NotFound):
                    client.containers.get(container).remove(force=True, v=True)
            for label in self.labels:
                for found in client.containers.list(all=True, filters={"label": label}):
                    with contextlib.suppress(docker.errors.APIError):
                        found.remove(force=True, v=True)
                for network in client.networks.list(filters={"label": label}):
                    network.remove()


def main() -> None:
    watched = _Watched()
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        if verb == "release":
            return
        watched.hear(verb, what)
    watched.clean_up()


if __name__ == "__main__":
    main()
