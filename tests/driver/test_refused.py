"""A record that the broker refuses: the input that made it is found by a replay, and `on_error` is asked for that one."""

from __future__ import annotations

import json

import pytest

import streamkit as sk
from streamkit.errors import EncodeError, RecordError, RejectedRecordError
from streamkit.kafka.memory import MemoryClient
from tests.driver.rig import Rig

LIMIT = 400


class Event(sk.Model):
    number: int
    text: str


def rig(on_error: object, *, aggregate: bool = False) -> Rig:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    events.filter(lambda event: event.number >= 0).to(sk.Topic("narrow", key=str, value=Event))
    events.to(sk.Topic("wide"))
    if aggregate:
        windows = events.by_record_key().window(sk.tumbling("100ms"))
        windows.aggregate("agg", text=sk.max("text")).on_close().to(sk.Topic("results"))
    found = Rig(app, 1, on_error=on_error)
    small = "results" if aggregate else "narrow"
    MemoryClient(found.cluster).admin().delete_topics([small], 1.0)
    found.cluster.create_topic(small, 1, {"max.message.bytes": str(LIMIT), "message.timestamp.before.max.ms": str(2**63 - 1)})
    return found


def send(found: Rig, *sizes: int, at_ms: int = 1_000) -> None:
    for number, size in enumerate(sizes):
        value = json.dumps({"number": number, "text": "x" * size}).encode()
        found.cluster.append("events", value, b"k", 0, at_ms)


def numbers(found: Rig, topic: str) -> list[int]:
    return [json.loads(record.value or b"")["number"] for record in found.cluster.read(topic)]


def test_it_is_skipped_alone_and_everything_else_is_written_once() -> None:
    found = rig("skip")
    send(found, 1, 2, 900, 3, 901, 4)
    found.join("a")
    found.settle()
    send(found, 5, 6)
    found.settle()
    assert numbers(found, "narrow") == [0, 1, 3, 5, 0, 1]
    assert numbers(found, "wide") == [0, 1, 2, 3, 4, 5, 0, 1]  # the other sink of the same records gets them all
    told = found.events.of("record-skipped")
    assert [(each["topic"], each["partition"], each["offset"], each["operator"]) for each in told] == [
        ("events", 0, 2, "to(narrow)"), ("events", 0, 4, "to(narrow)")
    ]  # fmt: skip
    assert "MSG_SIZE_TOO_LARGE" in told[0]["error"]


def test_the_function_decides_of_each_and_sees_its_place() -> None:
    seen: list[RecordError] = []

    def decide(error: RecordError) -> str:
        seen.append(error)
        return "skip" if error.offset == 1 else "stop"

    found = rig(decide)
    send(found, 1, 900, 2, 901)
    found.join("a")
    with pytest.raises(EncodeError, match=r"operator 'to\(narrow\)', events-0@3: the broker refuses it: .*MSG_SIZE_TOO_LARGE"):
        found.settle()
    assert [error.offset for error in seen] == [1, 3]


def test_it_stops_the_service_with_the_place_of_the_input() -> None:
    found = rig("stop")
    send(found, 1, 900, 2)
    found.join("a")
    with pytest.raises(EncodeError, match="events-0@1"):
        found.settle()
    assert numbers(found, "narrow") == []  # nothing of the transaction is committed


def test_many_of_a_batch_are_found_by_one_replay() -> None:
    """Each replay restores the state of all tasks, and sends what is good one by one."""
    found = rig("skip")
    sizes = [900 if number % 2 else 1 for number in range(250)]
    send(found, *sizes)
    found.join("a")
    found.settle()
    assert numbers(found, "narrow") == list(range(0, 250, 2))
    assert numbers(found, "wide") == list(range(250))
    assert [each["offset"] for each in found.events.of("record-skipped")] == list(range(1, 250, 2))
    assert len(found.events.of("rolled-back")) == 1 + 3  # nothing was known; then once for each poll of a hundred


def test_a_second_sink_of_the_same_records_finds_its_own() -> None:
    """The first to refuse ends the batch for the others; what both refuse is asked for twice, once for each sink."""
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    for name in ("narrow", "other"):
        events.filter(lambda event: event.number >= 0).to(sk.Topic(name, key=str, value=Event))
    found = Rig(app, 1, on_error="skip")
    MemoryClient(found.cluster).admin().delete_topics(["narrow", "other"], 1.0)
    for name, limit in (("narrow", LIMIT), ("other", 2 * LIMIT)):
        config = {"max.message.bytes": str(limit), "message.timestamp.before.max.ms": str(2**63 - 1)}
        found.cluster.create_topic(name, 1, config)
    send(found, 1, 500, 900, 2, 501, 901, 3)
    found.join("a")
    found.settle()
    assert numbers(found, "narrow") == [0, 3, 6]
    assert numbers(found, "other") == [0, 1, 3, 4, 6]
    told = [(each["operator"], each["offset"]) for each in found.events.of("record-skipped")]
    assert sorted(told) == [
        (f"to({name})", at) for name, offsets in (("narrow", (1, 2, 4, 5)), ("other", (2, 5))) for at in offsets
    ]


def test_a_crash_during_the_search_changes_nothing() -> None:
    found = rig("skip")
    send(found, 1, 900, 2)
    found.join("a")
    while not found.events.of("rolled-back"):
        found.step("a")
    found.replace("a")
    found.settle()
    assert numbers(found, "narrow") == [0, 2]
    assert numbers(found, "wide") == [0, 1, 2]


def test_afterwards_records_are_sent_together_again() -> None:
    found = rig("skip")
    send(found, 900, 1)
    worker = found.join("a")
    found.settle()
    assert found.events.of("record-skipped")
    assert not worker._failures.refusals


def test_the_result_of_a_window_stops_the_service_for_it_is_of_many_records() -> None:
    found = rig("skip", aggregate=True)
    send(found, 1, 900, 2)
    found.join("a")
    found.settle()
    send(found, 1, at_ms=1_200)
    with pytest.raises(RejectedRecordError, match=r"MSG_SIZE_TOO_LARGE.*key hash") as raised:
        found.settle()
    assert raised.value.topic == "results"
    assert found.events.of("record-skipped") == []
