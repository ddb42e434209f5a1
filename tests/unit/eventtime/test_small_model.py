"""Every history of a task's inputs up to a length, against a specification that reads the history as a whole.

The code keeps a watermark and a state for each input and moves them; the specification keeps nothing. What they have in common is
the words: what an input has said, whether it is active, idle or ended, and what time that makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from streamkit.eventtime.inputs import InputState, InputTime, TaskTime
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from tests.support.examples import everything

Step = tuple[str, str]
"""(what, input): "1" and "2" are watermarks, the others states; a restart is of all inputs."""

WHAT = ("1", "2", "active", "idle", "ended")
RESTART: Step = ("restart", "")


# ---- the specification


def said(history: Sequence[Step], name: str) -> int:
    return max((int(what) for what, of in history if of == name and what.isdigit()), default=NO_TIME)


def state(history: Sequence[Step], name: str) -> str:
    for what, of in reversed(history):
        if what == "restart":
            break  # whatever it was, it is to be proven anew
        if of == name and not what.isdigit():
            return what
    return "active"


def present(history: Sequence[Step], names: str) -> int:
    """The time that inputs which are like this make, whatever was before."""
    states = {name: state(history, name) for name in names}
    active = [said(history, name) for name in names if states[name] == "active"]
    idle = [said(history, name) for name in names if states[name] == "idle"]
    return min(active) if active else max(idle) if idle else END_OF_TIME


def time_of(history: Sequence[Step], names: str) -> int:
    """Time does not go back; only the end of all inputs is not remembered."""
    now = present(history, names)
    before = [present(history[:length], names) for length in range(len(history))]
    return now if now == END_OF_TIME else max([now, *(time for time in before if time != END_OF_TIME)])


# ---- the code


class Machine:
    """A task's time, and what of it is stored: its frontier and the watermark of each input."""

    def __init__(self, names: str) -> None:
        self.time = TaskTime(names)
        self.stored = NO_TIME

    def copy(self) -> Machine:
        made = Machine("")
        made.time.inputs = {name: InputTime(one.watermark, one.state) for name, one in self.time.inputs.items()}
        made.time._reached, made.stored = self.time._reached, self.stored
        return made

    def step(self, what: str, name: str) -> int:
        if what == "restart":
            fresh = TaskTime(self.time.inputs)
            for each, one in self.time.inputs.items():
                fresh.advance(each, one.watermark)
            fresh.restore(self.stored)
            self.time = fresh
        elif what.isdigit():
            self.time.advance(name, int(what))
        else:
            self.time.set_state(name, InputState(what))
        found = self.time.watermark()
        if found != END_OF_TIME:
            self.stored = max(self.stored, found)
        return found


def histories(names: str, length: int) -> Iterator[tuple[list[Step], Machine, int]]:
    """Each history, with the machine behind it and what it gave last. An input that has ended says nothing before a restart."""
    steps = [RESTART, *((what, name) for name in names for what in WHAT)]

    def grow(history: list[Step], machine: Machine) -> Iterator[tuple[list[Step], Machine, int]]:
        for step in steps:
            if step != RESTART and state(history, step[1]) == "ended":
                continue
            after = machine.copy()
            found = after.step(*step)
            longer = [*history, step]
            yield longer, after, found
            if len(longer) < length:
                yield from grow(longer, after)

    yield from grow([], Machine(names))


TWO = ("ab", 5, 80_000) if everything() else ("ab", 4, 8_000)


@pytest.mark.parametrize("names,length,number", [("a", 6, 15_000), TWO, ("abc", 4, 40_000)])
def test_every_history_gives_what_the_specification_says(names: str, length: int, number: int) -> None:
    count = 0
    for history, machine, found in histories(names, length):
        count += 1
        assert found == time_of(history, names), history
        states = {state(history, name) for name in names}
        expected = "active" if "active" in states else "idle" if "idle" in states else "ended"
        assert machine.time.state.value == expected, history
        assert machine.time.furthest == max(said(history, name) for name in names), history
    assert count > number


@pytest.mark.parametrize("names,length", [("ab", 4), ("abc", 3)])
def test_what_the_specification_says_is_what_a_task_needs(names: str, length: int) -> None:
    """Of the specification itself: time never goes back, never runs ahead of an input that was active all the while, never stands
    behind all of them, and is one that somebody has said."""
    for history, _, _ in histories(names, length):
        now, before = time_of(history, names), time_of(history[:-1], names)
        if before != END_OF_TIME:
            assert now >= before, history
        marks = [said(history, name) for name in names]
        assert now in (END_OF_TIME, NO_TIME, *(int(what) for what, _ in history if what.isdigit())), history
        for name in names:
            always = all(state(history[:n], name) == "active" for n in range(len(history) + 1))
            if always:
                assert now <= said(history, name), history
        if now != END_OF_TIME:
            assert now >= min(marks), history
