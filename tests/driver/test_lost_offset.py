"""Records that were deleted before they were read: the service stops, or goes on with what is left and says how many are gone."""

from __future__ import annotations

import json

import pytest

import streamkit as sk
from streamkit.errors import LostOffsetError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import MemoryClient
from streamkit.runtime.failures import OnLostOffset
from tests.driver.rig import Rig

SOURCE = TopicPartition("events", 0)


class Event(sk.Model):
    value: int


def rig(on_lost_offset: OnLostOffset, **settings: int) -> Rig:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    windows = events.by_record_key().window(sk.tumbling("100ms"))
    windows.aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    events.to(sk.Topic("copies"))
    return Rig(app, 1, on_lost_offset=on_lost_offset, **settings)


def send(found: Rig, number: int, at_ms: int) -> None:
    for _ in range(number):
        found.cluster.append("events", b'{"value":1}', b"k", 0, at_ms)


def delete(found: Rig, before: int) -> None:
    MemoryClient(found.cluster).admin().delete_records({SOURCE: before}, 1.0)


def totals(found: Rig) -> list[int]:
    return [json.loads(record.value or b"")["total"] for record in found.cluster.read("results")]


def test_a_restart_goes_on_with_the_earliest_that_is_left_and_keeps_its_windows() -> None:
    found = rig("earliest")
    found.join("a")
    send(found, 3, 1_000)
    found.settle()
    found.leave("a")
    send(found, 10, 1_050)
    delete(found, 8)
    found.join("a")
    found.settle()
    send(found, 1, 1_100)
    found.settle()
    assert totals(found) == [8]  # 3 in the window's state, 5 that were left
    lost = {"topic": "events", "partition": 0, "offset": 3, "records": 5, "resumed_at": 8}
    assert found.events.of("records-lost") == [lost]
    found.crash("a")
    found.join("a")
    found.settle()
    assert found.events.of("records-lost") == [lost]  # the new position is committed: it is told once


def test_the_new_position_is_committed_before_a_record_is_read() -> None:
    found = rig("earliest")
    found.join("a")
    send(found, 3, 1_000)
    found.settle()
    found.leave("a")
    delete(found, 3)
    send(found, 2, 1_000)
    delete(found, 5)  # nothing is left
    found.join("a")
    found.settle()
    assert MemoryClient(found.cluster).admin().group_offsets("app", 1.0)[SOURCE].offset == 5


@pytest.mark.parametrize("wanted", ["stop", "earliest"])
def test_records_that_are_deleted_under_a_running_service(wanted: OnLostOffset) -> None:
    found = rig(wanted, max_records=1)
    found.join("a")
    send(found, 2, 1_000)
    found.settle()
    send(found, 6, 1_000)
    found.step("a")
    delete(found, 7)
    if wanted == "stop":
        with pytest.raises(LostOffsetError, match="events-0"):
            found.settle()
        return
    found.settle()
    (lost,) = found.events.of("records-lost")
    read = lost["offset"]
    assert lost["records"] == 7 - read
    assert len(found.cluster.read("copies")) == read + 1
    send(found, 1, 1_100)
    found.settle()
    assert totals(found) == [read + 1]


def test_an_offset_that_stays_lost_ends_the_service_all_the_same() -> None:
    found = rig("earliest")
    found.join("a")
    send(found, 2, 1_000)
    found.settle()
    error = LostOffsetError("events-0@2: Log truncation detected [_LOG_TRUNCATION]")
    for number in range(10):  # each time after the tasks were brought back
        found.cluster.faults.inject("poll", error=error, skip=8 * number)
    with pytest.raises(LostOffsetError, match="truncation"):
        for _ in range(200):
            found.step("a")
    assert len(found.cluster.faults.planted) == 5


def test_where_an_app_without_positions_begins_is_told() -> None:
    found = rig("stop")
    send(found, 4, 1_000)
    found.join("a")
    found.settle()
    assert found.events.of("from-earliest") == [{"partitions": ["events-0"], "records": 4}]
    found.crash("a")
    found.join("a")
    found.settle()
    assert len(found.events.of("from-earliest")) == 1
