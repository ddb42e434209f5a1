"""A bounded run: it ends once, can be ended again while nothing is new, and a crash on the way does not lock the group out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

import streamkit as sk
from streamkit.errors import FinishedError
from streamkit.kafka.memory import MemoryClient
from tests.driver.rig import Crash, Rig


class Event(sk.Model):
    key: str
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)


def make_app() -> sk.App:
    app = sk.App("bounded")
    totals = app.stream(EVENTS).key_by("key").window(sk.tumbling("10ms")).aggregate("agg", total=sk.sum("value"))
    totals.on_close().to(sk.Topic("results"))
    return app


def send(rig: Rig, *timestamps: int) -> None:
    """Each in a transaction, as other services write: the last offset of the log is then a marker's, not a record's."""
    broker = sk.Broker(MemoryClient(rig.cluster), is_embedded=True)
    for ms in timestamps:
        broker.send(EVENTS, Event("a", 1), key="a", timestamp=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))


def totals(rig: Rig) -> list[int]:
    return [json.loads(record.value or b"")["total"] for record in rig.cluster.read("results")]


def ended() -> Rig:
    rig = Rig(make_app(), 1, until_end=True)
    send(rig, 0, 5, 12)
    rig.join("a")
    rig.settle()
    assert rig.processes["a"].worker.finished
    assert totals(rig) == [2, 1]
    return rig


def test_a_finished_group_that_is_ended_again_has_nothing_to_do() -> None:
    rig = ended()
    rig.leave("a")
    rig.join("a")
    rig.settle()
    assert rig.processes["a"].worker.finished
    assert totals(rig) == [2, 1]


def test_a_finished_group_with_new_records_refuses_to_start() -> None:
    rig = ended()
    rig.leave("a")
    send(rig, 13)
    rig.join("a")
    with pytest.raises(FinishedError, match=r"'bounded' already ran to the end of events-0 .* second result.*streamkit reset"):
        rig.settle()
    assert totals(rig) == [2, 1]


def test_a_finished_group_refuses_to_go_on_as_a_service() -> None:
    rig = ended()
    rig.leave("a")
    rig.until_end = False
    rig.join("a")
    with pytest.raises(FinishedError, match=r"--until-end at offset"):
        rig.settle()


@pytest.mark.parametrize("commits", range(8))
def test_dying_at_any_commit_of_a_bounded_run_leaves_a_run_that_can_be_repeated(commits: int) -> None:
    rig = Rig(make_app(), 1, until_end=True, max_records=1)
    send(rig, 0, 5, 12)
    rig.cluster.inject("commit", error=Crash(), when="after", skip=commits)
    rig.join("a")
    rig.settle()
    assert rig.processes["a"].worker.finished
    assert totals(rig) == [2, 1]
    assert rig.crashes == (not rig.cluster.faults.planted)
    assert rig.crashes or commits > 3  # most of the eight do die


def start_again(rig: Rig, name: str = "a") -> None:
    """In another process."""
    rig.crash(name)
    rig.join(name)


def test_the_end_is_chosen_once_and_a_crash_does_not_move_it() -> None:
    """The topic is still written: what came after the start belongs to another run."""
    rig = Rig(make_app(), 1, until_end=True, max_records=1)
    send(rig, 0, 5, 12)
    rig.join("a")
    while not rig.cluster.read("bounded.events-by-key.repartition"):
        rig.step("a")
    send(rig, 13, 25)
    start_again(rig)
    rig.settle()
    assert rig.processes["a"].worker.finished
    assert totals(rig) == [2, 1]


def test_a_run_that_ended_in_one_partition_and_crashed_goes_on_although_that_one_got_more() -> None:
    rig = Rig(make_app(), 2, until_end=True)
    sent = MemoryClient(rig.cluster, client_id="input").producer("input")
    sent.init_transactions(1)
    sent.begin()
    sent.produce("events", b'{"key":"b","value":5}', b"b", 1, 1_577_836_800_000)
    sent.flush(1)
    rig.cluster.append("events", b'{"key":"a","value":1}', b"a", 0, 1_577_836_800_000)
    rig.join("a")
    rig.settle()  # partition 0 has ended, partition 1 waits for a transaction
    assert not rig.processes["a"].worker.finished
    rig.cluster.append("events", b'{"key":"a","value":1}', b"a", 0, 1_577_836_800_000)
    start_again(rig)
    sent.commit(1)
    rig.settle()
    assert rig.processes["a"].worker.finished
    assert sorted(totals(rig)) == [1, 5]
    rig.leave("a")
    rig.join("a")  # now it has ended everywhere: another run
    with pytest.raises(FinishedError):
        rig.settle()


def test_a_service_that_follows_a_bounded_run_which_never_ended_has_no_end() -> None:
    rig = Rig(make_app(), 1, until_end=True, max_records=1)
    send(rig, 0)
    sent = MemoryClient(rig.cluster, client_id="input").producer("input")
    sent.init_transactions(1)
    sent.begin()
    sent.produce("events", b'{"key":"a","value":1}', b"a", 0, 1_577_836_800_005)
    sent.flush(1)
    rig.join("a")
    rig.settle()
    rig.until_end = False
    sent.commit(1)
    start_again(rig)
    send(rig, 12, 25)
    rig.settle()
    assert totals(rig) == [2, 1]
    assert not rig.processes["a"].worker.finished


def test_the_workers_of_a_bounded_run_may_leave_one_after_the_other() -> None:
    rig = Rig(make_app(), 2, until_end=True)
    send(rig, 0, 5, 12)
    rig.join("a")
    rig.join("b")
    rig.settle()
    rig.leave("b")
    rig.settle()
    assert rig.processes["a"].worker.finished
    assert sorted(totals(rig)) == [1, 2]


def test_no_end_is_stored_as_time() -> None:
    """R18: the end is a flag, so what is stored lets nobody believe that time has come to the end of days."""
    rig = ended()
    stored = [record for record in rig.cluster.read("bounded.agg.changelog") if record.key == b"time"]
    assert [json.loads(record.value or b"")["frontier"] for record in stored][-1] == 1_577_836_800_011
    words = [
        w
        for r in rig.cluster.read("bounded.events-by-key.repartition")
        if r.key is None
        for w in json.loads(r.value or b"")["tasks"]
    ]
    assert words[-1] == ["events", 0, 1_577_836_800_011, "ended"]
