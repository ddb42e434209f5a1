"""A topic of a running app is deleted, made anew, or changed (R23): the worker stops, says what happened and what to do, and
commits nothing afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import streamkit as sk
from streamkit.errors import RetriableError, TopicChangedError
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory import MemoryClient
from streamkit.kafka.memory.server.log import PartitionLog
from streamkit.kafka.memory.server.topic import TopicConfig
from tests.driver.rig import Rig

CHANGELOG, REPARTITION = "app.agg.changelog", "app.events-by-key.repartition"
EVERY_S = sk.EngineSettings().topic_check_ms / 1000


class Event(sk.Model):
    key: str
    value: int


def make_app(*, stateful: bool = True) -> sk.App:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    if stateful:
        totals = events.key_by("key").window(sk.tumbling("100ms")).aggregate("agg", total=sk.sum("value"))
        totals.on_close().to(sk.Topic("results"))
    else:
        events.to(sk.Topic("results"))
    return app


def started(*, stateful: bool = True) -> Rig:
    rig = Rig(make_app(stateful=stateful), 2)
    rig.join("a")
    send(rig)
    rig.settle()
    return rig


def send(rig: Rig) -> None:
    for partition in range(2):
        rig.cluster.append("events", b'{"key":"k","value":1}', b"k", partition, 1_000)


def delete(rig: Rig, topic: str) -> None:
    MemoryClient(rig.cluster).admin().delete_topics([topic], 1.0)


def recreate(rig: Rig, topic: str) -> None:
    """As the app itself would make it, but with nothing in it."""
    info = MemoryClient(rig.cluster).admin().describe_topics([topic], 1.0)[topic]
    assert info is not None
    delete(rig, topic)
    rig.cluster.create_topic(topic, info.partitions, info.config)


def grow(rig: Rig, topic: str) -> None:
    found = rig.cluster.broker.topics[topic]
    found.logs.append(PartitionLog(TopicPartition(topic, len(found.logs))))


def positions(rig: Rig) -> dict[TopicPartition, Committed]:
    return MemoryClient(rig.cluster).admin().group_offsets("app", 1.0)


def count_questions(rig: Rig) -> list[list[str]]:
    """The topics that the guard of the worker asks for from now on."""
    admin, asked = rig.processes["a"].worker._topics._admin, []
    real = admin.describe_topics

    def describe(names: Sequence[str], timeout: float) -> object:
        asked.append(list(names))
        return real(names, timeout)

    admin.describe_topics = describe
    return asked


def still_works(rig: Rig) -> None:
    """What arrives now is processed and committed, by the same worker, which went back for nothing."""
    before = positions(rig)
    send(rig)
    rig.settle()
    ends = MemoryClient(rig.cluster).admin().end_offsets([TopicPartition("events", 0), TopicPartition("events", 1)], 1.0)
    now = positions(rig)
    assert now != before
    assert {tp: now[tp].offset for tp in ends} == ends
    assert rig.events.of("rolled-back") == []


def run_until_stopped(rig: Rig) -> TopicChangedError:
    """What the service does: it steps until an error, and closes the worker."""
    before: object = None
    worker = rig.processes["a"].worker
    with pytest.raises(TopicChangedError) as caught:
        for _ in range(100):
            before = positions(rig)
            worker.step(0.0)
            rig.clock.advance(EVERY_S / 10)
    worker.close()
    assert positions(rig) == before
    assert rig.cluster.open_transactions() == []
    return caught.value


@pytest.mark.parametrize("topic", ["events", "results", CHANGELOG, REPARTITION])
def test_a_deleted_topic_stops_the_worker(topic: str) -> None:
    rig = started()
    rig.clock.advance(1.0)
    delete(rig, topic)
    error = run_until_stopped(rig)
    assert error.topic == topic
    assert f"topic '{topic}' was deleted while the app ran" in str(error)


@pytest.mark.parametrize("topic", ["events", CHANGELOG, REPARTITION])
def test_a_topic_that_was_made_anew_stops_the_worker(topic: str) -> None:
    rig = started()
    recreate(rig, topic)
    error = run_until_stopped(rig)
    assert error.topic == topic
    assert "was deleted and made anew" in str(error)
    assert "streamkit reset" in str(error)


def test_records_of_the_new_topic_are_not_taken_for_those_of_the_old_one() -> None:
    """The new one is longer than the old one was, so that the position lies inside it."""
    rig = started()
    recreate(rig, "events")
    for _ in range(10):
        send(rig)
    read = len(rig.cluster.read(REPARTITION))
    rig.clock.advance(EVERY_S)
    run_until_stopped(rig)
    assert len(rig.cluster.read(REPARTITION)) == read


def test_a_source_that_grew_stops_an_app_without_state_and_a_restart_takes_it_up() -> None:
    rig = started(stateful=False)
    grow(rig, "events")
    rig.cluster.append("events", b'{"key":"k","value":1}', b"k", 2, 1_000)
    error = run_until_stopped(rig)
    assert "grew from 2 to 3 partitions" in str(error)
    assert "A restart takes the new ones up" in str(error)
    rig.processes.clear()
    rig.join("a")
    rig.settle()
    assert len(rig.cluster.read("results")) == 3


def test_a_source_that_grew_stops_an_app_with_state_and_wants_a_reset() -> None:
    rig = started()
    grow(rig, "events")
    assert "Reset the app" in str(run_until_stopped(rig))


@pytest.mark.parametrize(
    "topic, change, says",
    [
        (CHANGELOG, {"cleanup.policy": "delete"}, "cleanup.policy is 'delete' but must be 'compact,delete'"),
        (REPARTITION, {"retention.ms": "60000"}, "retention.ms is '60000' but must be '-1'"),
    ],
)
def test_an_internal_topic_whose_settings_no_longer_fit_stops_the_worker(topic: str, change: dict[str, str], says: str) -> None:
    rig = started()
    found = rig.cluster.broker.topics[topic]
    found.config = TopicConfig({**found.config.text, **change})
    error = run_until_stopped(rig)
    assert f"topic '{topic}' was changed while the app ran" in str(error)
    assert says in str(error)


def test_a_sink_may_grow_and_be_made_anew() -> None:
    rig = started(stateful=False)
    grow(rig, "results")
    recreate(rig, "results")
    rig.clock.advance(EVERY_S)
    send(rig)
    rig.settle()
    assert len(rig.cluster.read("results")) == 2
    assert [event["topic"] for event in rig.events.of("sink-changed")] == ["results"]


def test_settings_that_still_fit_may_change() -> None:
    rig = started()
    found = rig.cluster.broker.topics[CHANGELOG]
    found.config = TopicConfig({**found.config.text, "segment.bytes": "2000000"})
    asked = count_questions(rig)
    rig.clock.advance(EVERY_S)
    rig.settle()
    assert CHANGELOG in asked[0]  # it was looked at
    still_works(rig)


def test_a_topic_that_one_broker_does_not_know_for_a_moment_is_looked_for_once_more() -> None:
    rig = started()
    worker = rig.processes["a"].worker
    admin = worker._topics._admin
    real = admin.describe_topics
    admin.describe_topics = lambda names, timeout: {**real(names, timeout), "events": None}
    rig.clock.advance(EVERY_S)
    worker.step(0.0)
    admin.describe_topics = real
    assert worker._topics._missing == {"events"}  # it was noticed, and not taken for certain
    rig.settle()
    assert worker._topics._missing == frozenset()
    still_works(rig)


def test_a_broker_that_does_not_answer_the_question_changes_nothing() -> None:
    rig = started()
    rig.cluster.inject("describe_topics", error=RetriableError("no answer", code="_TIMED_OUT"))
    rig.clock.advance(EVERY_S)
    rig.settle()
    assert rig.cluster.faults.planted == []
