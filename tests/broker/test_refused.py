"""Records that a real broker refuses: it refuses whole batches, and still the one input that is to blame is found."""

from __future__ import annotations

import json
import random
import secrets

import pytest

import streamkit as sk
from streamkit.errors import EncodeError
from streamkit.kafka.client import NewTopic

pytestmark = pytest.mark.timeout(120)

BIG = (7, 23)
ANY_TIME = {"message.timestamp.before.max.ms": str(2**63 - 1), "retention.ms": "-1"}


class Event(sk.Model):
    number: int
    text: str


def make(real_broker: str) -> tuple[sk.Broker, sk.App, str]:
    """An app that copies events to a topic with room for small ones only, and to one with room for all."""
    run = secrets.token_hex(4)
    broker = sk.Broker.at(real_broker)
    admin = broker.client.admin()
    admin.create_topics(
        [
            NewTopic(f"events-{run}", 1, 1, ANY_TIME),
            NewTopic(f"narrow-{run}", 1, 1, {**ANY_TIME, "max.message.bytes": "2000"}),
            NewTopic(f"wide-{run}", 1, 1, ANY_TIME),
        ],
        20,
    )
    admin.close()
    app = sk.App(f"refused-{run}")
    source = sk.Topic(f"events-{run}", key=str, value=Event)
    events = app.stream(source)
    events.to(sk.Topic(f"narrow-{run}", key=str, value=Event))
    events.to(sk.Topic(f"wide-{run}", key=str, value=Event))
    rng = random.Random(11)
    with broker.sender() as send:
        for number in range(40):
            text = "".join(rng.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=6_000 if number in BIG else 5))
            send(source, Event(number, text), key="k")
    return broker, app, run


def numbers(broker: sk.Broker, topic: str) -> list[int]:
    return [json.loads(json.dumps(record.value))["number"] for record in broker.read(sk.Topic(topic))]


def test_the_refused_ones_are_skipped_and_all_others_are_written_once(real_broker):
    broker, app, run = make(real_broker)
    app.run(broker=broker, until_end=True, on_error="skip", log_level="ERROR")
    assert numbers(broker, f"narrow-{run}") == [number for number in range(40) if number not in BIG]
    assert numbers(broker, f"wide-{run}") == list(range(40))


def test_the_input_of_the_refused_one_is_named(real_broker):
    broker, app, run = make(real_broker)
    with pytest.raises(EncodeError) as raised:
        app.run(broker=broker, until_end=True, log_level="ERROR")
    # each was sent in a transaction of its own, whose marker takes an offset
    assert raised.value.place == f"events-{run}-0@{2 * BIG[0]}"
    assert "MSG_SIZE_TOO_LARGE" in str(raised.value)
    assert numbers(broker, f"narrow-{run}") in ([], list(range(BIG[0])))  # what was committed in front of it
