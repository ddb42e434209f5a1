"""A task that comes straight back goes on with the state that it has in memory; one that anybody else had in between does not."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import AbortableError, RetriableError
from streamkit.eventtime.inputs import InputState
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.runtime.decide.resume import may_resume
from streamkit.runtime.task import Task
from tests.driver.chaos import Action, Append, Expire, Move, Settle, StepOne, bounded, play, restless
from tests.driver.rig import Rig
from tests.support.examples import examples
from tests.support.reference import Grid, Seen, windowed

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
BASE_MS = 1_586_937_600_000


class Event(sk.Model):
    number: int
    key: str
    value: int
    at: int


def make_app(*, through_repartition: bool = False, idle_after: str | None = None) -> sk.App:
    app = sk.App("app")
    time = sk.event_time("at", out_of_orderness="3ms", idle_after=idle_after)
    events = app.stream(sk.Topic("events", key=str, value=Event), event_time=time)
    keyed = events.key_by("key") if through_repartition else events.by_record_key()
    totals = keyed.window(sk.tumbling("10ms")).aggregate("agg", n=sk.count(), total=sk.sum("value"))
    totals.on_close().to(sk.Topic("results"))
    totals.late().to(sk.Topic("late", value=Event))
    return app


def append(rig: Rig, record: Seen) -> None:
    value = {"number": record.number, "key": record.key, "value": record.value, "at": record.at_ms}
    rig.cluster.append("events", json.dumps(value).encode(), record.key.encode(), record.partition, BASE_MS)


def send(rig: Rig, at_ms: int, value: int = 1, partitions: int = 4) -> None:
    for partition in range(partitions):
        append(rig, Seen(partition, 0, f"k{partition}", value, BASE_MS + at_ms))


def totals(rig: Rig) -> Counter[tuple[str, int]]:
    rows = [json.loads(record.value or b"") for record in rig.cluster.read("results")]
    return Counter((row["key"], row["total"]) for row in rows)


def everywhere(total: int) -> Counter[tuple[str, int]]:
    return Counter({(f"k{partition}", total): 1 for partition in range(4)})


def started(app: sk.App | None = None, **settings: Any) -> Rig:
    rig = Rig(app or make_app(), {"events": 4}, **settings)
    rig.join("a")
    rig.settle()
    send(rig, 0)
    rig.settle()
    return rig


def tasks_of(rig: Rig, event: str) -> list[str]:
    return sorted(task for told in rig.events.of(event) for task in told["tasks"])


def member(rig: Rig, name: str) -> str:
    (found,) = [member for member in rig.cluster.members("app") if member.startswith(name)]
    return found


class TouchedError(Exception):
    """The changelog was read."""


def test_what_comes_straight_back_reads_no_changelog() -> None:
    rig = started()
    worker = rig.processes["a"].worker
    before = {task.id: task for task in worker.tasks}
    rig.join("b")
    rig.cluster.inject("assign", error=TouchedError(), client_id="a")  # the only way to a changelog
    rig.settle()
    assert [fault.call for fault in rig.cluster.faults.planted] == ["assign"]
    assert tasks_of(rig, "resumed") == ["events/0", "events/1"]
    assert all(before[task.id] is task for task in worker.tasks)
    assert len(worker.tasks) == 2
    send(rig, 1)
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(2)


def test_what_went_to_another_is_dropped_at_once() -> None:
    rig = started()
    rig.join("b")
    rig.settle()
    (dropped,) = rig.events.of("parked-dropped")
    assert dropped == {"tasks": ["events/2", "events/3"], "reason": "assigned to another worker"}
    assert len(rig.processes["a"].worker._parking) == 0


def given_up(**settings: Any) -> Rig:
    """a and z share the partitions; b joins, and a gives up what it has. The group now waits for z."""
    rig = started(**settings)
    rig.join("z")
    rig.settle()
    rig.events.events.clear()
    rig.join("b")
    rig.step("b")
    rig.step("a")
    assert [told["tasks"] for told in rig.events.of("parked")] == [["events/0", "events/1"]]
    return rig


@pytest.mark.parametrize("has_processed", [True, False])
def test_what_another_has_committed_is_restored(*, has_processed: bool) -> None:
    """The sequence: a gives everything up for b, and is thrown out before it has joined again. It is not told that it lost
    anything, for it has nothing. Others get all, and may do something with it; then a is back."""
    rig = given_up()
    rig.cluster.expire(member(rig, "a"))
    if has_processed:
        send(rig, 1)
        for _ in range(30):
            rig.step("b")
            rig.step("z")
        assert sum(len(rig.processes[name].worker.tasks) for name in "bz") == 4
    rig.events.events.clear()
    rig.leave("b")
    rig.leave("z")
    rig.settle()
    mine = ["events/0", "events/1"]
    dropped = [(told["tasks"], told["reason"]) for told in rig.events.of("parked-dropped")]
    assert dropped == ([(mine, "another worker has committed")] if has_processed else [])
    assert tasks_of(rig, "resumed") == ([] if has_processed else mine)
    send(rig, 2)
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(3 if has_processed else 2)


@pytest.mark.parametrize(
    "found, resumes",
    [
        ({A: Committed(5, "sk1;9;3;"), B: Committed(7, "sk1;8;3;")}, True),
        ({A: Committed(5, "sk1;9;3;", 4), B: Committed(7, "sk1;8;3;", 9)}, True),  # a new leader changes no record
        ({A: Committed(5, "sk1;9;4;"), B: Committed(7, "sk1;8;4;")}, False),  # time alone moved, or it was told downstream
        ({A: Committed(5, "sk1;9;3;"), B: Committed(8, "sk1;8;3;")}, False),
        ({A: Committed(5, "sk1;9;3;"), B: Committed(7, "")}, False),
        ({A: Committed(5, "sk1;9;3;"), B: None}, False),
        ({A: Committed(5, "sk1;9;3;")}, False),
    ],
)
def test_every_input_must_be_where_the_task_left_it(found: dict[TopicPartition, Committed | None], *, resumes: bool) -> None:
    assert may_resume({A: Committed(5, "sk1;9;3;"), B: Committed(7, "sk1;8;3;")}, found) == resumes


def test_a_task_that_has_committed_nothing_does_not_resume() -> None:
    assert not may_resume({}, {A: Committed(5, "sk1;9;3;")})


def test_a_task_that_was_restored_and_had_nothing_to_do_resumes() -> None:
    """What it was restored from is its last commit as well."""
    rig = started()
    rig.join("b")
    rig.settle()
    rig.events.events.clear()
    rig.join("c")
    rig.settle()
    assert len(tasks_of(rig, "resumed")) >= 1
    rig.leave("c")
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_changes_that_could_not_be_committed_in_the_callback_are_not_parked() -> None:
    rig = started(commit_interval_ms=5_000)
    rig.clock.advance(10)
    send(rig, 1)
    rig.step("a")
    send(rig, 2)
    rig.step("a")  # in its transaction
    rig.join("b")
    rig.cluster.inject("commit", error=AbortableError("planted", code="PLANTED"), client_id="a")
    rig.settle()
    assert rig.events.of("revoke-aborted")
    assert rig.events.of("parked") == []
    send(rig, 20)
    rig.clock.advance(10)
    rig.settle()
    assert totals(rig) == everywhere(3)


def test_what_was_lost_is_not_parked_and_what_is_parked_is_dropped() -> None:
    rig = started()
    rig.cluster.expire(member(rig, "a"))
    rig.settle()
    assert len(rig.events.of("lost")) == 1
    assert rig.events.of("parked") == rig.events.of("resumed") == []
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_a_roll_back_drops_what_is_parked() -> None:
    rig = given_up()
    rig.cluster.inject("poll", error=AbortableError("planted", code="PLANTED"), client_id="a")
    rig.step("a")
    assert [told["reason"] for told in rig.events.of("parked-dropped")] == ["rolled back"]
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_nothing_stays_parked_for_longer_than_a_rebalance_can_take() -> None:
    rig = given_up(max_poll_interval_ms=60_000)
    rig.clock.advance(60.5)
    rig.step("a")
    assert [told["reason"] for told in rig.events.of("parked-dropped")] == ["the rebalance took too long"]
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_what_is_parked_counts_as_memory_and_is_given_up_when_that_is_short() -> None:
    rig = given_up(memory_limit_mb=1)
    worker = rig.processes["a"].worker
    assert worker.tasks == ()
    (parked,) = worker.state_bytes().values()
    assert parked > 1_000
    memory = worker._memory
    assert memory is not None
    for limit, left in ((parked + 1, 2), (parked, 0)):
        memory._limit = limit
        rig.clock.advance(1)
        rig.step("a")
        assert len(worker._parking) == left
    assert [told["reason"] for told in rig.events.of("parked-dropped")] == ["memory_limit_mb"]
    memory._limit = 1_000_000
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


@pytest.mark.parametrize("short_of", ["memory", "time"])
def test_what_is_on_its_way_back_is_not_given_up(short_of: str) -> None:
    """The sequence: it is ours again, but where its partitions begin is not answered; meanwhile it would have been dropped."""
    rig = given_up(memory_limit_mb=1, max_poll_interval_ms=60_000)
    worker = rig.processes["a"].worker
    while not worker._take_over._ready:
        rig.cluster.inject("start_offsets", error=RetriableError("planted", code="PLANTED", call="start_offsets"), client_id="a")
        for name in "abz":
            rig.step(name)
    if short_of == "memory":
        assert worker._memory is not None
        worker._memory._limit = 1_000
        rig.cluster.inject("start_offsets", error=RetriableError("planted", code="PLANTED", call="start_offsets"), client_id="a")
        rig.clock.advance(1)
        rig.step("a")
        worker._memory._limit = 1_000_000
    else:
        rig.clock.advance(60.5)
    rig.cluster.faults.planted.clear()
    rig.settle()
    send(rig, 20)
    rig.settle()
    assert totals(rig) == everywhere(1)


def test_an_idle_input_counts_as_active_again() -> None:
    """R26: nobody looked at the partition meanwhile."""
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event), event_time=sk.event_time("at", idle_after="1s"))
    more = app.stream(sk.Topic("more", key=str, value=Event), event_time=sk.event_time("at", idle_after="1s"))
    keyed = events.merge(more).by_record_key().window(sk.tumbling("10ms"))
    keyed.aggregate("agg", n=sk.count(), total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, {"events": 4, "more": 4})
    worker = rig.join("a")
    rig.settle()
    send(rig, 0)
    rig.settle()
    rig.clock.advance(5)
    rig.settle()

    def states(tasks: tuple[Task, ...]) -> set[InputState]:
        return {each.state for task in tasks for each in task.time.inputs.values()}

    assert states(tuple(worker.tasks)) == {InputState.IDLE}
    rig.join("b")
    while not rig.events.of("resumed"):
        rig.step("b")
        rig.step("a")
    assert states(tuple(worker.tasks)) == {InputState.ACTIVE}


def test_late_records_that_were_not_told_yet_are_told_after_it_has_resumed() -> None:
    rig = started()
    send(rig, 40)
    rig.settle()
    rig.events.events.clear()
    send(rig, 1)  # late: told at once, and nothing more for ten seconds
    rig.settle()
    first = sum(told["new"] for told in rig.events.of("late-records"))
    rig.join("b")
    rig.settle()
    rig.clock.advance(11)
    send(rig, 41)
    rig.settle()
    assert sum(told["new"] for told in rig.events.of("late-records")) == 4 >= first


def killed_in_its_commit(rig: Rig, name: str) -> None:
    """Its offsets are in the open transaction that it leaves behind: nobody can say where its partitions stand."""
    worker = rig.processes[name].worker
    producer = worker._transaction._begun()
    positions = {tp: Committed(position.next_offset) for task in worker.tasks for tp, position in task.inputs.items()}
    producer.send_offsets(positions, worker._consumer.group_metadata(), 1.0)
    rig.crash(name)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_transaction_that_was_left_open_holds_up_only_its_own_partitions(protocol: Literal["classic", "consumer"]) -> None:
    """What comes straight back, or stays, goes on; what was the dead worker's waits until its transaction has ended."""
    rig = Rig(make_app(), {"events": 4}, protocol=protocol)
    rig.join("a")
    rig.join("b")
    rig.settle()
    send(rig, 0)
    rig.settle()
    mine = {task.id.partition for task in rig.processes["a"].worker.tasks}
    assert len(mine) == 2
    rig.events.events.clear()
    killed_in_its_commit(rig, "b")
    send(rig, 20)
    for _ in range(40):
        rig.step("a")
    assert totals(rig) == Counter({(f"k{partition}", 1): 1 for partition in mine})
    assert 1 <= len(rig.events.of("take-over-retried")) < 5  # not with every step
    rig.cluster.expire_transaction("app-b")
    rig.clock.advance(5)
    rig.settle()
    assert totals(rig) == everywhere(1)


