"""What nothing can repair: after it every worker must stop with a named error, and nothing may be committed (I9).

the app runs ──all workers are killed──> the damage is done ──they are started again──> all have stopped, or the bound passed
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamkit.errors import StreamkitError
from streamkit.testing.checker import Kind, Verdict, atomic, fail_closed, single_writer
from streamkit.testing.sim.process import ProcessState
from streamkit.testing.sim.world import Outcome, World

_MARKERS_S: Final = 0.6  # what was decided before is written
_LOOK_S: Final = 0.1
_BOUND_S: Final = 30.0
_DOWN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Damage:
    """``at``: seconds after the start (None: as soon as every task runs); ``stops``: the errors that name it."""

    apply: Callable[[World], None]
    stops: tuple[type[StreamkitError], ...]
    at: float | None = 2.5


def run_damaged(world: World, damage: Damage) -> Outcome:
    """One run with a damage, and without other faults after it."""
    world.begin()
    if damage.at is None:
        sources = {tp for inputs in world.task_inputs() for tp in inputs}
        while not sources <= world.at_work() and world.scheduler.now < _BOUND_S:
            world.scheduler.run(world.scheduler.now + _LOOK_S)
        world.scheduler.run(world.scheduler.now + _MARKERS_S)
    else:
        world.scheduler.run(damage.at)
    for process in world.living():
        world.restart_pause(process, _DOWN_S)
        process.kill("killed before the damage")
    world.scheduler.run(world.scheduler.now + _MARKERS_S)
    damage.apply(world)
    since = world.scheduler.now
    world.trace.add("nemesis", "damage")
    while world.scheduler.now < since + _BOUND_S and not all(p.state is ProcessState.STOPPED for p in world.members()):
        world.scheduler.run(world.scheduler.now + _LOOK_S)
    verdict = Verdict()
    verdict += atomic(world.observer.commits, world.told())
    verdict += single_writer(world.observer.commits)
    commits = world.observer.commits
    for process in world.members():
        verdict += fail_closed(process.error, damage.stops, commits, since)
        if not isinstance(process.error, damage.stops):
            verdict.add("I9", Kind.OPEN, f"{process.client_id} is {process.state.value}")
    world.kill_all()
    return world.outcome(verdict, world.scheduler.now - since)
