"""A network for tests that loses, repeats and delays what it is told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from streamkit.kafka.memory import Cluster
from streamkit.kafka.memory.network import Direct, NoAnswer

R = TypeVar("R")


@dataclass
class Lossy(Direct):
    """``requests``, ``answers``: how many of the next ones of a name are lost. ``late``: names of which the next one is delayed
    until `arrive` is called; what it does then nobody hears."""

    cluster: Cluster
    requests: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    under_way: list[Callable[[], object]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.cluster.broker)

    def send(self, client_id: str, request: str, deliver: Callable[[], R]) -> R:  # noqa: ARG002 - whoever sends
        self.sent.append(request)
        if request in self.late:
            self.late.remove(request)
            self.under_way.append(deliver)
            raise NoAnswer
        if self.requests.get(request, 0) > 0:
            self.requests[request] -= 1
            raise NoAnswer
        answer = deliver()
        if self.answers.get(request, 0) > 0:
            self.answers[request] -= 1
            raise NoAnswer
        return answer

    def arrive(self) -> object:
        return self.under_way.pop(0)()
