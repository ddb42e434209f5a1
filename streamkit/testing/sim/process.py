"""A worker process in the simulated world: the production worker in a fiber, started again when it dies.

STARTING ──joined──> RUNNING ──told to stop──> LEFT
STARTING, RUNNING ──killed, an error, a call that never returns──> DEAD   (a successor starts after a pause)
STARTING, RUNNING ──an error that a restart cannot help──> STOPPED
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from streamkit.errors import (
    AssignmentError,
    FinishedError,
    LostOffsetError,
    RecordError,
    RetriableError,
    StateError,
    StreamkitError,
    TopicError,
)
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.deadlines import Deadlines
from streamkit.runtime.failures import FailurePolicy, OnError
from streamkit.runtime.topics import lay_out
from streamkit.runtime.worker import Worker
from streamkit.testing.sim.scheduler import Fiber, Killed
from streamkit.testing.sim.trace import Teller

if TYPE_CHECKING:
    from streamkit.testing.sim.world import World

STOPS: Final = (AssignmentError, StateError, LostOffsetError, TopicError, RecordError, FinishedError)
"""Errors that come again after a restart: somebody has to look."""


_LOOK_S: Final = 0.25
_LEAST_S: Final = 0.01


class ProcessState(Enum):
    STARTING = "starting"
    RUNNING = "running"
    LEFT = "left"
    DEAD = "dead"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Slot:
    """What a process is called from one incarnation to the next. ``instance``: of its transactional id."""

    name: str
    instance: str


class Process:
    """One incarnation of a worker process."""

    def __init__(self, world: World, slot: Slot, incarnation: int, delay: float, ended: Callable[[Process], None]) -> None:
        self.slot = slot
        self.client_id = f"{slot.name}.{incarnation}"
        self.state = ProcessState.STARTING
        self.error: BaseException | None = None
        self.worker: Worker | None = None
        self.held: list[tuple[str, Callable[[], None]]] = []  # requests on their way that arrive just before another one
        self.no_requests_until = 0.0
        self.no_answers_until = 0.0
        self._world = world
        self._ended = ended
        self._stopping = False
        self._knows_the_end = False
        self._deadlines = Deadlines(_LOOK_S)
        self._tasks_made = 0
        self._client: MemoryClient | None = None
        self._fiber: Fiber = world.scheduler.spawn(self.client_id, self._body, delay)
        self.background: Fiber = world.scheduler.spawn(f"{self.client_id} background", self._beat, delay)

    @property
    def is_dead(self) -> bool:
        return self.state in (ProcessState.DEAD, ProcessState.STOPPED)

    @property
    def is_alive(self) -> bool:
        return self.state in (ProcessState.STARTING, ProcessState.RUNNING)

    def is_cut(self, now: float) -> bool:
        return now < self.no_requests_until or now < self.no_answers_until

    # ---- from outside

    def kill(self, why: str, detail: str = "") -> None:
        """As by kill -9. Called from the hub."""
        if not self.is_alive:
            return
        self.die(why, detail)
        self._fiber.kill()
        self.background.kill()

    def stop(self) -> None:
        """SIGTERM: the batch in hand is finished and committed, the group is left."""
        self._stopping = True

    def freeze(self, seconds: float, *, all_threads: bool = True) -> None:
        """As by SIGSTOP; or only the worker's thread is busy, and the client's own goes on telling the group that it is alive."""
        until = self._world.scheduler.now + seconds
        self._fiber.freeze(until)
        if all_threads:
            self.background.freeze(until)

    # ---- from inside its fiber

    def die(self, what: str, detail: str = "") -> None:
        """Nothing of this process reaches the cluster any more but what is under way."""
        self._end(ProcessState.DEAD, what, detail)
        if self._client is not None:
            self._client.crash(expire=False)

    def hang(self, request: str) -> None:
        """The call that this request belongs to never returns; the watchdog ends the process."""
        self._world.trace.add(self.client_id, "hangs", request)
        self._world.scheduler.park()

    def _beat(self) -> None:
        """The other threads of the process: the client library's, and the watchdog's."""
        scheduler = self._world.scheduler
        try:
            while self.is_alive:
                due = self._client.background() if self._client is not None else None
                overdue = self._deadlines.look(scheduler.now)
                if overdue is not None:
                    scheduler.at(scheduler.now, partial(self.kill, "stuck", str(overdue)))
                    return
                scheduler.sleep(_LOOK_S if due is None else min(max(due - scheduler.now, _LEAST_S), _LOOK_S))
        except Killed:
            return

    def _body(self) -> None:
        try:
            self._serve()
        except Killed:
            return
        except Exception as error:  # noqa: BLE001 - whatever leaves the engine without a name is a finding
            self._failed(error)
        else:
            self._end(ProcessState.LEFT, "left")

    def _failed(self, error: Exception) -> None:
        if not self.is_alive:  # what unwinds after a kill means nothing
            return
        self.error = error
        if not isinstance(error, StreamkitError):
            self._world.unnamed(self, error)
        # A service is told at its start that its input ends. Here it is told later, and another worker may have been first.
        stops = isinstance(error, STOPS) and (self._knows_the_end or not isinstance(error, FinishedError))
        state, what = (ProcessState.STOPPED, "stopped") if stops else (ProcessState.DEAD, "failed")
        self._end(state, what, f"{type(error).__name__}: {error}")

    def _end(self, state: ProcessState, what: str, detail: str = "") -> None:
        if not self.is_alive:
            return
        self.state = state
        self._world.trace.add(self.client_id, what, detail)
        self._ended(self)

    def _serve(self) -> None:
        """What runtime/service.py does, without signals and threads."""
        world = self._world
        teller = Teller(world.trace, self.client_id)
        self._client = client = world.client(self.client_id, self.slot.instance)
        admin = client.admin()
        layout = lay_out(world.topology, admin, world.settings, teller)
        admin.close()
        self._knows_the_end = world.until_end
        self.worker = worker = Worker(
            layout,
            client,
            world.clock,
            world.settings,
            FailurePolicy(world.on_error, teller),
            teller,
            transactional_id=f"{world.topology.plan.app}-{self.slot.instance}-0",
            until_end=self._knows_the_end,
            guard=self._deadlines,
            new_incarnation=self._new_incarnation,
        )
        try:
            worker.start()
            self.state = ProcessState.RUNNING
            while not self._stopping:
                if world.until_end and not self._knows_the_end:
                    self._knows_the_end = self._end_of_input(worker)
                worker.step()  # one that has come to its end stays, for the partitions of those that have not
            worker.drain()
        finally:
            worker.close()

    @staticmethod
    def _end_of_input(worker: Worker) -> bool:
        try:
            worker.end_of_input()
        except RetriableError:  # nobody answered; asked again before the next step
            return False
        return True

    def _new_incarnation(self) -> str:
        self._tasks_made += 1
        return f"{self.client_id}.{self._tasks_made}"


__all__ = ["STOPS", "OnError", "Process", "ProcessState", "Slot"]
