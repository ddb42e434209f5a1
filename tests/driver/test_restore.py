"""Recovery that finishes (R12-R14): by position, in bounded slices, never inside a callback, whatever happens on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import RestoreError, RestoreStalledError
from streamkit.instrument import Recorder
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.failures import FailurePolicy
from streamkit.runtime.restore import Restore
from streamkit.runtime.topics import lay_out
from tests.driver.rig import Rig

CHANGELOG = "app.agg.changelog"
BATCHES = 800


class Event(sk.Model):
    key: str
    value: int


def make_app() -> sk.App:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    totals = events.by_record_key().window(sk.tumbling("1h")).aggregate("agg", total=sk.sum("value"))
    totals.on_close().to(sk.Topic("results"))
    return app


def filled(partitions: int = 2) -> Rig:
    """Changelogs of many records: one commit each."""
    rig = Rig(make_app(), {"events": partitions}, max_records=1)
    rig.join("a")
    rig.settle()
    for _ in range(BATCHES // partitions):
        for partition in range(partitions):
            rig.cluster.append("events", b'{"key":"k%d","value":1}' % partition, b"k%d" % partition, partition, 1_000)
    rig.settle()
    assert len(rig.cluster.read(CHANGELOG)) > 2 * BATCHES
    return rig


def totals(rig: Rig) -> Counter[tuple[str, int]]:
    rows = [json.loads(record.value or b"") for record in rig.cluster.read("results")]
    return Counter((row["key"], row["total"]) for row in rows)


def close_windows(rig: Rig, partitions: int = 2) -> None:
    for partition in range(partitions):
        rig.cluster.append("events", b'{"key":"end","value":0}', b"end", partition, 3_600_000)
    rig.settle()


def restoring(rig: Rig, name: str = "a") -> None:
    """Steps until a part of the changelogs is read."""
    worker = rig.processes[name].worker
    for _ in range(1_000):
        for each in sorted(rig.processes):
            rig.step(each)
        restore = worker._take_over._restore
        if restore is not None and restore.records:
            return
    raise AssertionError("it never came to restore")


def restore_alone(rig: Rig, stall_s: float = 120.0) -> Restore:
    client = MemoryClient(rig.cluster)
    layout = lay_out(rig.topology, client.admin(), rig.settings, Recorder())
    policy = FailurePolicy("stop", Recorder())
    tasks = [layout.task(task_id, rig.cluster, policy, "x") for task_id in layout.task_inputs()]  # type: ignore[arg-type]  # nothing is written
    return Restore(tasks, client, client.admin(), rig.clock, stall_s, Recorder())


def run(restore: Restore, steps: int = 1_000) -> int:
    for number in range(steps):
        if restore.step(0.0):
            return number + 1
    raise AssertionError("the restore does not come to its end")


def test_each_step_reads_a_bounded_amount() -> None:
    restore = restore_alone(filled())
    before = 0
    while not restore.step(0.0):
        assert restore.records - before <= 1_000
        before = restore.records
    assert restore.records > 2 * BATCHES


def test_what_a_task_is_at_while_it_is_restored() -> None:
    """It has neither time nor positions yet, so none are shown."""
    rig = filled()
    rig.crash("a")
    worker = rig.join("a")
    restoring(rig)
    ends = MemoryClient(rig.cluster).admin().end_offsets([TopicPartition(CHANGELOG, n) for n in range(2)], 1.0)
    told = worker.snapshot()
    assert [(each["task"], each["state"]) for each in told] == [("events/0", "restoring"), ("events/1", "restoring")]
    shares = []
    for number, each in enumerate(told):
        assert set(each) == {"task", "state", "percent", "changelogs"}
        (changelog,) = each["changelogs"]
        assert changelog["changelog"] == f"{CHANGELOG}-{number}"
        assert 0 <= changelog["position"] <= changelog["end"] == ends[TopicPartition(CHANGELOG, number)]
        assert each["percent"] == 100 * changelog["position"] // changelog["end"]
        shares.append(each["percent"])
    assert 0 < max(shares) < 100
    rig.settle()
    assert [(each["state"], each["inputs"][0]["position"]) for each in worker.snapshot()] == [("running", BATCHES // 2)] * 2


def test_a_new_member_during_a_restore_gets_its_share_and_nothing_is_lost() -> None:
    rig = filled()
    rig.crash("a")
    rig.join("a")
    restoring(rig)
    rig.join("b")
    rig.settle()
    assert {name: len(process.worker.tasks) for name, process in rig.processes.items()} == {"a": 1, "b": 1}
    close_windows(rig)
    assert totals(rig) == Counter({("k0", BATCHES // 2): 1, ("k1", BATCHES // 2): 1})


def test_partitions_that_come_during_a_restore_are_restored_as_well() -> None:
    rig = filled()
    rig.join("b")
    rig.settle()
    rig.crash("a")
    rig.join("a")
    restoring(rig)
    rig.leave("b")
    rig.settle()
    assert len(rig.processes["a"].worker.tasks) == 2
    close_windows(rig)
    assert totals(rig) == Counter({("k0", BATCHES // 2): 1, ("k1", BATCHES // 2): 1})


def test_a_worker_that_dies_during_a_restore_leaves_it_to_the_next() -> None:
    rig = filled()
    for _ in range(3):
        rig.crash("a")
        rig.join("a")
        restoring(rig)
    rig.settle()
    close_windows(rig)
    assert totals(rig) == Counter({("k0", BATCHES // 2): 1, ("k1", BATCHES // 2): 1})


def test_nothing_is_asked_or_read_inside_a_rebalance_callback() -> None:
    """R12: only the commit of what is given away happens there."""
    rig = filled()
    rig.crash("a")
    worker = rig.join("a")
    inside, asked = False, 0
    poll = worker._consumer.poll

    def polled(most: int, timeout: float) -> Any:
        nonlocal inside
        inside = True
        try:
            return poll(most, timeout)
        finally:
            inside = False

    def outside(call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            nonlocal asked
            assert not inside, f"{call} inside a callback"
            asked += 1
            return call(*arguments)

        return checked

    worker._consumer.poll = polled
    worker._consumer.committed = outside(worker._consumer.committed)
    admin: Any = worker._admin
    for name in ("start_offsets", "end_offsets"):
        setattr(admin, name, outside(getattr(admin, name)))
    client: Any = worker._take_over._client
    client.reader = outside(client.reader)
    rig.settle()
    rig.join("b")
    rig.settle()
    rig.leave("b")
    rig.settle()
    assert asked > 5
    assert len(worker.tasks) == 2


def test_a_log_that_ends_with_markers_and_aborted_records_is_read_to_its_end() -> None:
    """R14: nobody is given its last records, so the end is known by position alone."""
    rig = filled(1)
    producer = MemoryClient(rig.cluster, client_id="zombie").producer("zombie")
    producer.init_transactions(1)
    for _ in range(5):
        producer.begin()
        producer.produce(CHANGELOG, b"never seen", b"block:zombie:0", 0)
        producer.flush(1)
        producer.abort(1)
    assert run(restore_alone(rig)) < 100


def test_a_restore_behind_an_open_transaction_fails_closed_and_says_how_to_find_it() -> None:
    rig = filled(1)
    producer = MemoryClient(rig.cluster, client_id="zombie").producer("zombie")
    producer.init_transactions(1)
    producer.begin()
    producer.produce(CHANGELOG, b"pending", b"block:zombie:0", 0)
    producer.flush(1)
    end = MemoryClient(rig.cluster).admin().end_offsets([TopicPartition(CHANGELOG, 0)], 1.0)[TopicPartition(CHANGELOG, 0)]
    restore = restore_alone(rig, stall_s=10.0)
    with pytest.raises(RestoreStalledError) as caught:
        for _ in range(100):
            assert not restore.step(0.0)
            rig.clock.advance(1.0)
    said = str(caught.value)
    assert f"{CHANGELOG}-0 at {end - 1} of {end}" in said
    assert f"describe-producers --topic {CHANGELOG} --partition 0" in said
    assert f"CurrentTransactionStartOffset of {end - 1}" in said


def test_a_transaction_that_ends_in_time_is_waited_for() -> None:
    rig = filled(1)
    producer = MemoryClient(rig.cluster, client_id="predecessor").producer("predecessor")
    producer.init_transactions(1)
    producer.begin()
    producer.produce(CHANGELOG, None, b"block:x:0", 0)
    producer.flush(1)
    restore = restore_alone(rig, stall_s=10.0)
    for _ in range(20):
        assert not restore.step(0.0)
        rig.clock.advance(0.3)
    producer.commit(1)
    run(restore)


@pytest.mark.parametrize("how", ["cut off", "made anew"])
def test_a_changelog_that_vanishes_under_way(how: str) -> None:
    rig = filled(1)
    restore = restore_alone(rig)
    assert not restore.step(0.0)
    admin = MemoryClient(rig.cluster).admin()
    tp = TopicPartition(CHANGELOG, 0)
    end = admin.end_offsets([tp], 1.0)[tp]
    if how == "cut off":
        admin.delete_records({tp: end}, 1.0)
    else:
        info = admin.describe_topics([CHANGELOG], 1.0)[CHANGELOG]
        assert info is not None
        admin.delete_topics([CHANGELOG], 1.0)
        rig.cluster.create_topic(CHANGELOG, 1, info.config)
    says = rf"cut off or made anew while it was read \({CHANGELOG}-0 at \d+ of {end}\).*streamkit reset"
    with pytest.raises(RestoreError, match=says):
        run(restore)


@pytest.mark.parametrize("how", ["cut off", "made anew", "deleted"])
def test_a_worker_stops_when_a_changelog_vanishes_under_way(how: str) -> None:
    rig = filled(1)
    rig.crash("a")
    worker = rig.join("a")
    restoring(rig)
    admin = MemoryClient(rig.cluster).admin()
    tp = TopicPartition(CHANGELOG, 0)
    if how == "cut off":
        admin.delete_records({tp: admin.end_offsets([tp], 1.0)[tp]}, 1.0)
    else:
        info = admin.describe_topics([CHANGELOG], 1.0)[CHANGELOG]
        assert info is not None
        admin.delete_topics([CHANGELOG], 1.0)
        if how == "made anew":
            rig.cluster.create_topic(CHANGELOG, 1, info.config)
    expected = RestoreError if how == "cut off" else sk.errors.TopicChangedError
    with pytest.raises(expected, match=CHANGELOG):
        for _ in range(200):
            worker.step(0.0)
            rig.clock.advance(0.5)
    worker.close()
    assert rig.cluster.open_transactions() == []
