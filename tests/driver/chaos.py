"""What may happen to an app while records arrive: drawn by hypothesis as a list of actions, played on a `Rig`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from streamkit.errors import AbortableError, RetriableError
from tests.driver.rig import Crash, Rig

MAIN = "a"
bounded = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining a failure takes minutes
)
_CALLS = ("produce", "produce_many", "flush", "send_offsets", "commit", "begin", "poll", "init_transactions", "committed", "seek")


@dataclass(frozen=True, slots=True)
class Append:
    """So many records reach the topics."""

    records: int


@dataclass(frozen=True, slots=True)
class StepOne:
    """One worker goes one step."""

    worker: int


@dataclass(frozen=True, slots=True)
class Settle:
    pass


@dataclass(frozen=True, slots=True)
class CrashNow:
    worker: int


@dataclass(frozen=True, slots=True)
class CrashIn:
    """The process dies in a call, before or after it took effect."""

    call: str
    when: str
    skip: int


@dataclass(frozen=True, slots=True)
class FailIn:
    """A call fails as Kafka's calls do: it may be repeated, or the transaction has to be aborted."""

    call: str
    when: str
    retriable: bool


@dataclass(frozen=True, slots=True)
class JoinOrLeave:
    """A second worker comes, or goes again."""


@dataclass(frozen=True, slots=True)
class Move:
    """This worker comes, or goes again."""

    name: str


@dataclass(frozen=True, slots=True)
class Expire:
    """The group gives a member up. It learns that with its next step, and joins anew."""

    member: int


@dataclass(frozen=True, slots=True)
class Oust:
    """One of three or more gives up what it has for a rebalance. Before that ends the group gives it up, and the others go on."""

    rounds: int
    records: int


Action = Append | StepOne | Settle | CrashNow | CrashIn | FailIn | JoinOrLeave | Move | Expire | Oust

_when = st.sampled_from(["before", "after"])
_failing = st.one_of(
    st.builds(FailIn, st.sampled_from(["flush", "send_offsets", "commit"]), _when, st.just(True)),
    st.builds(FailIn, st.sampled_from(["flush", "send_offsets", "commit"]), st.just("before"), st.just(False)),
)
crashes = st.builds(CrashIn, st.sampled_from(_CALLS), _when, st.integers(0, 3))
actions = st.lists(
    st.one_of(
        st.builds(Append, st.integers(1, 9)),
        st.builds(StepOne, st.integers(0, 1)),
        st.builds(StepOne, st.integers(0, 1)),
        st.just(Settle()),
        st.builds(CrashNow, st.integers(0, 1)),
        crashes,
        _failing,
        st.just(JoinOrLeave()),
    ),
    max_size=25,
)

restless = st.lists(
    st.one_of(
        st.builds(Append, st.integers(1, 5)),
        st.builds(StepOne, st.integers(0, 3)),
        st.builds(StepOne, st.integers(0, 3)),
        st.builds(StepOne, st.integers(0, 3)),
        st.builds(Move, st.sampled_from("bcd")),
        st.builds(Move, st.sampled_from("bcd")),
        st.builds(Expire, st.integers(0, 3)),
        st.builds(Oust, st.sampled_from([0, 3, 9]), st.integers(0, 5)),
        _failing,
        st.just(Settle()),
    ),
    max_size=60,
)
"""Workers come and go all the time, so that rebalances run into each other."""


def end(rig: Rig, dying: Sequence[CrashIn]) -> None:
    """The input ends, and the worker dies while it closes the last windows."""
    for crash in dying:
        rig.cluster.inject(crash.call, error=Crash(), when=crash.when, skip=crash.skip)
    rig.end_of_input()
    rig.calm()


def _move(rig: Rig, name: str) -> None:
    rig.calm()
    if name in rig.processes:
        rig.leave(name)
    else:
        rig.join(name)


def _oust(rig: Rig, rounds: int) -> None:
    for name in "bc":
        if name not in rig.processes:
            _move(rig, name)
    for _ in range(rounds):  # a while to share the partitions
        for name in sorted(rig.processes):
            rig.step(name)
    _expire(rig, max(rig.processes))
    rig.step(MAIN)
    _expire(rig, MAIN)


def _expire(rig: Rig, name: str) -> None:
    for member in rig.cluster.members(rig.topology.plan.app):
        if member.startswith(f"{name}-"):
            rig.cluster.expire(member)


def play(rig: Rig, chaos: Sequence[Action], appends: Sequence[Callable[[], object]]) -> None:
    """Joins one worker, plays the actions, appends what is left, and ends with everything settled and no fault planted."""
    left = list(reversed(appends))
    codes = count()
    rig.join(MAIN)
    for action in chaos:
        names = sorted(rig.processes)
        match action:
            case Append(records):
                for _ in range(min(records, len(left))):
                    left.pop()()
            case StepOne(worker):
                rig.step(names[worker % len(names)])
            case Settle():
                rig.settle()
            case CrashNow(worker):
                rig.replace(names[worker % len(names)])
            case CrashIn(call, when, skip):
                rig.cluster.inject(call, error=Crash(), when=when, skip=skip)
            case FailIn(call, when, retriable):
                kind = RetriableError if retriable else AbortableError
                rig.cluster.inject(call, error=kind("planted", code=f"PLANTED_{next(codes)}"), when=when)
            case JoinOrLeave():
                _move(rig, "b")
            case Move(name):
                _move(rig, name)
            case Expire(number):
                members = sorted(rig.cluster.members(rig.topology.plan.app))
                if members:
                    rig.cluster.expire(members[number % len(members)])
            case Oust(rounds, records):
                _oust(rig, rounds)
                for _ in range(min(records, len(left))):
                    left.pop()()
                for _ in range(8):
                    for other in sorted(rig.processes)[1:]:
                        rig.step(other)
    while left:
        left.pop()()
    rig.settle()
    rig.calm()
    rig.settle()
