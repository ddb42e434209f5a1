"""How requests of clients reach the embedded cluster: at once by default; a simulation puts delays, losses and repetitions here.

Every request of every client passes `Network.send` under Kafka's name for it (`Produce`, `EndTxn`, ...). What a simulated
network may do with it: call `deliver` now, later, more than once or never, and raise `NoAnswer` for a request or an answer that
was lost; it may also raise a BrokerError of its own, which counts as the answer.
Clients repeat a request without an answer as librdkafka does (`client/link.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from streamkit.clock import SystemClock
from streamkit.kafka.memory.server.broker import Broker

R = TypeVar("R")

_SHORTEST_WAIT_S = 0.01


class NoAnswer(Exception):  # noqa: N818 - not an error of the one who sees it: what happened to the request is not known
    """A request got no answer: it was lost, or its answer was. Whether the broker acted on it is not known."""


class Network(Protocol):
    """What lies between the clients and the cluster. Called from the thread (or greenlet) of the client."""

    def send(self, client_id: str, request: str, deliver: Callable[[], R]) -> R:
        """The broker's answer to a request: what `deliver` returns or raises. `deliver` may be called at any time, also after
        the client is gone, and takes the cluster's lock itself. Raises NoAnswer."""
        ...

    def wait(self, client_id: str, seen: int, deadline: float) -> bool:
        """Waits until the cluster is no longer as it was at version `seen`; False when `deadline` (monotonic) has passed."""
        ...


class Direct:
    """No distance: every request is answered at once. Waits only where time passes by itself: with a manual clock nothing can
    happen while the caller waits, so `wait` is False at once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waits = isinstance(broker.clock, SystemClock)

    def send(self, client_id: str, request: str, deliver: Callable[[], R]) -> R:  # noqa: ARG002 - no fault is chosen by them
        return deliver()

    def wait(self, client_id: str, seen: int, deadline: float) -> bool:  # noqa: ARG002 - all clients alike
        if not self._waits:
            return False
        broker = self._broker
        with broker.changed:
            while broker.version == seen:
                left = deadline - broker.clock.monotonic()
                if left <= 0:
                    return False
                broker.changed.wait(left)
        return True


class Punctual(Direct):
    """As `Direct`, but time-outs happen: before every request, and while somebody waits, `on_time` does what is due and says when
    it wants to be called next (monotonic, or None)."""

    def __init__(self, broker: Broker, on_time: Callable[[], float | None]) -> None:
        super().__init__(broker)
        self._on_time = on_time
        self._next: float | None = 0.0
        self._busy = False

    def send(self, client_id: str, request: str, deliver: Callable[[], R]) -> R:
        self._be_on_time()
        answer = super().send(client_id, request, deliver)
        self._next = 0.0  # the request may have started a timer
        return answer

    def wait(self, client_id: str, seen: int, deadline: float) -> bool:
        while True:
            due = self._be_on_time()
            soon = self._broker.clock.monotonic() + _SHORTEST_WAIT_S
            until = deadline if due is None else min(deadline, max(due, soon))
            if super().wait(client_id, seen, until):
                return True
            if until >= deadline:
                return False

    def _be_on_time(self) -> float | None:
        """Whoever comes first does what is due; what clients send meanwhile passes."""
        with self._broker.changed:
            if self._busy or self._next is None or self._broker.clock.monotonic() < self._next:
                return self._next
            self._busy = True
            try:
                self._next = self._on_time()
            finally:
                self._busy = False
            return self._next
