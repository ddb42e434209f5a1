"""What the proxy does to requests (rules) and to links (impairments)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from fnmatch import fnmatchcase
from typing import Literal

from tests.support.proxy_frames import Request


class Deliver(Enum):
    """How a request gets to its broker."""

    NOW = auto()
    HOLD = auto()  # in its place: what the client sends behind it waits as well
    STRAY = auto()  # later, while the client, whose connection is cut at once, has sent it again on another one
    NEVER = auto()  # the connection is cut before the broker has seen it


@dataclass(frozen=True, slots=True)
class Action:
    """``seconds``: how long a request is held at most, or after how long a stray one arrives; if ``on_release``, it arrives when
    its rule is removed, at the latest then. ``answer``: "cut" resets the connection in place of the answer, "drop" swallows the
    answer only. ``again_after_s``: a second copy arrives so much later, and nobody hears its answer."""

    deliver: Deliver = Deliver.NOW
    seconds: float = 0.0
    on_release: bool = False
    answer: Literal["pass", "cut", "drop"] = "pass"
    again_after_s: float | None = None


def held(at_most_s: float = 60.0) -> Action:
    """Waits in the proxy until the rule is removed."""
    return Action(Deliver.HOLD, at_most_s)


def delayed(seconds: float) -> Action:
    return Action(Deliver.HOLD, seconds)


def stray(after_s: float) -> Action:
    """The client loses its connection and repeats the request; the first copy arrives after this time."""
    return Action(Deliver.STRAY, after_s)


def stray_until_removed(at_most_s: float = 60.0) -> Action:
    """As `stray`, but the first copy arrives when the rule is removed."""
    return Action(Deliver.STRAY, at_most_s, on_release=True)


def lost() -> Action:
    """The connection breaks before the request is through."""
    return Action(Deliver.NEVER)


def answer_lost() -> Action:
    """The broker acts on the request; the connection breaks before the client hears of it."""
    return Action(answer="cut")


def answer_dropped() -> Action:
    """The broker acts on the request, and its answer never comes; the connection stays."""
    return Action(answer="drop")


def duplicated(after_s: float) -> Action:
    """The broker gets the request twice, the second time after this time and on another connection."""
    return Action(again_after_s=after_s)


@dataclass(slots=True, eq=False)
class Rule:
    """``hits`` are the requests that it took; ``released`` ends a hold, and lets strays arrive."""

    action: Action
    apis: frozenset[int]
    clients: str
    brokers: frozenset[int] | None
    times: int | None
    only: Callable[[Request], bool] | None = None
    hits: list[Request] = field(default_factory=list)
    released: bool = False

    def takes(self, request: Request) -> bool:
        """Whether it takes this request; then it is counted."""
        fits = (
            self.times != 0
            and request.api in self.apis
            and (self.brokers is None or request.broker in self.brokers)
            and fnmatchcase(request.client_id, self.clients)
            and (self.only is None or self.only(request))
        )
        if fits:
            self.hits.append(request)
            if self.times is not None:
                self.times -= 1
        return fits


@dataclass(frozen=True, slots=True, eq=False)
class Impairment:
    """A condition of all links between these clients and these brokers."""

    kind: Literal["block", "stall-up", "stall-down", "latency"]
    clients: str
    brokers: frozenset[int] | None
    seconds: float

    def concerns(self, broker: int, client_id: str) -> bool:
        return (self.brokers is None or broker in self.brokers) and fnmatchcase(client_id, self.clients)
