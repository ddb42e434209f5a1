"""Several workers of one service on one machine: a process each, looked after by a parent that does no work itself.

    STARTED ──died──> WAITING ──back-off over──> STARTED
    STARTED ──exit code 0──> OVER          STARTED ──died too often──> all are stopped, and the service ends with that exit code

One that dies leaves the others running. SIGTERM and SIGINT go on to all; the parent ends when the last of them has. SIGUSR1, by
which a worker tells what it is at, goes on to all as well: in a process that is started it is blocked, and so kept until a
service there can answer. Workers watch their parent: if it is killed they drain and leave.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from streamkit.instrument import Instrument
from streamkit.runtime.decide.restart import FIRST_PAUSE_S, Done, GiveUp, RestartAfter, after_exit

_LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class _Slot:
    """One worker's place: its process, or when it is started again."""

    index: int
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    deaths: list[float] = field(default_factory=list)
    told: bool = False  # to stop
    asked: bool = False  # while it had no process
    over: bool = False

    def tell(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.told = True
            self.process.send_signal(signal.SIGTERM)

    def ask(self) -> None:
        self.asked = self.process is None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)

    def start(self, command: Sequence[str]) -> int:
        """Starts its process, and asks it what the slot was asked meanwhile. It must not die of a question that comes before it
        can answer: what is blocked here is blocked there."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own command
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if self.asked:
            self.ask()
        return self.process.pid


class Supervisor:
    """Runs ``command(index)`` once per worker and restarts what dies."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        workers: int,
        instrument: Instrument,
        *,
        stop_timeout_s: float = 60.0,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._command = command
        self._slots = [_Slot(index) for index in range(workers)]
        self._instrument = instrument
        self._stop_timeout_s = stop_timeout_s
        self._first_pause_s = first_pause_s
        self._stopping: int | None = None
        self._stop_by = math.inf
        self._code = 0

    def run(self) -> int:
        """Until all have ended; the exit code of the service: 0, or that of the worker which died too often."""
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGUSR1: self._ask}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            while any(not slot.over for slot in self._slots) and time.monotonic() < self._stop_by:
                now = time.monotonic()
                for slot in self._slots:
                    self._look(slot, now)
                time.sleep(_LOOK_EVERY_S)
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._code

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        self._stopping = number
        self._stop_by = min(self._stop_by, time.monotonic() + self._stop_timeout_s)
        for slot in self._slots:
            slot.tell()

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        for slot in self._slots:
            slot.ask()

    def _look(self, slot: _Slot, now: float) -> None:
        if slot.over:
            return
        if slot.process is None:
            if self._stopping is not None:
                slot.over = True
            elif now >= slot.start_at:
                pid = slot.start(self._command(slot.index))
                self._instrument.event("worker-started", index=slot.index, pid=pid)
            return
        if self._stopping is not None and not slot.told:  # the signal came while this one was being started
            slot.tell()
        code = slot.process.poll()
        if code is not None:
            slot.process = None
            self._ended(slot, code, now)

    def _ended(self, slot: _Slot, code: int, now: float) -> None:
        stopping = self._stopping is not None
        match after_exit(code, slot.deaths, now, stopping=stopping, first_pause_s=self._first_pause_s):
            case Done():
                slot.over = True
            case RestartAfter(pause_s):
                slot.deaths.append(now)
                slot.start_at = now + pause_s
                self._instrument.event("worker-died", index=slot.index, code=code, restart_in_s=pause_s)
            case GiveUp(deaths, within_s):
                self._instrument.event("worker-given-up", index=slot.index, code=code, deaths=deaths, within_s=round(within_s, 1))
                slot.over = True
                self._code = code if code > 0 else 128 - code
                self._stop(signal.SIGTERM, None)

    def _end_all(self) -> None:
        """Whoever does not end in time is killed: what it had not committed is taken up by its successor."""
        if self._stopping is None:
            self._stop(signal.SIGTERM, None)
        for slot in self._slots:
            if slot.process is None:
                continue
            try:
                slot.process.wait(max(self._stop_by - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self._instrument.event("worker-killed", index=slot.index, pid=slot.process.pid)
                slot.process.kill()
                slot.process.wait()
                self._code = self._code or 128 + signal.SIGKILL


def parent_is_gone(parent: int) -> bool:
    """Whether the process that started this one has ended: then somebody else is our parent."""
    return os.getppid() != parent
