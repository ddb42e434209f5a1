"""Who goes on next, and when: fibers that share one thread, and a clock that jumps to the next event.

    hub ──the next event is a fiber's──> fiber ──sleeps, waits, ends──> hub

A fiber gives up control only inside `Scheduler.sleep`, `Scheduler.wait` and `Scheduler.park`: between two of them nobody else
runs, and no time passes. Events of one moment come in an order drawn from the seed, so a run is a function of its seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from streamkit.errors import ConfigError

try:
    from greenlet import getcurrent, greenlet
except ImportError as missing:  # pragma: no cover - the extra is installed where tests run
    raise ConfigError("the simulator needs the package 'greenlet': pip install 'streamkit[test]'") from missing

Action = Callable[[], None]


_TURN_S = 0.0002
"""What a turn of a loop that does not wait costs: who only turns does not stop the time of all others."""


class Killed(BaseException):
    """The process in which this is raised is gone. Its clients are cut off already, so what unwinds has no effect."""


class Fiber:
    """Something that runs by itself: a worker process."""

    def __init__(self, scheduler: Scheduler, name: str, body: Action) -> None:
        self.name = name
        self.frozen_until = 0.0
        self._scheduler = scheduler
        self._greenlet = greenlet(body, scheduler.hub)
        self.turn = 0  # counts resumptions: an event for an earlier turn is void
        self.is_dead = False

    def freeze(self, until: float) -> None:
        """Stopped as by SIGSTOP: does not run before `until`."""
        self.frozen_until = max(self.frozen_until, until)

    def kill(self) -> None:
        """Unwinds it now. Called from the hub; a fiber that kills itself raises `Killed`."""
        self.is_dead = True
        self.turn += 1
        if self._greenlet:
            self._scheduler.run_fiber(self, Killed())

    def switch(self, thrown: BaseException | None) -> None:
        if thrown is None:
            self._greenlet.switch()
        else:
            self._greenlet.throw(thrown)


class Scheduler:
    """Owns the time, the queue of events, and the fiber that runs."""

    def __init__(self, rng: random.Random, version: Callable[[], int] = lambda: 0) -> None:
        self.now = 0.0
        self.hub = getcurrent()
        self.steps = 0
        self._random = rng.random
        self._version = version  # of the world: a change ends the waits of those who wait for one
        self._seen = version()
        self._events: list[tuple[float, float, int, Fiber | Action, int]] = []
        self._made = 0
        self._waiting: dict[Fiber, float] = {}  # -> least and most of the time until it notices
        self._current: Fiber | None = None
        self._until = 0.0

    # ---- for the hub

    def at(self, when: float, action: Action) -> None:
        """Has `action` run at `when`, or now if that has passed."""
        self._push(max(when, self.now), action, 0)

    def spawn(self, name: str, body: Action, delay: float = 0.0) -> Fiber:
        fiber = Fiber(self, name, body)
        self._push(self.now + delay, fiber, fiber.turn)
        return fiber

    def run(self, until: float) -> None:
        """Runs everything that is due up to `until`."""
        self._until = until
        events = self._events
        while events and events[0][0] <= until:
            due, _, _, what, turn = heappop(events)
            self.now = max(self.now, due)
            self.steps += 1
            if isinstance(what, Fiber):
                self._go_on(what, turn)
            else:
                what()
            if self._version() != self._seen:
                self._wake()
        self.now = max(self.now, until)

    def _go_on(self, fiber: Fiber, turn: int) -> None:
        if fiber.is_dead or turn != fiber.turn:
            return
        if fiber.frozen_until > self.now:
            self._push(fiber.frozen_until, fiber, turn)
            return
        fiber.turn += 1
        self._waiting.pop(fiber, None)
        self.run_fiber(fiber, None)

    def run_fiber(self, fiber: Fiber, thrown: BaseException | None) -> None:
        self._waiting.pop(fiber, None)
        before, self._current = self._current, fiber
        try:
            fiber.switch(thrown)
        finally:
            self._current = before

    def _wake(self) -> None:
        """Everybody who waits for a change notices it, each a little later."""
        self._seen = self._version()
        for fiber, latency in self._waiting.items():
            self._push(self.now + latency * self._random(), fiber, fiber.turn)
        self._waiting.clear()

    def _push(self, when: float, what: Fiber | Action, turn: int) -> None:
        self._made += 1
        heappush(self._events, (when, self._random(), self._made, what, turn))

    # ---- for fibers

    @property
    def current(self) -> Fiber | None:
        """The fiber that runs; None in the hub."""
        return self._current

    def sleep(self, seconds: float) -> None:
        """Lets time pass. In the hub (a test that steps by hand) it only moves the clock."""
        fiber = self._current
        due = self.now + max(seconds, 0.0)
        if fiber is None:
            self.now = due
            return
        if due <= self._until and not (self._events and self._events[0][0] <= due) and self._version() == self._seen:
            self.now = due  # nobody else would run before
            self.steps += 1
            return
        self._push(due, fiber, fiber.turn)
        self.hub.switch()

    def wait(self, seen: int, deadline: float, latency: float) -> bool:
        """Until the world is no longer as it was at version `seen` (noticed within `latency` seconds), or the deadline."""
        if self._version() != seen:
            return True
        fiber = self._current
        if fiber is None:
            return False
        if self.now >= deadline:
            self.sleep(_TURN_S)
            return self._version() != seen
        self._waiting[fiber] = latency
        self._push(deadline, fiber, fiber.turn)
        self.hub.switch()
        return self._version() != seen

    def park(self) -> Any:
        """For ever: a call that never returns. Only a kill ends it."""
        self.hub.switch()
        raise AssertionError("a parked fiber was resumed")


class SimulatedClock:
    """Implements `Clock` on the scheduler's time. ``skew_ms`` is how far the wall clock was set off."""

    def __init__(self, scheduler: Scheduler, start_ms: int) -> None:
        self._scheduler = scheduler
        self._start_ms = start_ms
        self.skew_ms = 0

    def now_ms(self) -> int:
        return self._start_ms + self.skew_ms + round(self._scheduler.now * 1000)

    def monotonic(self) -> float:
        return self._scheduler.now

    def sleep(self, seconds: float) -> None:
        self._scheduler.sleep(seconds)
