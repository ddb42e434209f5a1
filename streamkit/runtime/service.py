"""Runs an app in this process: connects, checks topics, steps one worker until it is told to stop.

SIGTERM and SIGINT drain: the batch in hand is finished and committed, the group is left, the process ends with exit code 0. A
second signal ends it at once. SIGUSR1 has the service tell what its tasks are at (snapshot.py).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from streamkit import compiled
from streamkit.clock import Clock, SystemClock
from streamkit.config import EngineSettings
from streamkit.errors import BrokerUnreachableError, RetriableError
from streamkit.eventtime.timeless import GlobalWindow
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin, KafkaClient
from streamkit.plan.nodes import OnClose
from streamkit.plan.topology import Topology
from streamkit.runtime.deadlines import Deadlines, Guard
from streamkit.runtime.failures import FailurePolicy, OnError, OnLostOffset, place_of
from streamkit.runtime.stage_report import StageReport
from streamkit.runtime.supervisor import parent_is_gone
from streamkit.runtime.topics import StoppedError, create_external, lay_out
from streamkit.runtime.watchdog import LOOK_EVERY_S, STUCK_EXIT_CODE, Watchdog
from streamkit.runtime.worker import Worker
from streamkit.stages import StageTime

_ASK_FOR_S = 3.0
_LOCK_HELD_S = 60.0
"""Longer than a step may take at all: only then is an interpreter that does not run the watchdog's thread given up."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How one run differs from another; see `App.run`."""

    until_end: bool = False
    on_error: OnError = "stop"
    on_lost_offset: OnLostOffset = "stop"
    create_topics: int = 0  # partitions of missing source and sink topics; 0: do not create them
    instance_id: str = field(default_factory=socket.gethostname)
    worker_index: int = 0
    parent: int | None = None  # process id of the supervisor: if it is gone, the worker drains
    on_step: Callable[[Worker], None] | None = None
    report: Callable[[Sequence[StageTime], int], None] | None = None  # given where the time of the run went, and its records
    stop: Callable[[], bool] | None = None  # asked between steps; True drains, as a signal does
    watchdog: bool = False  # whether a call that never returns may end the process (watchdog.py)