@st.composite
def inputs(draw: st.DrawFn) -> list[Seen]:
    steps = st.one_of(st.integers(0, 5), st.integers(0, 5), st.integers(-6, 8), st.integers(-40, -12))
    shape = st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(-9, 9), steps)
    clocks = dict.fromkeys(range(4), BASE_MS)
    records = []
    for number, (partition, key, value, step) in enumerate(draw(st.lists(shape, max_size=60))):
        at_ms = clocks[partition] + step
        clocks[partition] = max(clocks[partition], at_ms)
        records.append(Seen(partition, number, f"{key}{partition}", value, at_ms))
    return records


@pytest.mark.parametrize("through_repartition", [False, True])
@settings(bounded, max_examples=examples(100))
@given(records=inputs(), chaos=restless, max_records=st.sampled_from([1, 3, 1000]))
def test_however_often_workers_come_and_go_the_results_are_those_of_the_reference(
    records: list[Seen], chaos: list[Action], max_records: int, *, through_repartition: bool
) -> None:
    reference = windowed(records, Grid(10, 10), 3, 4)
    rig = Rig(make_app(through_repartition=through_repartition), 4, max_records=max_records)
    play(rig, chaos, [partial(append, rig, record) for record in records])
    rig.end_of_input()
    rows = [json.loads(record.value or b"") for record in rig.cluster.read("results")]
    expected = Counter((key, len(values), sum(v or 0 for v in values)) for (key, _, _), values in reference.values.items())
    assert Counter((row["key"], row["n"], row["total"]) for row in rows) == expected
    assert sorted(json.loads(record.value or b"")["number"] for record in rig.cluster.read("late")) == sorted(reference.late)


def test_that_chaos_does_park_resume_and_drop() -> None:
    """The property above would hold without parking as well; a plan like its own does meet it."""
    rig = Rig(make_app(through_repartition=True), 4)
    everyone = [StepOne(worker) for worker in range(4)] * 8
    others = [StepOne(worker) for worker in range(1, 4)] * 8
    given_up: list[Action] = [Move("b"), Move("c"), *everyone, Append(2), Move("d"), StepOne(3), StepOne(0), Expire(0)]
    plan = [*given_up, Append(2), *others, Move("b"), Move("c"), Move("d"), Settle()] * 3
    play(rig, plan, [partial(send, rig, at_ms) for at_ms in range(0, 100, 5)])
    reasons = {told["reason"] for told in rig.events.of("parked-dropped")}
    assert len(rig.events.of("resumed")) >= 3
    assert {"assigned to another worker", "another worker has committed"} <= reasons
