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


Action = Append | StepOne | Settle | CrashNow | CrashIn | FailIn | JoinOrLeave

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


def end(rig: Rig, dying: Sequence[CrashIn]) -> None:
    """The input ends, and the worker dies while it closes the last windows."""
    for crash in dying:
        rig.cluster.inject(crash.call, error=Crash(), when=crash.when, skip=crash.skip)
    rig.end_of_input()
    rig.calm()


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
                if "b" in rig.processes:
                    rig.calm()
                    rig.leave("b")
                else:
                    rig.calm()
                    rig.join("b")
    while left:
        left.pop()()
    rig.settle()
    rig.calm()
    rig.settle()
