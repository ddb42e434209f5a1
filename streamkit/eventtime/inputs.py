"""The time of a task: the minimum over those of its inputs that are active.

States of an input, and what moves it:

    ACTIVE ──idle proven──> IDLE          IDLE ──a record, or a fresh word from upstream──> ACTIVE
    ACTIVE, IDLE ──end of input──> ENDED  (a flag of this run; never persisted)

An input is ACTIVE after every (re)start, whatever was stored: restored time stands, restored idleness does not (R26).
While all inputs are idle time stands at the furthest of them: so it comes to the same point in whatever order they fell silent,
and one that never said anything does not keep windows of the others open. When all have ended, time is END_OF_TIME.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME

I = TypeVar("I", bound=Hashable)  # noqa: E741 - an input's name


class InputState(enum.Enum):
    ACTIVE = "active"
    IDLE = "idle"
    ENDED = "ended"


TRANSITIONS: frozenset[tuple[InputState, InputState]] = frozenset(
    {
        (InputState.ACTIVE, InputState.IDLE),
        (InputState.IDLE, InputState.ACTIVE),
        (InputState.ACTIVE, InputState.ENDED),
        (InputState.IDLE, InputState.ENDED),
    }
)
"""The allowed changes; staying as it is is always allowed."""


@dataclass(slots=True)
class InputTime:
    """One input's watermark and state."""

    watermark: int = NO_TIME
    state: InputState = InputState.ACTIVE

    def become(self, state: InputState) -> None:
        if state is self.state:
            return
        if (self.state, state) not in TRANSITIONS:
            raise ValueError(f"an input that is {self.state.value} cannot become {state.value}")
        self.state = state


class TaskTime(Generic[I]):
    """Combines the inputs of one task. The set of inputs is known from the plan; a missing word from one holds time.

    >>> time = TaskTime(["a", "b"])
    >>> time.advance("a", 10); time.watermark() == NO_TIME
    True
    >>> time.advance("b", 7); time.watermark()
    7
    >>> time.set_state("b", InputState.IDLE); time.watermark()
    10
    """

    def __init__(self, inputs: Iterable[I]) -> None:
        self.inputs: dict[I, InputTime] = {name: InputTime() for name in inputs}
        self._reached = NO_TIME

    def advance(self, name: I, watermark: int) -> None:
        """Monotone: a lower watermark than before is ignored. An unknown input is dropped."""
        found = self.inputs.get(name)
        if found is not None and watermark > found.watermark:
            found.watermark = watermark

    def set_state(self, name: I, state: InputState) -> None:
        found = self.inputs.get(name)
        if found is not None:
            found.become(state)

    def wake(self) -> None:
        """No input counts as idle any longer; what is idle has to be proven anew."""
        for each in self.inputs.values():
            if each.state is InputState.IDLE:
                each.become(InputState.ACTIVE)

    def restore(self, reached: int) -> None:
        """Time never falls behind what was persisted."""
        self._reached = max(self._reached, reached)

    def watermark(self) -> int:
        """The task's time; monotone. END_OF_TIME when every input has ended (not remembered)."""
        active = [i.watermark for i in self.inputs.values() if i.state is InputState.ACTIVE]
        if active:
            self._reached = max(self._reached, min(active))
        elif self.state is InputState.ENDED:
            return END_OF_TIME
        else:  # all idle: nobody holds anybody up (the slowest would be right only if it had fallen silent last)
            idle = [i.watermark for i in self.inputs.values() if i.state is InputState.IDLE]
            self._reached = max(self._reached, *idle)
        return self._reached

    @property
    def furthest(self) -> int:
        """The watermark of the input that is ahead of all: where time has come when every input has ended."""
        return max((i.watermark for i in self.inputs.values()), default=NO_TIME)

    @property
    def state(self) -> InputState:
        """What this task is to its downstream: active if any input is, ended if all have, else idle."""
        states = {i.state for i in self.inputs.values()}
        if InputState.ACTIVE in states:
            return InputState.ACTIVE
        return InputState.IDLE if InputState.IDLE in states else InputState.ENDED
