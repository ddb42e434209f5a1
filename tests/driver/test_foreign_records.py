"""Another program writes into a topic that is the app's own: the worker stops and says where, and commits nothing of it."""

from __future__ import annotations

from typing import Any

import pytest

import streamkit as sk
from streamkit.errors import StateError
from streamkit.kafka.client import Headers
from tests.driver.rig import Rig

CHANGELOG, REPARTITION = "app.agg.changelog", "app.events-by-key.repartition"


class Event(sk.Model):
    key: str
    number: int
    value: int


def started(by: Any = "key", name: str | None = None) -> Rig:
    app = sk.App("app")
    events = app.stream(sk.Topic("events", key=str, value=Event))
    keyed = events.key_by(by) if name is None else events.key_by(by, name=name)
    keyed.window(sk.tumbling("10s")).aggregate("agg", total=sk.sum("value")).on_close().to(sk.Topic("results"))
    rig = Rig(app, 1)
    rig.join("a")
    send(rig)
    rig.settle()
    return rig


def send(rig: Rig) -> None:
    rig.cluster.append("events", b'{"key":"k","number":1,"value":1}', b"k", 0, 1_000)


VALUE = b'{"key":"k","number":1,"value":1}'


@pytest.mark.parametrize(
    "headers, says",
    [
        ([("streamkit-watermark", b"soon")], r"repartition-0@\d+: header 'streamkit-watermark' is b'soon'"),
        ([("streamkit-watermark", b"9" * 30)], r"repartition-0@\d+: header 'streamkit-watermark' is b'999"),
        ([("streamkit-event-time", b"\xff")], r"repartition-0@\d+: header 'streamkit-event-time' is b'\\xff'"),
    ],
)
def test_a_header_that_is_not_ours(headers: Headers, says: str) -> None:
    rig = started()
    rig.cluster.append(REPARTITION, VALUE, b"k", 0, 1_000)  # cannot be told from one of the app's
    rig.cluster.append(REPARTITION, VALUE, b"k", 0, 1_000, headers)
    stops(rig, says)


def stops(rig: Rig, says: str) -> None:
    worker = rig.processes["a"].worker
    with pytest.raises(StateError, match=says) as caught:
        rig.settle()
    assert "another program writes to this topic" in str(caught.value)
    assert "streamkit reset" in str(caught.value)
    worker.close()
    assert rig.cluster.read("results") == []
    assert rig.cluster.open_transactions() == []


def test_a_key_of_another_type() -> None:
    rig = started("number")
    rig.cluster.append("app.events-by-number.repartition", VALUE, b"seven", 0, 1_000)
    stops(rig, r"app\.events-by-number\.repartition-0: a key does not fit: .*seven")


@pytest.mark.parametrize(
    "key, tag, says",
    [
        (b"x", b"?", r"unknown key type '\?' in header"),
        (b"x", b"\xff", "unknown key type"),
        (b"x", b"i", "x"),
        (b"[", b"j", "is not JSON"),
    ],
)
def test_a_key_whose_tag_does_not_fit(key: bytes, tag: bytes, says: str) -> None:
    rig = started(lambda event: event.number, name="by-function")
    (topic,) = [name for name in rig.cluster.broker.topics if name.endswith(".repartition")]
    rig.cluster.append(topic, VALUE, b"7", 0, 1_000, [("streamkit-key-type", b"i")])
    rig.cluster.append(topic, VALUE, key, 0, 1_000, [("streamkit-key-type", tag)])
    stops(rig, rf"repartition-0@\d+: .*{says}")


@pytest.mark.parametrize(
    "key, value, says",
    [
        (b"k", b"x", r"changelog-0@\d+: a record with the key b'k' is none of streamkit's"),
        (b"k", None, r"changelog-0@\d+: a record with the key b'k' is none"),
    ],
)
def test_a_changelog_record_that_is_not_ours(key: bytes, value: bytes | None, says: str) -> None:
    rig = started()
    rig.cluster.append(CHANGELOG, value, key, 0, 1_000)
    rig.crash("a")
    rig.join("a")
    stops(rig, says)


def test_a_block_whose_columns_do_not_fit() -> None:
    """Its format and fingerprint are right, its content is cut short."""
    rig = started()
    block = next(r for r in rig.cluster.read(CHANGELOG) if (r.key or b"").startswith(b"block:"))
    import msgspec

    version, fingerprint, sections = msgspec.msgpack.decode(block.value or b"")
    sections[0][3][0][0] = b"\x01\x02\x03"
    rig.cluster.append(CHANGELOG, msgspec.msgpack.encode([version, fingerprint, sections]), b"block:x:0", 0, 1_000)
    rig.crash("a")
    rig.join("a")
    with pytest.raises(StateError, match=r"changelog-0@\d+: store 'agg': a changelog block cannot be read"):
        rig.settle()
