"""A service that is asked by SIGUSR1 what it is at answers, whenever it is asked."""

from __future__ import annotations

import signal
import threading

import streamkit as sk
from streamkit.instrument import Recorder
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.service import RunOptions, run_service
from streamkit.runtime.worker import Worker
from tests.driver.rig import Rig


def asked(*after: int, others: int = 0) -> Recorder:
    """What is told by a service of three steps over one partition; after these it is asked (0: before it starts). ``others``
    workers were there before it."""
    app = sk.App("app")
    app.stream(sk.Topic("in")).to(sk.Topic("out"))
    rig, steps = Rig(app, 1), 0
    for number in range(others):
        rig.join(f"a{number}")
    rig.settle()
    events = Recorder()

    def ask() -> None:
        if steps in after:
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # of the process any thread may take it that lets it in

    def stepped(_: Worker) -> None:
        nonlocal steps
        steps += 1
        ask()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # as the command line and the supervisor do
    try:
        ask()
        options = RunOptions(on_step=stepped, stop=lambda: steps == 3)
        run_service(rig.topology, MemoryClient(rig.cluster), rig.settings, options, events, rig.clock)
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return events


def test_it_answers_behind_the_step() -> None:
    for after in (0, 2):
        (told,) = asked(after).of("inspected")
        assert (told["task"], told["state"]) == ("in/0", "running")
    assert asked().of("inspected") == []


def test_who_has_no_task_says_so() -> None:
    events = asked(2, others=1)
    assert events.of("without-tasks") == [{"partitions": [], "tasks": []}]
    assert events.of("inspected") == []
