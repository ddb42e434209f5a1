"""What a replica of a service is to a test, whether it is a process or a container."""

from __future__ import annotations

import json
from typing import Any, Protocol

TAIL_LINES = 30


class Replica(Protocol):
    """One worker process of the service, or a container with one. It can be started again after it has ended.

    NEW ──start──> RUNNING ──ends, killed, stopped──> ENDED ──start──> RUNNING
    """

    name: str

    def start(self) -> None:
        """Does not wait for anything the service does."""
        ...

    def terminate(self) -> None:
        """SIGTERM, without waiting; nothing if it does not run."""
        ...

    def kill(self) -> None:
        """SIGKILL: it has no chance to do anything."""
        ...

    def wait(self, timeout_s: float) -> int | None:
        """The exit code once it ends by itself; None: not in time."""
        ...

    def exit_code(self) -> int | None:
        """None while it runs, and before its first start."""
        ...

    def log(self) -> str:
        """All that it has written in all of its lives."""
        ...

    def close(self) -> None:
        """Removes what is left of it, and ends it before if it still runs."""
        ...


def events_of(log: str) -> list[dict[str, Any]]:
    """The lines of a log that streamkit wrote, as objects.

    >>> events_of('warning: something\\n{"event": "running", "tasks": ["bids-0"]}\\n')
    [{'event': 'running', 'tasks': ['bids-0']}]
    """
    found = []
    for line in log.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # a line that is being written, or somebody else's
    return [each for each in found if isinstance(each, dict) and "event" in each]


def tail(log: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, for a message."""
    return "\n".join(log.splitlines()[-lines:]) or "(it wrote nothing)"
