# ruff: noqa: E501 - one line a case

"""What is refused when an app starts: topics that are missing or do not fit, positions that are gone, state that cannot be trusted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

import streamkit as sk
from streamkit.errors import LostOffsetError, StateError, TopicError
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.server.group import Group
from tests.driver.rig import Rig

BROKER_TIMEOUT_S = 1.0


class Event(sk.Model):
    key: str
    value: int


EVENTS = sk.Topic("events", key=str, value=Event)
CHANGELOG, REPARTITION = "app.agg.changelog", "app.events-by-key.repartition"
GOOD_CHANGELOG = {"cleanup.policy": "compact,delete", "retention.ms": "-1"}
GOOD_REPARTITION = {"cleanup.policy": "delete", "retention.ms": "-1"}
ANY_TIME = {"message.timestamp.before.max.ms": str(2**63 - 1), "message.timestamp.after.max.ms": str(2**63 - 1)}


def make_app() -> sk.App:
    app = sk.App("app")
    keyed = app.stream(EVENTS).key_by("key").window(sk.tumbling("10s"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    return app


def send(driver: sk.TestDriver, *seconds: float, partition: int = 0) -> None:
    for second in seconds:
        when = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        driver.send(EVENTS, Event("a", 1), key="a", timestamp=when, partition=partition)


def results(driver: sk.TestDriver) -> list[int]:
    return [record.value.total for record in driver.read(sk.Topic("results"))]


# ---- topics


def run(cluster: Cluster, app: sk.App) -> None:
    """By the public face, to the end of the input."""
    app.run(broker=sk.Broker(MemoryClient(cluster), is_embedded=True), until_end=True)


def test_missing_topics_are_listed_with_the_nearest_names() -> None:
    cluster = Cluster(topics={"evnts": 1, "orders": 2})
    with pytest.raises(TopicError) as caught:
        run(cluster, make_app())
    text = str(caught.value)
    assert "source topic 'events' does not exist; did you mean 'evnts'? There is: evnts, orders" in text
    assert "sink topic 'results' does not exist" in text
    assert "kafka-topics.sh --create" in text
    assert sorted(cluster.broker.topics) == ["evnts", "orders"]  # nothing was created on the way


@pytest.mark.parametrize(
    "topic, partitions, config, says",
    [
        (CHANGELOG, 3, GOOD_CHANGELOG | ANY_TIME, "changelog topic 'app.agg.changelog' does not fit: it has 3 partitions, the plan needs 2.*reset"),
        (REPARTITION, 1, GOOD_REPARTITION | ANY_TIME, "repartition topic 'app.events-by-key.repartition' does not fit: it has 1 partitions, the plan needs 2"),
        (CHANGELOG, 2, {"cleanup.policy": "delete", "retention.ms": "-1"} | ANY_TIME, "cleanup.policy is 'delete' but must be 'compact,delete'.*kafka-configs.sh"),
        (REPARTITION, 2, {"cleanup.policy": "compact"} | ANY_TIME, "cleanup.policy is 'compact' but must be 'delete'.*thrown away"),
        (REPARTITION, 2, {"cleanup.policy": "delete", "retention.ms": "604800000"} | ANY_TIME, "retention.ms is '604800000' but must be '-1'"),
        (CHANGELOG, 2, {"cleanup.policy": "compact,delete"} | ANY_TIME, "retention.ms is .* but must be '-1'"),
        (CHANGELOG, 2, GOOD_CHANGELOG | ANY_TIME | {"message.timestamp.type": "LogAppendTime"}, "message.timestamp.type is 'LogAppendTime' but must be 'CreateTime'"),
        (REPARTITION, 2, GOOD_REPARTITION | ANY_TIME | {"message.timestamp.after.max.ms": "3600000"}, "message.timestamp.after.max.ms is '3600000'"),
    ],
)  # fmt: skip
def test_internal_topics_that_do_not_fit_are_refused_with_what_to_do(
    topic: str, partitions: int, config: dict[str, str], says: str
) -> None:
    cluster = Cluster(topics={"events": 2, "results": 1})
    cluster.create_topic(topic, partitions, config)
    with pytest.raises(TopicError, match=f"(?s){says}"):
        run(cluster, make_app())


def test_internal_topics_that_fit_are_used() -> None:
    cluster = Cluster(topics={"events": 2, "results": 1})
    cluster.create_topic(CHANGELOG, 2, GOOD_CHANGELOG | ANY_TIME)
    cluster.create_topic(REPARTITION, 2, GOOD_REPARTITION | ANY_TIME)
    cluster.append("events", b'{"key":"a","value":7}', key=b"a")
    run(cluster, make_app())
    assert cluster.read("results")[0].value.endswith(b'"total":7}')


def test_internal_topics_are_created_as_they_are_demanded() -> None:
    cluster = Cluster(topics={"events": 2, "results": 1})
    run(cluster, make_app())
    infos = MemoryClient(cluster).admin().describe_topics([CHANGELOG, REPARTITION], BROKER_TIMEOUT_S)
    for name, policy in ((CHANGELOG, "compact,delete"), (REPARTITION, "delete")):
        info = infos[name]
        assert info is not None
        assert info.partitions == 2
        assert info.config["cleanup.policy"] == policy
        assert info.config["retention.ms"] == "-1"
        assert info.config["message.timestamp.type"] == "CreateTime"
    run(cluster, make_app())  # and they pass the check that refuses others


def test_streams_of_one_key_need_topics_of_one_partition_count() -> None:
    app = sk.App("app")
    merged = app.stream(EVENTS, sk.Topic("more", key=str, value=Event)).by_record_key().window(sk.tumbling("10s"))
    merged.aggregate("agg", n=sk.count()).on_close().to(sk.Topic("results"))
    with pytest.raises(TopicError, match=r"equal partition counts: events has 2, more has 3\. Use key_by"):
        run(Cluster(topics={"events": 2, "more": 3, "results": 1}), app)


def test_streams_without_state_may_have_any_partition_counts() -> None:
    app = sk.App("app")
    app.stream(EVENTS).merge(app.stream(sk.Topic("more", key=str, value=Event))).to(sk.Topic("results"))
    cluster = Cluster(topics={"events": 1, "more": 3, "results": 1})
    for partition in range(3):
        cluster.append("more", b'{"key":"a","value":1}', partition=partition)
    run(cluster, app)
    assert len(cluster.read("results")) == 3


# ---- positions


def group(driver: sk.TestDriver) -> Group:
    return driver.cluster.broker.groups["app"]


def test_state_without_committed_offsets_fails_closed() -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1, 2, 12)
    driver.crash()
    group(driver).offsets.clear()
    with pytest.raises(StateError, match=r"'app' has state in its changelogs but no committed position.*streamkit reset"):
        driver.restart()
    assert results(driver) == [2]


def test_records_deleted_unread_are_a_lost_offset() -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1, 2)
    driver.crash()
    for second in (3, 4, 5):
        driver.send_raw(
            "events", b'{"key":"a","value":1}', timestamp=datetime(2020, 1, 1, 0, 0, second, tzinfo=UTC), settle=False
        )
    admin = MemoryClient(driver.cluster).admin()
    admin.delete_records({TopicPartition("events", 0): 4}, BROKER_TIMEOUT_S)
    with pytest.raises(
        LostOffsetError, match=r"events-0: .*had come to offset 2, but the log now starts at 4: 2 records were deleted"
    ):
        driver.restart()


def test_records_deleted_after_they_were_read_are_no_loss() -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1, 2)
    driver.crash()
    MemoryClient(driver.cluster).admin().delete_records({TopicPartition("events", 0): 2}, BROKER_TIMEOUT_S)
    driver.restart()
    send(driver, 12)
    assert results(driver) == [2]


@pytest.mark.parametrize("metadata", ["somebody else's", "sk1;1;2", "sk2;1;2;", "sk1;x;2;"])
def test_foreign_metadata_of_a_committed_offset_is_refused(metadata: str) -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    driver.crash()
    place = TopicPartition("events", 0)
    group(driver).offsets[place] = Committed(1, metadata)
    with pytest.raises(StateError, match="streamkit did not write") as caught:
        driver.restart()
    assert repr(metadata) in str(caught.value)


def test_a_position_without_metadata_while_there_is_state_fails_closed() -> None:
    """As a reset of the offsets by kafka-consumer-groups.sh leaves it."""
    app = sk.App("app")
    stream = app.stream(EVENTS).by_record_key().window(sk.tumbling("10s"))
    stream.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    driver = sk.TestDriver(app)
    send(driver, 1, 2, 12)
    driver.crash()
    group(driver).offsets[TopicPartition("events", 0)] = Committed(1)
    with pytest.raises(StateError, match="somebody reset its offsets"):
        driver.restart()


def test_a_changelog_that_was_deleted_between_two_runs_is_noticed() -> None:
    """A start makes it anew, so that it fits, and holds nothing."""
    driver = sk.TestDriver(make_app())
    send(driver, 1, 2)
    driver.crash()
    MemoryClient(driver.cluster).admin().delete_topics([CHANGELOG], BROKER_TIMEOUT_S)
    with pytest.raises(StateError, match=r"store 'agg': .* holds no state at all: it was deleted.*streamkit reset"):
        driver.restart()


def test_a_changelog_whose_end_was_cut_off_between_two_runs_is_noticed() -> None:
    """As an unclean leader election leaves it: the older state in it fits by itself."""
    driver = sk.TestDriver(make_app())
    send(driver, 1, 2)
    kept = driver.cluster.read(CHANGELOG)
    send(driver, 3)
    driver.crash()
    MemoryClient(driver.cluster).admin().delete_topics([CHANGELOG], BROKER_TIMEOUT_S)
    driver.cluster.create_topic(CHANGELOG, 1, GOOD_CHANGELOG | ANY_TIME)
    for record in kept:
        driver.cluster.append(CHANGELOG, record.value, key=record.key, partition=0)
    with pytest.raises(StateError, match=r"store 'agg': .* ends with the state of commit \d+: later records were cut off"):
        driver.restart()


def test_a_position_that_was_set_back_with_its_metadata_is_noticed() -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    place = TopicPartition("app.events-by-key.repartition", 0)
    early = group(driver).offsets[place]
    send(driver, 2)
    driver.crash()
    group(driver).offsets[place] = early
    with pytest.raises(StateError, match=r"repartition-0 with the state of commit \d+, but .* the position was set back"):
        driver.restart()


def test_an_aggregate_that_is_new_in_an_app_begins_with_nothing() -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    driver.crash()
    app = sk.App("app")
    keyed = app.stream(EVENTS).key_by("key").window(sk.tumbling("10s"))
    keyed.aggregate("renamed", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    driver._topology = app.topology()
    driver.restart()
    send(driver, 2, 12)
    assert results(driver) == [1]


# ---- internal records that are not ours


@pytest.mark.parametrize(
    "key, value, says",
    [
        (b"block:x:1", b"garbage", "store 'agg': a changelog block cannot be read"),
        (b"time", b"garbage", "app.agg.changelog.*time record.*cannot be read"),
        (b"time", None, "time record"),
        (b"time", b'{"fingerprint":"","frontier":1,"closed_through":1,"max_timestamp":1,"version":99}', "format 99.*upgrade"),
    ],
)
def test_garbage_in_a_changelog_fails_closed(key: bytes, value: bytes | None, says: str) -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    driver.crash()
    driver.cluster.append(CHANGELOG, value, key=key, partition=0)
    with pytest.raises(StateError, match=says):
        driver.restart()


def test_a_block_of_another_shape_is_refused() -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    driver.crash()
    app = sk.App("app")
    keyed = app.stream(EVENTS).key_by("key").window(sk.tumbling("20s"))
    keyed.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    driver._topology = app.topology()
    with pytest.raises(StateError, match=r"'agg': its changelog was written with another window.*new name, or reset"):
        driver.restart()


@pytest.mark.parametrize("value", [b"garbage", None, b'{"tasks":[],"version":99}'])
def test_a_foreign_control_record_fails_closed(value: bytes | None) -> None:
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    says = r"control record" if value is not None and b"99" not in value else "control record|upgrade"
    driver.cluster.append(REPARTITION, value, partition=0, headers=[("streamkit-control", b"1")])
    with pytest.raises(StateError, match=says) as caught:
        driver.settle()
    assert re.search(r"app\.events-by-key\.repartition-0@\d+", str(caught.value))


def test_words_of_unknown_tasks_are_dropped() -> None:
    """What an older plan's tasks said of their time means nothing to this one."""
    driver = sk.TestDriver(make_app())
    send(driver, 1)
    stray = b'{"tasks":[["gone",0,9000000000000,"active"],["events",7,9000000000000,"active"]],"version":1}'
    driver.cluster.append(REPARTITION, stray, partition=0, headers=[("streamkit-control", b"1")])
    driver.settle()
    assert results(driver) == []
    send(driver, 12)
    assert results(driver) == [1]


def test_an_app_starts_at_the_earliest_record_and_commits_that_position() -> None:
    """R29: a crash before the first commit of a record must not skip it."""
    app = sk.App("app")
    app.stream(EVENTS).to(sk.Topic("results"))
    rig = Rig(app, 1)
    rig.cluster.append("events", b'{"key":"a","value":1}', key=b"a", timestamp=1)
    rig.join("a")
    positions: list[dict[TopicPartition, Committed]] = []
    for _ in range(6):
        rig.step("a")
        positions.append(MemoryClient(rig.cluster).admin().group_offsets("app", BROKER_TIMEOUT_S))
    first = next(found for found in positions if found)
    assert first[TopicPartition("events", 0)].offset == 0
    assert positions[-1][TopicPartition("events", 0)].offset == 1
