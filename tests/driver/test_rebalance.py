"""Several workers of one group: each record is counted once whoever has its partition, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import streamkit as sk
from streamkit.kafka.client import TopicPartition
from tests.driver.rig import Crash, Rig


class Event(sk.Model):
    key: str
    value: int


def make_app() -> sk.App:
    app = sk.App("app")
    keyed = app.stream(sk.Topic("events", key=str, value=Event)).by_record_key().window(sk.tumbling("100ms"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    return app


def send(rig: Rig, at_ms: int, value: int = 1) -> None:
    for partition in range(4):
        rig.cluster.append("events", b'{"key":"k%d","value":%d}' % (partition, value), b"k%d" % partition, partition, at_ms)


def totals(rig: Rig) -> Counter[tuple[str, int]]:
    rows = [json.loads(record.value or b"") for record in rig.cluster.read("results")]
    return Counter((row["key"], row["total"]) for row in rows)


def everywhere(total: int) -> Counter[tuple[str, int]]:
    return Counter({(f"k{partition}", total): 1 for partition in range(4)})


def owners(rig: Rig) -> dict[str, int]:
    return {name: len(process.worker.tasks) for name, process in rig.processes.items()}


def started() -> Rig:
    rig = Rig(make_app(), {"events": 4})
    rig.join("a")
    rig.settle()
    send(rig, 1000)
    rig.settle()
    return rig


def test_a_second_worker_takes_over_half_with_its_state() -> None:
    rig = started()
    rig.join("b")
    rig.settle()
    assert owners(rig) == {"a": 2, "b": 2}
    send(rig, 1050, 2)
    send(rig, 1100)
    rig.settle()
    assert totals(rig) == everywhere(3)


def test_a_rebalance_of_idle_workers_rolls_nothing_back() -> None:
    rig = started()
    rig.join("b")
    rig.settle()
    send(rig, 1100)
    rig.settle()
    assert rig.events.of("rolled-back") == []


def test_what_was_processed_is_committed_before_partitions_go() -> None:
    """R8: within the callback. Nothing is read twice then."""
    rig = Rig(make_app(), {"events": 4}, commit_interval_ms=5_000)
    rig.join("a")
    rig.settle()
    rig.clock.advance(10)
    send(rig, 1000)
    rig.step("a")  # the first change after a pause is committed at once
    send(rig, 1001)
    rig.step("a")  # read, not committed: the interval has begun
    position = rig.processes["a"].client.admin().group_offsets("app", 1.0)[TopicPartition("events", 0)].offset
    assert position == 1
    rig.join("b")
    rig.step("b")
    rig.step("a")  # hears of the rebalance
    position = rig.processes["a"].client.admin().group_offsets("app", 1.0)[TopicPartition("events", 0)].offset
    assert position == 2
    rig.settle()
    send(rig, 1100)
    rig.settle()
    assert totals(rig) == everywhere(2)


def test_a_worker_that_leaves_gives_its_work_over() -> None:
    rig = started()
    rig.join("b")
    rig.settle()
    send(rig, 1001)
    rig.leave("a")
    rig.settle()
    assert owners(rig) == {"b": 4}
    send(rig, 1100)
    rig.settle()
    assert totals(rig) == everywhere(2)


def test_a_worker_that_was_thrown_out_commits_nothing() -> None:
    """R9, R11: its partitions are another's, and its transaction is aborted."""
    rig = Rig(make_app(), {"events": 4}, commit_interval_ms=5_000)
    rig.join("a")
    rig.settle()
    rig.clock.advance(10)
    send(rig, 1000)
    rig.step("a")
    send(rig, 1001)
    rig.step("a")  # in its transaction
    rig.join("b")
    (zombie,) = [member for member in rig.cluster.members("app") if member.startswith("a")]
    rig.cluster.expire(zombie)
    for _ in range(20):
        rig.step("b")
    assert owners(rig)["b"] == 4
    send(rig, 1100)
    rig.clock.advance(10)
    for _ in range(20):
        rig.step("b")
    assert totals(rig) == everywhere(2)
    rig.settle()
    rig.end_of_input()
    assert totals(rig) == everywhere(2) + everywhere(1)


def test_a_transaction_that_began_under_another_ownership_is_not_committed() -> None:
    """R9: whatever the client's callbacks did or did not say, a partition that came anew is not the one that was read."""
    rig = Rig(make_app(), {"events": 4}, commit_interval_ms=5_000)
    worker = rig.join("a")
    rig.settle()
    rig.clock.advance(10)
    send(rig, 1000)
    rig.step("a")
    send(rig, 1001)
    rig.step("a")  # in its transaction
    worker._assignment._epochs[TopicPartition("events", 2)] += 1
    rig.settle()
    (rolled_back,) = rig.events.of("rolled-back")
    assert "partitions changed hands during the transaction: events-2" in rolled_back["error"]
    send(rig, 1100)
    rig.settle()
    assert totals(rig) == everywhere(2)


@pytest.mark.parametrize("call", ["committed", "seek", "commit"])
def test_dying_while_taking_over_leaves_it_to_the_other(call: str) -> None:
    rig = started()
    rig.join("b")
    rig.cluster.inject(call, error=Crash(), client_id="b")
    rig.settle()
    assert rig.crashes == 1
    send(rig, 1001)
    send(rig, 1100)
    rig.settle()
    assert totals(rig) == everywhere(2)
