"""What a worker does when there is nothing to do: next to nothing, however many tasks it has."""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any

import streamkit as sk
from streamkit.kafka.client import Polled
from streamkit.runtime.task import Task

IN, OUT = sk.Topic("in", key=int, value=int), sk.Topic("out")


def make_app() -> sk.App:
    app = sk.App("idle")
    app.stream(IN).by_record_key().window(sk.tumbling("10s")).aggregate("counts", n=sk.count()).on_close().to(OUT)
    return app


def calls_of_a_step(partitions: int) -> int:
    """Python calls of steps without records, in which all that happens now and then happens once."""
    with sk.TestDriver(make_app(), partitions=partitions, settings=sk.EngineSettings()) as driver:
        for number in range(partitions):
            driver.send(IN, 1, key=number, partition=number)
        driver.worker._consumer.poll = lambda *_: Polled()  # what the embedded broker does is not the worker's
        calls = 0

        def count(_: FrameType, event: str, __: Any) -> None:
            nonlocal calls
            calls += event == "call"

        driver.worker.step(0.0)
        driver.clock.advance(0.01)
        before = sys.getprofile()
        gc.disable()  # what other tests have left is finalised in Python, too
        sys.setprofile(count)
        try:
            driver.worker.step(0.0)
        finally:
            sys.setprofile(before)
            gc.enable()
        return calls


def test_a_step_without_records_makes_no_call_per_task():
    """But for what a generator gives, which counts as one: it looks whether any task has changed."""
    few, many = calls_of_a_step(2), calls_of_a_step(34)
    assert few < 100
    assert many - few <= 3 * 32


def test_a_record_has_its_own_task_looked_at_and_no_other(monkeypatch):
    looked = []
    original = Task.advance
    monkeypatch.setattr(Task, "advance", lambda task: (looked.append(task.id.partition), original(task))[1])
    with sk.TestDriver(make_app(), partitions=8, settings=sk.EngineSettings()) as driver:
        driver.send(IN, 1, key=3, partition=3)
        assert sorted(set(looked)) == list(range(8))  # after the start each of them, and as it is told of its end
        looked.clear()
        driver.send(IN, 1, key=5, partition=5)
        assert set(looked) == {5}


def test_an_idle_service_takes_a_step_per_poll_timeout(monkeypatch):
    """It waits in the poll; nothing wakes it earlier, and it opens no transaction."""
    with sk.TestDriver(make_app(), partitions=4, settings=sk.EngineSettings()) as driver:
        driver.send(IN, 1, key=1, partition=1)
        waits = []

        def poll(_: int, timeout: float) -> Polled:
            waits.append(timeout)
            driver.clock.advance(timeout)
            return Polled()

        monkeypatch.setattr(driver.worker._consumer, "poll", poll)
        for _ in range(100):
            driver.worker.step()
        assert waits == [0.1] * 100
        assert driver.events.of("rolled-back") == []
        assert not driver.worker._transaction.open
