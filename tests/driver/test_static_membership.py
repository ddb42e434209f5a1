"""Static members: who comes back takes its partitions up again and disturbs nobody. Of two with one slot, one stops."""

from __future__ import annotations

from typing import Literal

import pytest

from streamkit.errors import DuplicateInstanceError
from tests.driver.rig import Rig
from tests.driver.test_parking import everywhere, make_app, member, send, totals

Protocol = Literal["classic", "consumer"]


def started(protocol: Protocol) -> Rig:
    rig = Rig(make_app(), {"events": 4}, protocol=protocol, static=True)
    rig.join("a")
    rig.join("b")
    rig.settle()
    send(rig, 0)
    rig.settle()
    assert {name: len(process.worker.tasks) for name, process in rig.processes.items()} == {"a": 2, "b": 2}
    rig.events.events.clear()
    return rig


@pytest.mark.parametrize("protocol,leaves", [("classic", True), ("classic", False), ("consumer", True)])
def test_a_restart_is_no_rebalance(protocol: Protocol, *, leaves: bool) -> None:
    rig = started(protocol)
    mine = {task.id for task in rig.processes["b"].worker.tasks}
    if leaves:
        rig.leave("b")  # SIGTERM: commits, and is expected back
    else:
        rig.crash("b", expire=False)  # kill -9
    rig.events.events.clear()  # of the leaving itself
    send(rig, 1)
    rig.settle()
    assert len(rig.processes["a"].worker.tasks) == 2  # b's partitions wait for b
    rig.join("b")
    rig.settle()
    assert {task.id for task in rig.processes["b"].worker.tasks} == mine
    assert rig.events.of("revoked") == rig.events.of("lost") == rig.events.of("parked") == []
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(2)


def test_with_kip_848_a_killed_worker_is_missed_before_its_successor_is_let_in() -> None:
    """The coordinator does not release the instance id before the session of the dead has expired; its successor waits."""
    rig = started("consumer")
    dead = member(rig, "b")
    rig.crash("b", expire=False)
    rig.join("b")
    rig.settle()
    assert len(rig.processes["b"].worker.tasks) == 0
    rig.cluster.expire(dead)
    rig.settle()
    assert len(rig.processes["b"].worker.tasks) == 2
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_with_the_classic_protocol_the_older_of_two_stops() -> None:
    rig = started("classic")
    rig.join("b2")  # its successor is a process of its own
    rig.leave("b2")
    old = rig.processes.pop("b")
    rig.join("b")  # the same slot, while the other one lives
    with pytest.raises(DuplicateInstanceError):
        for _ in range(20):
            rig.step("b")
            old.worker.step(0.0)
    old.worker.close()
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_with_kip_848_the_younger_of_two_stops() -> None:
    rig = started("consumer")
    old = rig.processes.pop("b")
    rig.join("b")
    for _ in range(20):
        rig.step("b")
        old.worker.step(0.0)
    rig.clock.advance(46)  # for a session it could be one that was killed
    with pytest.raises(DuplicateInstanceError):
        rig.step("b")
    rig.processes["b"].worker.close()
    rig.processes["b"] = old
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)
