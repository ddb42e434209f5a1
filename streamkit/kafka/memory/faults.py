"""Faults that a test plants in the calls of clients: an error or a crash, before or after the call took effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

When = Literal["before", "after"]
CALLS = frozenset(
    {
        "subscribe", "poll", "pause", "resume", "seek", "committed", "group_metadata", "assign",
        "init_transactions", "begin", "produce", "produce_many", "flush", "send_offsets", "commit", "abort",
        "cluster_id", "topic_names", "describe_topics", "create_topics", "delete_topics", "end_offsets", "start_offsets",
        "delete_records", "group_offsets", "group_session_timeout_ms", "delete_group", "close",
    }
)  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Fault:
    """One planted fault: the call it waits for, and how many such calls pass before it strikes."""

    call: str
    when: When
    error: BaseException
    client_id: str | None
    skip: int


class Faults:
    """The faults planted in a cluster's clients; each strikes once.

    >>> faults = Faults()
    >>> faults.inject("commit", when="after", error=RuntimeError("the process dies"))
    >>> faults.strike("commit", "before", "worker-1")
    >>> faults.strike("commit", "after", "worker-1")
    Traceback (most recent call last):
    RuntimeError: the process dies
    >>> faults.strike("commit", "after", "worker-1")
    """

    def __init__(self) -> None:
        self.planted: list[Fault] = []
        self._disturbances: list[tuple[str, str | None]] = []

    def inject(
        self, call: str, *, error: BaseException, when: When = "before", client_id: str | None = None, skip: int = 0
    ) -> None:
        """Lets the next `call` of a client (of the client `client_id` only, if given) raise `error`, after `skip` calls
        that pass. With "after" the call has taken effect: a commit is in the log, polled records are gone."""
        if call not in CALLS:
            raise ValueError(f"no client call is named '{call}'; there are: {', '.join(sorted(CALLS))}")
        self.planted.append(Fault(call, when, error, client_id, skip))

    def disturb(self, reason: str, *, client_id: str | None = None) -> None:
        """Lets the next commit or abort report a disturbed coordinator connection (`Producer.disturbed`, rule R6)."""
        self._disturbances.append((reason, client_id))

    def take_disturbance(self, client_id: str) -> str | None:
        for index, (reason, wanted) in enumerate(self._disturbances):
            if wanted in (None, client_id):
                del self._disturbances[index]
                return reason
        return None

    def strike(self, call: str, when: When, client_id: str) -> None:
        """Raises what is planted here, if anything."""
        for index, fault in enumerate(self.planted):
            if fault.call != call or fault.when != when or fault.client_id not in (None, client_id):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            del self.planted[index]
            raise fault.error


class HasFaults(Protocol):
    """A client object whose calls can be struck."""

    @property
    def faults(self) -> Faults: ...
    @property
    def client_id(self) -> str: ...


C = TypeVar("C", bound=HasFaults)


def faulty(method: Callable[Concatenate[C, P], R]) -> Callable[Concatenate[C, P], R]:
    """Makes a client's method a place where faults of its name strike."""
    call = method.__name__

    @wraps(method)
    def wrapper(self: C, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.faults.planted:
            return method(self, *args, **kwargs)
        self.faults.strike(call, "before", self.client_id)
        result = method(self, *args, **kwargs)
        self.faults.strike(call, "after", self.client_id)
        return result

    return wrapper
