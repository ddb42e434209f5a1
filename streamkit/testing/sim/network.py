"""What lies between the processes and the cluster: latency, and what faults do to a request on its way.

    request ──travels──> broker acts ──answer travels──> client

Each arrow takes time, so that others go on meanwhile. A request that was lost, or whose answer was, costs the client's request
time-out; one that is delayed reaches the broker after the client has given it up, which may be after its process is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from streamkit.kafka.memory.network import NoAnswer
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.testing.sim.scheduler import Killed, Scheduler

if TYPE_CHECKING:
    from streamkit.testing.sim.nemesis import Nemesis
    from streamkit.testing.sim.process import Process
    from streamkit.testing.sim.trace import Trace

R = TypeVar("R")

REQUEST_TIMEOUT_S: Final = 0.4
_LATENCY_S: Final = 0.002
_NOTICED_S: Final = 0.015  # a fetch that waits is answered a little after there is something: it takes what has come by then
_REFUSED_S: Final = 0.02
_OUTLIVES: Final = 0.5


class SimulatedNetwork:
    """Implements `kafka.memory.network.Network` on the scheduler. ``processes``: by client id."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, trace: Trace) -> None:
        self.processes: dict[str, Process] = {}
        self.nemesis: Nemesis | None = None
        self.down_until = 0.0  # no broker is there
        self._scheduler = scheduler
        self._random = rng.random
        self._trace = trace

    def send(self, client_id: str, request: str, deliver: Callable[[], R]) -> R:
        process = self.processes.get(client_id)
        if process is None:  # the test itself
            return deliver()
        if process.is_dead:
            raise Killed
        self._trace.coverage[f"request:{request}"] += 1
        own = self._scheduler.current is not process.background  # a fault that waits for a request waits for the worker's
        fate = self.nemesis.fate_of(process, request) if own and self.nemesis is not None else None
        try:
            self._scheduler.sleep(self._random() * _LATENCY_S)
        except Killed:  # a request that was sent outlives its process, or not
            if self._random() < _OUTLIVES:
                self._scheduler.at(
                    self._scheduler.now + self._random() * _LATENCY_S, lambda: self._late(process, request, deliver)
                )
            raise
        if self._scheduler.now < self.down_until:
            self._trace.add(client_id, "no broker", request)
            self._scheduler.sleep(_REFUSED_S)
            raise NoAnswer(request)
        if fate is not None or process.is_cut(self._scheduler.now):
            return self._disturbed(process, request, deliver, fate)
        answer = self._act(client_id, request, deliver)
        self._scheduler.sleep(self._random() * _LATENCY_S)
        return answer

    def wait(self, client_id: str, seen: int, deadline: float) -> bool:
        process = self.processes.get(client_id)
        if process is None:
            return False
        if process.is_dead:
            raise Killed
        return self._scheduler.wait(seen, deadline, _NOTICED_S)

    def _act(self, client_id: str, request: str, deliver: Callable[[], R]) -> R:
        """The broker acts."""
        held = self.processes[client_id].held
        if held:
            for one in [one for one in held if one[0] == request]:
                held.remove(one)
                one[1]()
        try:
            answer = deliver()
        except BrokerError as error:
            self._trace.add(client_id, "request", f"{request} -> {error.code}")
            raise
        self._trace.add(client_id, "request", request)
        return answer

    def _disturbed(self, process: Process, request: str, deliver: Callable[[], R], fate: Fate | None) -> R:
        now = self._scheduler.now
        if fate is not None:
            if fate.kills and not fate.after:
                process.die("killed", f"before {request}")
                raise Killed
            if fate.parks:
                process.hang(request)
            if fate.late_before:
                process.held.append((fate.late_before, lambda: self._late(process, request, deliver)))
            elif fate.late_by is not None:
                self._scheduler.at(now + fate.late_by, lambda: self._late(process, request, deliver))
        lost = (fate is not None and fate.loses_request) or now < process.no_requests_until
        if lost:
            self._lose(process, request, "lost")
        answer = self._act(process.client_id, request, deliver)
        if fate is not None and fate.kills:
            process.die("killed", f"after {request}")
            raise Killed
        self._scheduler.sleep(self._random() * _LATENCY_S)
        if (fate is not None and fate.loses_answer) or self._scheduler.now < process.no_answers_until:
            self._lose(process, request, "answer lost")
        return answer

    def _lose(self, process: Process, request: str, what: str) -> None:
        self._trace.add(process.client_id, what, request)
        self._scheduler.sleep(REQUEST_TIMEOUT_S)
        raise NoAnswer(request)

    def _late(self, process: Process, request: str, deliver: Callable[[], R]) -> None:
        """A request that nobody waits for any more reaches the broker."""
        try:
            deliver()
        except BrokerError as error:
            self._trace.add(process.client_id, "late request", f"{request} -> {error.code}")
        else:
            self._trace.add(process.client_id, "late request", request)


class Fate:
    """What a fault has in store for one request."""

    __slots__ = ("after", "kills", "late_before", "late_by", "loses_answer", "loses_request", "parks")

    def __init__(
        self,
        *,
        kills: bool = False,
        after: bool = False,
        parks: bool = False,
        loses_request: bool = False,
        loses_answer: bool = False,
        late_by: float | None = None,
        late_before: str = "",
    ) -> None:
        self.kills = kills
        self.after = after
        self.parks = parks
        self.loses_request = loses_request
        self.loses_answer = loses_answer
        self.late_by = late_by
        self.late_before = late_before
