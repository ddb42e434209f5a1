"""The faults of a run: values, drawn from its seed before it begins, so that they can be printed, left out and replayed.

A fault happens at a moment, or is *armed* then and strikes at a request that it waits for: "the third Produce of worker 1 after
4.2 s". A kill at any client call is a kill at any instruction, because nothing outside can be seen between two calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamkit.config import EngineSettings

ANY: Final = ""

TRANSACTION: Final = ("AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn")
"""The requests of a commit, in their order."""

TAKE_OVER: Final = ("InitProducerId", "OffsetFetch", "ListOffsets")
"""The requests between an assignment and the first record."""

GROUP: Final = ("JoinGroup", "SyncGroup", "Heartbeat")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``worker``: whom it strikes (-1: whoever comes first); ``request``, ``skip``, ``then``: it strikes at such a
    request after that many others of the kind, or so many requests later; ``after``: when the broker has acted already;
    ``seconds``: how long it lasts, or how late something comes."""

    kind: str
    at: float
    worker: int = -1
    request: str = ANY
    skip: int = 0
    then: int = 0
    after: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        text = f"{self.at:7.3f}  {self.kind}"
        text += f" worker {self.worker}" if self.worker >= 0 else ""
        if self.request or self.then:
            text += f" {'after' if self.after else 'before'} {self.request or 'a request'}"
            text += f" +{self.then} requests" if self.then else ""
            text += f" (skips {self.skip})" if self.skip else ""
        return text + (f" for {self.seconds:.3f} s" if self.seconds else "")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What draws are made of: how many workers, when faults may begin, and the time-outs to stay above or below."""

    workers: int
    until: float
    settings: EngineSettings


Draw = Callable[[random.Random, str, Bounds], Fault]


def _at(rng: random.Random, bounds: Bounds) -> float:
    return round(rng.uniform(0.3, bounds.until), 3)


def _worker(rng: random.Random, bounds: Bounds) -> int:
    return rng.randrange(bounds.workers)


def _lasting(low: float, high: float) -> Draw:
    def draw(rng: random.Random, kind: str, bounds: Bounds) -> Fault:
        return Fault(kind, _at(rng, bounds), _worker(rng, bounds), seconds=round(rng.uniform(low, high), 3))

    return draw


def _past(setting: str) -> Draw:
    """A pause that is longer than a time-out."""

    def draw(rng: random.Random, kind: str, bounds: Bounds) -> Fault:
        seconds = getattr(bounds.settings, setting) / 1000 * rng.uniform(1.05, 1.6)
        return Fault(
            kind, _at(rng, bounds), _worker(rng, bounds), ANY, rng.randrange(4), rng.randrange(12), seconds=round(seconds, 3)
        )

    return draw


def _at_request(
    requests: Sequence[str], *, low: float = 0.0, high: float = 0.0, skips: int = 4, then: int = 0, early: bool = False
) -> Draw:
    """``early``: as often as not at the start, where such requests are."""

    def draw(rng: random.Random, kind: str, bounds: Bounds) -> Fault:
        worker = _worker(rng, bounds) if rng.random() < 0.7 else -1
        at = round(rng.uniform(0.0, 0.4), 3) if early and rng.random() < 0.5 else _at(rng, bounds)
        return Fault(
            kind, at, worker, rng.choice(requests), rng.randrange(skips), rng.randrange(then + 1),
            rng.random() < 0.5, round(rng.uniform(low, high), 3),
        )  # fmt: skip

    return draw


_EVERY: Final = (*TRANSACTION, *TAKE_OVER, *GROUP, "Fetch", ANY)

KINDS: Final[dict[str, tuple[int, Draw]]] = {
    # process
    "kill": (2, _lasting(0.05, 1.5)),
    "kill-in-commit": (4, _at_request(TRANSACTION, low=0.05, high=1.5)),
    "kill-in-take-over": (2, _at_request(TAKE_OVER, low=0.05, high=1.0, skips=2, then=4, early=True)),
    "kill-in-rebalance": (2, _at_request(GROUP, low=0.05, high=1.0, skips=3, then=6, early=True)),
    "stop": (2, _lasting(0.05, 1.0)),
    "stop-past-session": (2, _past("session_timeout_ms")),
    "stop-past-transaction": (2, _past("transaction_timeout_ms")),
    "slow": (1, _past("max_poll_interval_ms")),
    "call-never-returns": (1, _at_request(("TxnOffsetCommit", "AddOffsetsToTxn", "EndTxn"))),
    "clock-jump": (1, _lasting(-90.0, 90.0)),
    # network
    "request-lost": (2, _at_request(_EVERY)),
    "answer-lost": (2, _at_request(_EVERY)),
    "request-delayed": (2, _at_request(_EVERY, low=0.2, high=2.5)),
    "request-repeated": (2, _at_request(_EVERY, low=0.0, high=1.5)),
    "end-delayed": (2, _at_request(("EndTxn",), low=0.3, high=2.0)),
    "end-repeated": (2, _at_request(("EndTxn",), low=0.0, high=1.0)),
    "cut-in-commit": (2, _at_request(TRANSACTION, low=0.5, high=3.0)),
    "cut-towards-broker": (1, _lasting(0.2, 5.0)),
    "cut-from-broker": (1, _lasting(0.2, 5.0)),
    # broker
    "broker-restart": (1, _lasting(0.2, 3.0)),
    "group-coordinator-moves": (1, _lasting(0.1, 2.5)),
    "transaction-coordinator-moves": (1, _lasting(0.1, 2.5)),
    "leaders-move": (1, _lasting(0.1, 2.0)),
    "logs-cleaned": (1, _lasting(0.0, 0.0)),
    # group
    "join": (1, _lasting(0.5, 4.0)),
    "leave": (2, _lasting(0.1, 2.0)),
    "rolling-restart": (1, _lasting(0.1, 0.8)),
    "rebalance-storm": (1, _lasting(0.1, 0.6)),
    "same-instance-twice": (1, _lasting(0.5, 3.0)),
}  # fmt: skip
"""Kind -> (how often it is drawn, how)."""


def draw_faults(rng: random.Random, count: int, bounds: Bounds, kinds: Sequence[str] = tuple(KINDS)) -> tuple[Fault, ...]:
    """In order of time."""
    weights = [KINDS[kind][0] for kind in kinds]
    drawn = [KINDS[kind][1](rng, kind, bounds) for kind in rng.choices(kinds, weights, k=count)] if count else []
    return tuple(sorted(drawn, key=lambda fault: (fault.at, fault.kind)))
