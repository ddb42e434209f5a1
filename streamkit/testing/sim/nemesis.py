"""Brings the faults of a run upon it: at their moment, or at the request that they wait for."""

# ruff: noqa: ARG001, ARG002 - whatever a fault does is called with the same arguments

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from streamkit.kafka.memory.server.log import Segment
from streamkit.testing.sim.faults import Fault
from streamkit.testing.sim.network import REQUEST_TIMEOUT_S, Fate

if TYPE_CHECKING:
    from streamkit.testing.sim.process import Process
    from streamkit.testing.sim.world import World

_LONG_AFTER_S: Final = 5.0
"""An armed fault whose request does not come within this time is disarmed: the run shall not wait for it."""


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    strike: Callable[[Process, str], Fate | None]
    then: int = -1  # the trigger has come: so many more requests of that process
    victim: Process | None = None


class Nemesis:
    """Owns the faults of one run. `idle_from` is when the last of them is over."""

    def __init__(self, world: World, faults: Sequence[Fault]) -> None:
        self._world = world
        self._armed: list[_Armed] = []
        self.idle_from = 0.0
        self._happens: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill,
            "stop": self._stop,
            "clock-jump": self._jump,
            "cut-towards-broker": self._cut,
            "cut-from-broker": self._cut,
            "broker-restart": self._broker_restart,
            "group-coordinator-moves": self._coordinators_move,
            "transaction-coordinator-moves": self._coordinators_move,
            "leaders-move": self._leaders_move,
            "logs-cleaned": self._clean,
            "join": self._join,
            "leave": self._leave,
            "rolling-restart": self._rolling_restart,
            "rebalance-storm": self._storm,
            "same-instance-twice": self._twin,
        }
        self._strikes: dict[str, Callable[[Fault, Process, str], Fate | None]] = {
            "kill-in-commit": self._kill_at,
            "kill-in-take-over": self._kill_at,
            "kill-in-rebalance": self._kill_at,
            "stop-past-session": self._stop_at,
            "stop-past-transaction": self._stop_at,
            "slow": self._slow,
            "call-never-returns": self._hang,
            "cut-in-commit": self._cut_at,
            "request-lost": lambda *_: Fate(loses_request=True),
            "answer-lost": lambda *_: Fate(loses_answer=True),
            "request-delayed": _delayed,
            "end-delayed": _end_delayed,
            "request-repeated": _repeated,
            "end-repeated": _end_repeated,
        }
        for fault in faults:
            self._world.scheduler.at(fault.at, partial(self._begin, fault))
            self.busy_until(fault.at)

    def busy_until(self, when: float) -> None:
        self.idle_from = max(self.idle_from, when)

    @property
    def is_idle(self) -> bool:
        return not self._armed and self._world.scheduler.now > self.idle_from

    def _begin(self, fault: Fault) -> None:
        happens = self._happens.get(fault.kind)
        if happens is not None:
            self._struck(fault, "")
            happens(fault)
            return
        strike = self._strikes[fault.kind]
        armed = _Armed(fault, fault.skip, lambda process, request: strike(fault, process, request))
        self._armed.append(armed)
        self._world.scheduler.at(self._world.scheduler.now + _LONG_AFTER_S, lambda: self._disarm(armed))

    def _disarm(self, armed: _Armed) -> None:
        if armed in self._armed:
            self._armed.remove(armed)

    def _struck(self, fault: Fault, where: str) -> None:
        self._world.trace.coverage[f"fault:{fault.kind}"] += 1
        detail = f"{where} {fault.seconds:.3f} s" if fault.seconds else where
        self._world.trace.add("nemesis", fault.kind, detail.strip())
        self.busy_until(self._world.scheduler.now + max(fault.seconds, 0.0))

    # ---- at a request

    def fate_of(self, process: Process, request: str) -> Fate | None:
        """Asked by the network for every request."""
        for armed in self._armed:
            if self._is_due(armed, process, request):
                self._armed.remove(armed)
                fault = armed.fault
                self._struck(fault, f"{process.client_id} {'after' if fault.after else 'before'} {request}")
                return armed.strike(process, request)
        return None

    def _is_due(self, armed: _Armed, process: Process, request: str) -> bool:
        fault = armed.fault
        if armed.victim is not None:
            if process is not armed.victim:
                return False
            armed.then -= 1
            return armed.then <= 0
        if fault.worker >= 0 and process.slot.name != self._world.name_of(fault.worker):
            return False
        if fault.request and request != fault.request:
            return False
        if armed.skip > 0:
            armed.skip -= 1
            return False
        if fault.then > 0:
            armed.victim, armed.then = process, fault.then
            return False
        return True

    def _kill_at(self, fault: Fault, process: Process, request: str) -> Fate:
        when = "after" if fault.after else "before"
        self._world.trace.coverage[f"kill:{when} {request}"] += 1
        self._world.restart_pause(process, fault.seconds)
        return Fate(kills=True, after=fault.after)

    def _stop_at(self, fault: Fault, process: Process, request: str) -> None:
        self._world.trace.coverage[f"stop:{request}"] += 1
        process.freeze(fault.seconds)

    def _slow(self, fault: Fault, process: Process, request: str) -> None:
        process.freeze(fault.seconds, all_threads=False)

    def _cut_at(self, fault: Fault, process: Process, request: str) -> None:
        """From this request on nothing gets through."""
        process.no_requests_until = self._world.scheduler.now + fault.seconds

    def _hang(self, fault: Fault, process: Process, request: str) -> Fate:
        self.busy_until(self._world.scheduler.now + self._world.patience_s)
        return Fate(parks=True)

    # ---- at a moment

    def _kill(self, fault: Fault) -> None:
        process = self._world.process(fault.worker)
        if process is not None:
            self._world.restart_pause(process, fault.seconds)
            process.kill("killed")

    def _stop(self, fault: Fault) -> None:
        process = self._world.process(fault.worker)
        if process is not None:
            process.freeze(fault.seconds)

    def _jump(self, fault: Fault) -> None:
        self._world.clock.skew_ms += round(fault.seconds * 1000)

    def _cut(self, fault: Fault) -> None:
        process = self._world.process(fault.worker)
        if process is None:
            return
        until = self._world.scheduler.now + fault.seconds
        if fault.kind == "cut-towards-broker":
            process.no_requests_until = until
        else:
            process.no_answers_until = until

    def _broker_restart(self, fault: Fault) -> None:
        """Nobody answers; afterwards the coordinators load their logs for a while."""
        self._world.network.down_until = self._world.scheduler.now + 0.7 * fault.seconds
        self._world.cluster.restart_brokers(fault.seconds)

    def _coordinators_move(self, fault: Fault) -> None:
        groups = fault.kind == "group-coordinator-moves"
        self._world.cluster.move_coordinators(fault.seconds, groups=groups, transactions=not groups)

    def _leaders_move(self, fault: Fault) -> None:
        self._world.cluster.move_leaders(fault.seconds)

    def _clean(self, fault: Fault) -> None:
        """Every log begins a new segment, and what lies before it is compacted as its topic says."""
        now_ms = self._world.clock.now_ms()
        for topic in self._world.cluster.broker.topics.values():
            for log in topic.logs:
                log._segment = Segment(log.high_watermark, now_ms, 0)
        self._world.cluster.clean()

    def _join(self, fault: Fault) -> None:
        """One more worker for a while."""
        name = self._world.add_member()
        self._world.scheduler.at(self._world.scheduler.now + fault.seconds, lambda: self._world.remove_member(name))

    def _leave(self, fault: Fault) -> None:
        self._restart_gracefully(self._world.name_of(fault.worker), fault.seconds)

    def _rolling_restart(self, fault: Fault) -> None:
        now = self._world.scheduler.now
        for number, name in enumerate(self._world.names()):
            self._world.scheduler.at(
                now + number * 3 * fault.seconds,
                partial(self._restart_gracefully, name, fault.seconds),
            )
        self.busy_until(now + 3 * fault.seconds * len(self._world.names()))

    def _storm(self, fault: Fault) -> None:
        """Members come and go in quick succession."""
        now = self._world.scheduler.now
        for turn in range(3):
            self._world.scheduler.at(
                now + turn * fault.seconds, lambda: self._join(Fault("join", 0.0, seconds=2 * fault.seconds))
            )
        self.busy_until(now + 5 * fault.seconds)

    def _restart_gracefully(self, name: str, pause: float) -> None:
        process = self._world.member(name)
        if process is not None and process.is_alive:
            self._world.restart_pause(process, pause)
            process.stop()

    def _twin(self, fault: Fault) -> None:
        """A second process is started under the instance id of a living one, and lives for a while."""
        process = self._world.process(fault.worker)
        if process is not None:
            name = self._world.add_member(process.slot.instance)
            self._world.scheduler.at(self._world.scheduler.now + fault.seconds, lambda: self._world.remove_member(name))


def _delayed(fault: Fault, process: Process, request: str) -> Fate:
    return Fate(loses_request=True, late_by=fault.seconds)


def _end_delayed(fault: Fault, process: Process, request: str) -> Fate:
    """Late by a time, or just when the next transaction is under way, which is when it does harm."""
    return Fate(loses_request=True, late_by=fault.seconds, late_before=_within_the_next(fault))


def _end_repeated(fault: Fault, process: Process, request: str) -> Fate:
    return Fate(loses_answer=True, late_by=REQUEST_TIMEOUT_S + fault.seconds, late_before=_within_the_next(fault))


def _within_the_next(fault: Fault) -> str:
    return ("", "TxnOffsetCommit", "Produce")[int(1000 * fault.at) % 3]


def _repeated(fault: Fault, process: Process, request: str) -> Fate:
    """The broker acts, the client hears nothing and sends it again, and one of the two comes once more later. (Without the client
    knowing it nothing is repeated: TCP sees to that.)"""
    return Fate(loses_answer=True, late_by=REQUEST_TIMEOUT_S + fault.seconds)
