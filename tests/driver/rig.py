"""Any number of workers of one app on one embedded cluster, stepped one at a time in an order that the test draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import streamkit as sk
from streamkit.clock import ManualClock
from streamkit.instrument import Recorder
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.record.model import Row
from streamkit.runtime.failures import FailurePolicy, OnError, OnLostOffset
from streamkit.runtime.topics import external_topics, lay_out
from streamkit.runtime.worker import Worker

_ROUNDS = 20_000


class Crash(BaseException):
    """The process dies here."""


@dataclass(slots=True)
class Process:
    client: MemoryClient
    worker: Worker


class Rig:
    """`join`, `leave`, `crash` workers by name; `step` one, or `settle` all. A planted Crash kills the worker that meets it, and
    a successor of the same name takes over."""

    def __init__(
        self,
        app: sk.App,
        partitions: int | Mapping[str, int],
        *,
        on_error: OnError = "stop",
        on_lost_offset: OnLostOffset = "stop",
        until_end: bool = False,
        protocol: Literal["classic", "consumer"] = "classic",
        static: bool = False,
        **settings: int,
    ) -> None:
        self.clock = ManualClock()
        self.cluster = Cluster(self.clock)
        self.events = Recorder()
        self.topology = app.topology()
        self.settings = sk.EngineSettings(
            **{"control_interval_ms": 0, "commit_interval_ms": 1, **settings},  # type: ignore[arg-type]  # all of them are numbers
            group_protocol=protocol,
            static_membership=static,
        )
        self._protocol: Literal["classic", "consumer"] = protocol
        self.processes: dict[str, Process] = {}
        self.crashes = 0
        self._on_error: OnError = on_error
        self._on_lost_offset: OnLostOffset = on_lost_offset
        self.until_end = until_end
        for name in external_topics(self.topology):
            number = partitions if isinstance(partitions, int) else partitions.get(name, 1)
            self.cluster.create_topic(name, number, {"message.timestamp.after.max.ms": str(2**63 - 1)})

    # ---- workers

    def join(self, name: str) -> Worker:
        static = self.settings.static_membership
        client = MemoryClient(
            self.cluster, client_id=name, group_protocol=self._protocol, group_instance_id=name if static else None
        )
        layout = lay_out(self.topology, client.admin(), self.settings, self.events)
        policy = FailurePolicy(self._on_error, self.events, on_lost_offset=self._on_lost_offset)
        worker = Worker(
            layout, client, self.clock, self.settings, policy, self.events,
            transactional_id=f"{self.topology.plan.app}-{name}", until_end=self.until_end,
        )  # fmt: skip
        self.processes[name] = Process(client, worker)
        worker.start()
        return worker

    def leave(self, name: str) -> None:
        worker = self.processes.pop(name).worker
        worker.drain()
        worker.close()

    def crash(self, name: str, *, expire: bool = True) -> None:
        self.processes.pop(name).client.crash(expire=expire)
        self.crashes += 1

    # ---- stepping

    def step(self, name: str) -> bool:
        """One step; whether anything happened. A worker that meets a Crash is replaced by a successor."""
        try:
            step = self.processes[name].worker.step(0.0)
        except Crash:
            self.replace(name)
            return True
        self.clock.advance(0.002)  # commits keep an interval
        return step.busy

    def replace(self, name: str) -> None:
        """kill -9, and a successor that may die as it starts."""
        while True:
            self.crash(name)
            try:
                self.join(name)
            except Crash:
                continue
            return

    def settle(self) -> None:
        """Until no worker has anything left to do and everything is committed, also after heartbeats were heard."""
        for _ in range(3):
            self._rest()
            self.clock.advance(self.settings.heartbeat_ms / 1000)
        self._rest()

    def _rest(self) -> None:
        quiet = 0
        for _ in range(_ROUNDS):
            busy = [self.step(name) for name in sorted(self.processes)]
            quiet = 0 if any(busy) else quiet + 1
            self.clock.advance(0 if any(busy) else 0.6)  # a slow commit puts the next one off
            if quiet > 1:  # what takes more rounds, as a rebalance does, goes on after the next heartbeat
                return
        raise AssertionError("the workers never come to rest")

    def end_of_input(self) -> None:
        self.until_end = True
        for process in self.processes.values():
            process.worker.end_of_input()
        self.settle()

    def calm(self) -> None:
        """Takes back the faults that have not struck."""
        self.cluster.faults.planted.clear()

    # ---- looking

    def store(self, name: str) -> list[Row]:
        """The open windows of an aggregate over all workers."""
        operators = [
            task.chain.aggregates[name]
            for process in self.processes.values()
            for task in sorted(process.worker.tasks, key=lambda task: task.id)
            if name in task.chain.aggregates
        ]
        return [row for operator in operators for batch in operator.open_results() for row in batch.rows()]
