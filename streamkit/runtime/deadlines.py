"""How long the worker's thread may take for what it is doing, so that a call which never returns is noticed (R31).

The worker says what it enters and leaves; whoever looks from outside (a thread in a service, the scheduler in a simulation)
counts the time. Nothing here reads a clock, waits or ends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

_LEAST_GRACE_S: Final = 4.0


def patience(timeout_s: float) -> float:
    """After this a client call that was given such a time-out counts as one that never returns.

    >>> patience(15.0), patience(0.1)
    (22.5, 4.1)
    """
    return timeout_s + max(_LEAST_GRACE_S, timeout_s / 2)


class Guard(Protocol):
    """Told by the worker's thread what it is doing. Calls nest: a step, inside it a poll, inside that a commit."""

    def enter(self, doing: str, within_s: float) -> None:
        """What begins now has to be left within this time."""
        ...

    def leave(self) -> None:
        """What was entered last is over, with or without an error."""
        ...


class NoGuard:
    """Nobody looks."""

    def enter(self, doing: str, within_s: float) -> None:
        """Does nothing."""

    def leave(self) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """What did not come back in time: the innermost call, all around it (outermost first), the deadline and the time waited."""

    doing: str
    inside: tuple[str, ...]
    within_s: float
    waited_s: float

    def __str__(self) -> str:
        where = f" (in {', '.join(reversed(self.inside))})" if self.inside else ""
        return f"'{self.doing}'{where} has not returned for {self.waited_s:.1f} s; it had to within {self.within_s:.1f} s"


class _Entered:
    """One thing that was entered; compared by identity, so that two calls in a row are never taken for one."""

    __slots__ = ("doing", "within_s")

    def __init__(self, doing: str, within_s: float) -> None:
        self.doing = doing
        self.within_s = within_s


class Deadlines:
    """Implements Guard, and judges: the worker's thread enters and leaves, another one looks.

    Time is counted as looks see it: between two looks at most twice the interval at which they are meant to come. So a process
    that was stopped (SIGSTOP, a machine asleep, no processor to be had) does not find all its calls overdue when it goes on.
    """

    def __init__(self, look_every_s: float) -> None:
        self._most_s = 2 * look_every_s
        self._entered: list[_Entered] = []
        self._known: list[tuple[_Entered, float]] = []  # with the counted time at which a look first saw it
        self._counted = 0.0
        self._looked: float | None = None

    def enter(self, doing: str, within_s: float) -> None:
        self._entered.append(_Entered(doing, within_s))

    def leave(self) -> None:
        self._entered.pop()

    def look(self, now: float) -> Overdue | None:
        """``now``: monotonic seconds. What is overdue, the outermost if several are: its deadline has room for those inside."""
        if self._looked is not None:
            self._counted += min(now - self._looked, self._most_s)
        self._looked = now
        present = tuple(self._entered)  # one instruction of the interpreter: the other thread may go on
        self._known = [(each, self._first_seen(each)) for each in present]
        for each, since in self._known:
            if self._counted - since > each.within_s:
                return Overdue(present[-1].doing, tuple(one.doing for one in present[:-1]), each.within_s, self._counted - since)
        return None

    def _first_seen(self, entered: _Entered) -> float:
        for known, since in self._known:
            if known is entered:
                return since
        return self._counted
