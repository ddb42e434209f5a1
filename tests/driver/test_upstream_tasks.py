"""Tasks in front of a repartition topic that are new, that end, and that nobody runs for a while: time waits for each of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import streamkit as sk
from streamkit.eventtime.inputs import InputState
from tests.driver.rig import Rig

START_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)


class Event(sk.Model):
    key: str
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)


def make_app(*, one_group: bool = False, idle_after: str | None = None) -> sk.App:
    app = sk.App("app")
    events = app.stream(EVENTS, event_time=sk.event_time(idle_after=idle_after))
    grouped = events.globally() if one_group else events.key_by("key")
    totals = grouped.window(sk.tumbling("10s")).aggregate("agg", total=sk.sum("value"))
    totals.on_close().to(sk.Topic("results"))
    totals.late().to(sk.Topic("late", key=str, value=Event))
    return app


def send(rig: Rig, partition: int, second: int, value: int, key: str = "a") -> None:
    rig.cluster.append("events", b'{"key":"%s","value":%d}' % (key.encode(), value), b"k", partition, START_MS + second * 1000)


def totals(rig: Rig) -> list[int]:
    return sorted(json.loads(record.value or b"")["total"] for record in rig.cluster.read("results"))


def upstream_states(rig: Rig) -> dict[int, InputState]:
    """Of the tasks upstream, by partition, as the tasks behind the repartition topic have heard."""
    found: dict[int, Any] = {}
    for process in rig.processes.values():
        for task in process.worker.tasks:
            found |= {name[2]: one.state for name, one in task.time.inputs.items() if len(name) == 3}
    return found


# ---- new ones


@pytest.mark.parametrize("speaks", [True, False], ids=["speaks", "has nothing"])
def test_a_task_that_is_new_after_its_topic_has_grown_holds_time_until_it_speaks_or_is_idle(speaks: bool) -> None:  # noqa: FBT001 - a parameter of the test
    rig = Rig(make_app(one_group=True, idle_after="30s"), 2)
    rig.join("w")
    for partition in (0, 1):
        send(rig, partition, 1, 1)
        send(rig, partition, 11, 10)
    rig.settle()
    assert totals(rig) == [2]
    rig.crash("w")
    rig.cluster.add_partitions("events", 3)
    rig.join("w")
    rig.settle()
    for partition in (0, 1):
        send(rig, partition, 25, 100)
    rig.settle()
    assert totals(rig) == [2]  # the next one could be closed, but for the new task
    if speaks:
        send(rig, 2, 19, 1_000)
        send(rig, 2, 20, 10_000)
        rig.settle()
        assert totals(rig) == [2, 1_020]
        send(rig, 2, 5, 1)  # its window had closed before it was there; by its own watermark it is late as well
        rig.settle()
        assert [json.loads(r.value or b"")["value"] for r in rig.cluster.read("late")] == [1]
    else:
        for _ in range(31):  # the others go on
            rig.clock.advance(1)
            for partition in (0, 1):
                send(rig, partition, 26, 0)
            rig.settle()
        assert totals(rig) == [2, 20]


# ---- those that end


@pytest.mark.parametrize("kill", [False, True])
def test_a_task_that_has_ended_holds_nobody_up_and_closes_nothing_for_those_that_go_on(kill: bool) -> None:  # noqa: FBT001 - a parameter of the test
    rig = Rig(make_app(), 2, until_end=True, max_records=1, commit_interval_ms=1)
    send(rig, 0, 5, 1)  # the whole of partition 0
    for second in range(0, 40, 2):
        send(rig, 1, second, 10)
    rig.join("w")
    seen = False
    for _ in range(2_000):
        rig.step("w")
        states = upstream_states(rig)
        if states.get(0) is InputState.ENDED and states.get(1) is not InputState.ENDED:
            seen = True
            windows = [json.loads(r.value or b"")["window_start"] for r in rig.cluster.read("results")]
            (position,) = [p for t in rig.processes["w"].worker.tasks for tp, p in t.inputs.items() if tp == ("events", 1)]
            assert position.watermark is not None
            # nothing is closed that partition 1 has not passed
            assert len(windows) <= max(0, position.watermark.watermark - START_MS + 1) // 10_000
            if kill and len(windows) >= 1:
                rig.replace("w")  # ended is a flag of this run: it is said anew
                kill = False
        if rig.processes["w"].worker.finished:
            break
    rig.settle()
    assert seen
    assert not kill
    assert totals(rig) == [50, 50, 50, 51]


# ---- those that nobody runs


def test_while_nobody_runs_a_task_upstream_nothing_closes_without_it() -> None:
    rig = Rig(make_app(), 2)
    for name in ("x", "y"):
        rig.join(name)
    for partition in (0, 1):
        for key in "abcd":
            send(rig, partition, 1, 1, key)
    rig.settle()
    owner = next(
        name for name, process in rig.processes.items() if any(("events", 1) in task.inputs for task in process.worker.tasks)
    )
    rig.crash(owner, expire=False)  # the group does not know yet
    (other,) = rig.processes
    send(rig, 0, 60, 1, "z")
    for _ in range(200):
        rig.step(other)
    assert totals(rig) == []
    for member in rig.cluster.members("app"):
        if member != rig.processes[other].worker._consumer.group_metadata().member_id:
            rig.cluster.expire(member)
    rig.settle()
    assert totals(rig) == []  # the one that is back has not passed the end either
    send(rig, 1, 9, 100)
    send(rig, 1, 60, 1, "z")
    rig.settle()
    assert totals(rig) == [2, 2, 2, 102]
