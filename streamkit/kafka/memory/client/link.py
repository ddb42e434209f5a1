"""The way of one client to the cluster: every request passes `Link.send`, which is where a network can be simulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from streamkit.clock import Clock, SystemClock
from streamkit.errors import FatalError
from streamkit.kafka.memory.faults import Faults
from streamkit.kafka.memory.server.broker import Broker

P = ParamSpec("P")
R = TypeVar("R")


class Link:
    """Carries requests of the client `client_id`; cut for good when the client's process is declared dead."""

    def __init__(self, broker: Broker, faults: Faults, client_id: str) -> None:
        self.faults = faults
        self.client_id = client_id
        self._broker = broker
        self._waits = isinstance(broker.clock, SystemClock)
        self._cut = False

    @property
    def clock(self) -> Clock:
        return self._broker.clock

    @property
    def version(self) -> int:
        """Changes with everything that may end a wait."""
        return self._broker.version

    def send(self, handler: Callable[Concatenate[Broker, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Has the broker answer one request."""
        if self._cut:
            raise FatalError(f"client '{self.client_id}' has crashed", code="_DESTROY")
        with self._broker.changed:
            return handler(self._broker, *args, **kwargs)

    def wait(self, seen: int, deadline: float) -> bool:
        """Waits until the cluster is no longer as it was at version `seen`; False when `deadline` has passed.

        Only where time passes by itself: with a manual clock nothing can happen while the caller waits, so it is False at once.
        """
        if not self._waits:
            return False
        with self._broker.changed:
            while self._broker.version == seen and not self._cut:
                left = deadline - self.clock.monotonic()
                if left <= 0:
                    return False
                self._broker.changed.wait(left)
        return True

    def cut(self) -> None:
        """The process behind this link is dead: nothing of it reaches the cluster any more."""
        with self._broker.changed:
            self._cut = True
            self._broker.changed.notify_all()
