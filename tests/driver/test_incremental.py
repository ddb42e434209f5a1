"""Rebalances by the protocol of KIP-848: what does not move is not disturbed, and all else holds as with the classic one."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import AssignmentError, ConfigError, GenerationError, RetriableError
from streamkit.kafka.client import TopicPartition
from tests.driver.chaos import Action, CrashIn, bounded, crashes, end, play, restless
from tests.driver.rig import Rig
from tests.driver.test_parking import Event, append, everywhere, inputs, make_app, member, send, tasks_of, totals
from tests.support.examples import examples
from tests.support.reference import Grid, Seen, windowed


def started(app: sk.App | None = None, **settings: int) -> Rig:
    rig = Rig(app or make_app(), {"events": 4}, protocol="consumer", **settings)
    rig.join("a")
    rig.settle()
    send(rig, 0)
    rig.settle()
    return rig


def test_tasks_that_stay_are_neither_restored_nor_stopped() -> None:
    rig = started()
    worker = rig.processes["a"].worker
    kept = {task.id: task for task in worker.tasks}
    rig.events.events.clear()
    rig.join("b")
    rig.settle()
    assert all(kept[task.id] is task for task in worker.tasks)
    assert len(worker.tasks) == len(rig.processes["b"].worker.tasks) == 2
    assert rig.events.of("resumed") == []
    assert len(tasks_of(rig, "running")) == 2  # of b
    send(rig, 1)
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(2)


def test_who_stays_goes_on_while_another_restores() -> None:
    """b takes its time to restore: a reads, commits and gives results meanwhile."""
    rig = started()
    rig.join("b")
    while len(rig.processes["a"].worker.tasks) == 4:
        rig.step("b")
        rig.step("a")
    before = len(rig.events.of("commit"))
    send(rig, 20)
    for _ in range(10):
        rig.step("a")
    assert len(rig.events.of("commit")) > before
    assert totals(rig) == Counter({(f"k{int(str(task.id)[-1])}", 1): 1 for task in rig.processes["a"].worker.tasks})
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_what_goes_is_committed_with_what_stays() -> None:
    rig = started(commit_interval_ms=5_000)
    rig.clock.advance(10)
    send(rig, 1)
    rig.step("a")
    send(rig, 2)
    rig.step("a")  # in its transaction
    rig.join("b")
    rig.settle()
    assert rig.events.of("rolled-back") == rig.events.of("revoke-aborted") == []
    rig.clock.advance(10)
    send(rig, 20)
    rig.clock.advance(10)
    rig.settle()
    assert totals(rig) == everywhere(3)


def test_a_generation_error_keeps_the_assignment() -> None:
    """R5: with KIP-848 a commit may meet a new member epoch; the tasks are restored, and nothing is waited for."""
    rig = started(commit_interval_ms=5_000)
    worker = rig.processes["a"].worker
    rig.clock.advance(10)
    send(rig, 1)
    rig.cluster.inject("send_offsets", error=GenerationError("planted", code="ILLEGAL_GENERATION"), client_id="a")
    rig.step("a")
    assert rig.events.of("rolled-back")
    assert worker._assignment.owned == {TopicPartition("events", number) for number in range(4)}
    rig.settle()
    assert rig.events.of("lost") == rig.events.of("revoked") == []
    send(rig, 20)
    rig.clock.advance(10)
    rig.settle()
    assert totals(rig) == everywhere(2)


def test_a_member_that_was_thrown_out_loses_all_and_commits_nothing() -> None:
    rig = started(commit_interval_ms=5_000)
    rig.clock.advance(10)
    send(rig, 1)
    rig.step("a")
    send(rig, 2)
    rig.step("a")  # in its transaction
    rig.join("b")
    rig.cluster.expire(member(rig, "a"))
    for _ in range(20):
        rig.step("b")
    assert len(rig.processes["b"].worker.tasks) == 4
    rig.clock.advance(10)
    rig.settle()
    assert len(rig.events.of("lost")) == 1
    send(rig, 20)
    rig.clock.advance(10)
    rig.settle()
    assert totals(rig) == everywhere(3)


def test_a_task_is_stopped_when_one_of_its_inputs_goes() -> None:
    """Partition n of both topics goes, one after the other; what is left of a task must not be read without it."""
    app = sk.App("app")
    both = app.stream(sk.Topic("one", key=str, value=Event)).merge(app.stream(sk.Topic("two", key=str, value=Event)))
    both.by_record_key().window(sk.tumbling("10ms")).aggregate("agg", n=sk.count(), total=sk.sum("value")).on_close().to(
        sk.Topic("results")
    )
    rig = Rig(app, {"one": 2, "two": 2}, protocol="consumer", max_poll_interval_ms=60_000)
    worker = rig.join("a")
    rig.settle()
    assert len(worker.tasks) == 2
    listener = worker._assignment
    rig.events.events.clear()
    listener.on_revoked([TopicPartition("one", 0)])
    assert [str(task.id) for task in worker.tasks] == ["one+two/1"]
    value = b'{"number":0,"key":"k","value":1,"at":1}'
    rig.cluster.append("two", value, b"k", 0, 1)
    for _ in range(5):
        rig.step("a")
    assert totals(rig) == Counter()
    rig.clock.advance(60.5)
    with pytest.raises(
        AssignmentError, match=r"task one\+two/0 has to read .* in one worker, but for 60 s group 'app' has given us only two-0"
    ):
        rig.step("a")


def test_with_the_classic_protocol_a_split_task_is_noticed_sooner() -> None:
    app = sk.App("app")
    both = app.stream(sk.Topic("one", key=str, value=Event)).merge(app.stream(sk.Topic("two", key=str, value=Event)))
    both.by_record_key().window(sk.tumbling("10ms")).aggregate("agg", n=sk.count()).on_close().to(sk.Topic("results"))
    rig = Rig(app, {"one": 2, "two": 2}, start_timeout_ms=5_000)
    worker = rig.join("a")
    rig.settle()
    worker._assignment.on_revoked([TopicPartition("one", 0)])
    rig.step("a")
    rig.clock.advance(5.5)
    with pytest.raises(AssignmentError, match="for 5 s"):
        rig.step("a")


def test_what_is_on_its_way_is_begun_anew_only_if_its_own_partitions_go() -> None:
    rig = started()
    rig.join("b")
    rig.cluster.inject("start_offsets", error=RetriableError("not now", code="_TIMED_OUT"), client_id="b", skip=1)
    while not rig.events.of("take-over-retried"):  # b has restored, and asks once more where to start
        rig.step("b")
        rig.step("a")
    worker = rig.processes["b"].worker
    mine = sorted(worker._assignment.owned)
    on_its_way = list(worker._take_over._ready)
    (other, *_) = [tp for number in range(4) if (tp := TopicPartition("events", number)) not in mine]
    worker._take_over.revoked([other])
    assert worker._take_over._ready == on_its_way != []
    worker._take_over.revoked(mine[:1])
    assert worker._take_over._ready == []
    assert worker._assignment.changed
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_a_session_of_the_group_that_a_transaction_could_outlive_is_refused_at_the_start() -> None:
    rig = Rig(make_app(), 4, protocol="consumer", transaction_timeout_ms=44_000)
    rig.cluster.broker.consumer_session_timeout_ms = 40_000
    with pytest.raises(ConfigError, match=r"session time-out of group 'app' .* is 40s; transaction_timeout \(44s\)"):
        rig.join("a")


@pytest.mark.parametrize("through_repartition", [False, True])
@settings(bounded, max_examples=examples(70))
@given(
    records=inputs(),
    chaos=restless,
    dying=st.lists(crashes, max_size=2),
    max_records=st.sampled_from([1, 3, 1000]),
)
def test_however_often_workers_come_and_go_the_results_are_those_of_the_reference(
    records: list[Seen], chaos: list[Action], dying: list[CrashIn], max_records: int, *, through_repartition: bool
) -> None:
    reference = windowed(records, Grid(10, 10), 3, 4)
    rig = Rig(make_app(through_repartition=through_repartition), 4, max_records=max_records, protocol="consumer")
    play(rig, chaos, [partial(append, rig, record) for record in records])
    end(rig, dying)
    rows = [json.loads(record.value or b"") for record in rig.cluster.read("results")]
    expected = Counter((key, len(values), sum(v or 0 for v in values)) for (key, _, _), values in reference.values.items())
    assert Counter((row["key"], row["n"], row["total"]) for row in rows) == expected
    assert sorted(json.loads(record.value or b"")["number"] for record in rig.cluster.read("late")) == sorted(reference.late)
