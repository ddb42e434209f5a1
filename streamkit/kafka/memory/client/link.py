"""The way of one process to the cluster: every request of its clients passes `Link.send`; `Call` repeats what may be repeated.

As librdkafka: a request that got no answer, and one that the broker could not serve at that moment (its coordinator moves, it
loads, the last transaction is still being ended), is sent again after a pause until the time of the client's call is up; then
the call ends with a RetriableError `_TIMED_OUT`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from streamkit.clock import Clock
from streamkit.errors import FatalError, RetriableError
from streamkit.kafka.memory.faults import Faults
from streamkit.kafka.memory.network import Network, NoAnswer
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError

P = ParamSpec("P")
R = TypeVar("R")

PASSING = frozenset(
    {
        "NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "CONCURRENT_TRANSACTIONS",
        "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE",
    }
)  # fmt: skip
"""What brokers answer when the same request may succeed a little later."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_CONCURRENT_PAUSE_S = 0.02


class Link:
    """Carries requests of the process `client_id`; cut for good when that process is declared dead."""

    def __init__(self, broker: Broker, faults: Faults, client_id: str, network: Network) -> None:
        self.faults = faults
        self.client_id = client_id
        self._broker = broker
        self._network = network
        self._cut = False

    @property
    def clock(self) -> Clock:
        return self._broker.clock

    @property
    def version(self) -> int:
        """Changes with everything that may end a wait."""
        return self._broker.version

    @property
    def is_cut(self) -> bool:
        return self._cut

    def send(self, request: str, handler: Callable[Concatenate[Broker, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Has the broker answer one request, named as in Kafka's protocol. Raises BrokerError and NoAnswer."""
        if self._cut:
            raise FatalError(f"client '{self.client_id}' has crashed", code="_DESTROY")
        broker = self._broker

        def deliver() -> R:
            with broker.changed:
                if broker.outages:
                    broker.refuse_during_outage(request)
                return handler(broker, *args, **kwargs)

        return self._network.send(self.client_id, request, deliver)

    def new_member_id(self) -> str:
        """Consumers of the consumer group protocol name themselves."""
        with self._broker.changed:
            return f"{self.client_id}-{self._broker.next_number():06}"

    def call(self, name: str, timeout: float) -> Call:
        """One call of a client, which may take `timeout` seconds."""
        return Call(self, name, self._broker.clock.monotonic() + timeout)

    def wait(self, seen: int, deadline: float) -> bool:
        """Waits until the cluster is no longer as it was at version `seen`; False when `deadline` has passed."""
        return self._network.wait(self.client_id, seen, deadline)

    def cut(self) -> None:
        """The process behind this link is dead: nothing of it reaches the cluster any more but what is under way already."""
        with self._broker.changed:
            self._cut = True
            self._broker.touch()


class Call:
    """The requests of one client call: repeated until its deadline. ``lost`` counts those that got no answer."""

    __slots__ = ("_link", "_pause_s", "deadline", "lost", "name")

    def __init__(self, link: Link, name: str, deadline: float) -> None:
        self.name = name
        self.deadline = deadline
        self.lost = 0
        self._link = link
        self._pause_s = _FIRST_PAUSE_S

    def send(self, request: str, handler: Callable[Concatenate[Broker, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        while True:
            try:
                return self._link.send(request, handler, *args, **kwargs)
            except NoAnswer as raised:
                self.lost += 1
                self.pause(f"no answer to {request}", raised)
            except BrokerError as raised:
                if raised.code not in PASSING:
                    raise
                self.pause(f"{request}: {raised.message} [{raised.code}]", raised)

    def pause(self, why: str, cause: Exception) -> None:
        """Before the request is repeated. RetriableError if the time of the call is up."""
        clock = self._link.clock
        left = self.deadline - clock.monotonic()
        if left <= 0:
            raise RetriableError(f"{why}, and the time is up", code="_TIMED_OUT", call=self.name) from cause
        if isinstance(cause, BrokerError) and cause.code == "CONCURRENT_TRANSACTIONS":
            clock.sleep(min(left, _CONCURRENT_PAUSE_S))
            return
        clock.sleep(min(left, self._pause_s))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