class _Life:
    """What the watchdog may say of a service: its worker, whether its work is done, and the error that it is being closed for."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.done = False
        self.error: BaseException | None = None

    def situation(self) -> dict[str, Any]:
        told = {"starting": True} if self.worker is None else self.worker.situation()
        return told if self.error is None else {**told, "closed_for": str(self.error)}

    def abandon(self) -> None:
        if self.worker is not None:
            self.worker.abandon()

    def exit_code(self) -> int:
        """A client that cannot be closed when all is committed has done no harm."""
        return 0 if self.done else STUCK_EXIT_CODE


class Stop:
    """Set by a signal; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.requested = False
        self.inspect = False

    def look(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """SIGUSR1: tells what the worker is at, behind the step in hand."""
        self.inspect = True

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        if self.requested:
            os._exit(128 + number)
        self.requested = True


def _open_for_ever(topology: Topology) -> list[str]:
    """The aggregates whose `on_close()` gives nothing while a service runs."""
    closings = [node.input for part in topology.parts for node in part.nodes if isinstance(node, OnClose)]
    return [aggregate.name for aggregate in closings if isinstance(aggregate.window, GlobalWindow)]


def run_service(
    topology: Topology,
    client: KafkaClient,
    settings: EngineSettings,
    options: RunOptions,
    instrument: Instrument,
    clock: Clock | None = None,
) -> None:
    """Runs until a signal, the end of a bounded input, or an error, which is raised with nothing of its transaction committed."""
    clock = clock or SystemClock()
    deadlines = Deadlines(LOOK_EVERY_S)
    life = _Life()
    with ExitStack() as surroundings:
        surroundings.enter_context(_told(instrument))
        stop = surroundings.enter_context(_signals())
        if options.watchdog:
            lock_held_s = settings.step_deadline_s + _LOCK_HELD_S
            surroundings.enter_context(
                Watchdog(
                    deadlines,
                    life.situation,
                    instrument,
                    lock_held_s=lock_held_s,
                    abandon=life.abandon,
                    exit_code=life.exit_code,
                )
            )
        for name in () if options.until_end else _open_for_ever(topology):
            instrument.event("never-closes", operator=name)
        worker = _make(topology, client, settings, options, instrument, clock, stop, deadlines)
        if worker is not None:
            life.worker = worker
            worker.start()
            instrument.event("started", kafka=client.describe(), compiled=compiled.loaded())
            report = StageReport(worker.stages, instrument, clock, worker.state_bytes)
            try:
                _run(worker, options, instrument, stop, life, report)
            finally:
                times = report.end()
                if options.report is not None:
                    options.report(times, worker.stages.records)
    instrument.event("stopped")


@contextmanager
def _told(instrument: Instrument) -> Iterator[None]:
    """The error that ends a service stands in its log, too, where machines read it."""
    try:
        yield
    except Exception as error:
        instrument.event("failed", kind=type(error).__name__, error=str(error), **place_of(error))
        raise


def _run(  # the loop itself
    worker: Worker, options: RunOptions, instrument: Instrument, stop: Stop, life: _Life, report: StageReport
) -> None:
    with _calm_garbage_collector():
        try:
            while not stop.requested and not _told_to_stop(options):
                step = worker.step()
                report.look()
                if stop.inspect:
                    stop.inspect = False
                    _tell_what_it_is_at(worker, instrument)
                if options.on_step is not None:
                    options.on_step(worker)
                if step.finished and options.until_end:
                    instrument.event("finished")
                    break
            else:
                instrument.event("draining")
                worker.drain()
            life.done = True
        except BaseException as error:
            life.error = error
            raise
        finally:
            with ExitStack() as closing:
                closing.callback(worker.close)
                report.closing()


def _tell_what_it_is_at(worker: Worker, instrument: Instrument) -> None:
    told = worker.snapshot()
    for each in told:
        instrument.event("inspected", **each)
    if not told:
        instrument.event("without-tasks", **worker.without_tasks())


def _told_to_stop(options: RunOptions) -> bool:
    """By who started it: the one in the same process, or a supervisor that is gone."""
    if options.stop is not None and options.stop():
        return True
    return options.parent is not None and parent_is_gone(options.parent)


def _make(  # the surroundings of a worker
    topology: Topology,
    client: KafkaClient,
    settings: EngineSettings,
    options: RunOptions,
    instrument: Instrument,
    clock: Clock,
    stop: Stop,
    guard: Guard,
) -> Worker | None:
    """A worker over topics that were checked; None if the service was told to stop meanwhile."""
    admin = client.admin()
    try:
        if not _wait_for_broker(admin, client.describe(), settings, instrument, clock, stop):
            return None
        if options.create_topics:
            create_external(topology, admin, settings, partitions=options.create_topics, instrument=instrument)
        layout = lay_out(topology, admin, settings, instrument, clock, lambda: stop.requested)
    except StoppedError:
        return None
    finally:
        admin.close()
    return Worker(
        layout,
        client,
        clock,
        settings,
        FailurePolicy(options.on_error, instrument, on_lost_offset=options.on_lost_offset),
        instrument,
        # R17: the slot, instance id + worker index, is stable, so that a restart ends its predecessor's transaction at once
        transactional_id=f"{topology.plan.app}-{options.instance_id}-{options.worker_index}",
        until_end=options.until_end,
        guard=guard,
    )


def _wait_for_broker(
    admin: Admin, address: str, settings: EngineSettings, instrument: Instrument, clock: Clock, stop: Stop
) -> bool:
    """Waits for the first answer, saying what it waits for; False if told to stop."""
    seconds = settings.start_timeout_ms / 1000
    deadline = clock.monotonic() + seconds
    while not stop.requested:
        left = deadline - clock.monotonic()
        try:
            admin.cluster_id(min(max(left, 0.1), _ASK_FOR_S))
        except RetriableError as error:
            if clock.monotonic() >= deadline:
                raise BrokerUnreachableError(
                    f"no Kafka broker answered at {address} within {seconds:.0f} s ({error}). Is it running, and is this the "
                    "address that it advertises? Set it by --bootstrap-servers or KAFKA_BOOTSTRAP_SERVERS"
                ) from error
            gives_up_in_s = round(deadline - clock.monotonic())
            instrument.event("waiting-for-broker", kafka=address, gives_up_in_s=gives_up_in_s, error=str(error))
        else:
            return True
    return False


@contextmanager
def _signals() -> Iterator[Stop]:
    stop = Stop()
    handlers = {signal.SIGTERM: stop.handle, signal.SIGINT: stop.handle, signal.SIGUSR1: stop.look}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    # Whoever started this process may have blocked the question until somebody can answer (cli/__init__.py, supervisor.py).
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    try:
        yield stop
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # first: one that comes now must not end the process
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _calm_garbage_collector() -> Iterator[None]:
    """What lives now lives to the end; and a batch makes thousands of short-lived objects that are no cycles. The default
    thresholds triple the cost of consuming (measured)."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
