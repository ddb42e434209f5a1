"""A producer that is closed ends: one that lived on would connect and log for ever, and nobody would serve its log lines. Each
that librdkafka adds to those that wait takes longer than the one before."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import confluent_kafka as ck
import pytest

from streamkit.errors import FatalError, StreamkitError
from streamkit.kafka.client import Committed, GroupMetadata, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent import producer as producers
from streamkit.kafka.confluent.native import Extension
from streamkit.kafka.confluent.producer import TransactionalProducer

NOBODY = "127.0.0.1:1"
MEMBER = GroupMetadata("group", 1, "member")


@pytest.fixture
def producer() -> Iterator[TransactionalProducer]:
    """Without a broker, and without the extension, so that records go through confluent-kafka too."""
    client = ConfluentClient(ConnectionSettings(NOBODY), extension=Extension(lambda _: None))
    made = client.producer("x")
    gc.disable()  # as good as: a worker collects what has lived for a while once in hours
    yield made
    gc.enable()
    made.close()


def send_offsets(producer: TransactionalProducer) -> None:
    producer.send_offsets({TopicPartition("t", 0): Committed(1)}, MEMBER, 0.1)


FAILING: dict[str, Callable[[TransactionalProducer], None]] = {
    "init_transactions": lambda producer: producer.init_transactions(0.1),
    "begin_transaction": lambda producer: producer.begin(),
    "send_offsets": send_offsets,
    "commit_transaction": lambda producer: producer.commit(0.1),
    "abort_transaction": lambda producer: producer.abort(0.1),
    "produce": lambda producer: producer.produce("t", b"v"),
    "produce_many": lambda producer: producer.produce_many("t", [b"v"], [b"k"], 0, 0),
}


@pytest.mark.parametrize("call", FAILING)
def test_an_exception_that_is_kept_does_not_keep_the_client(producer: TransactionalProducer, call: str) -> None:
    raw = producer._client
    before, kept = sys.getrefcount(raw), []
    try:
        FAILING[call](producer)
    except StreamkitError as error:
        kept.append(error)
    assert kept
    assert sys.getrefcount(raw) == before


@pytest.mark.parametrize("call", FAILING)
def test_an_exception_goes_without_a_collection(producer: TransactionalProducer, call: str) -> None:
    gc.collect()
    before = len(exceptions())
    with suppress(StreamkitError):
        FAILING[call](producer)
    assert len(exceptions()) == before


def exceptions() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, StreamkitError)]


class Occupied:
    """A client in which calls with offsets do not return."""

    def __init__(self, client: ck.Producer) -> None:
        self.client = client
        self.ended = threading.Event()

    def send_offsets_to_transaction(self, *_: object) -> None:
        self.ended.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def __len__(self) -> int:
        return len(self.client)


def test_a_client_with_a_thread_inside_is_served_until_that_returns(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be destroyed before."""
    occupied = Occupied(producer._client)
    served: list[float] = []
    monkeypatch.setattr(producer, "_producer", occupied)
    monkeypatch.setattr(producer._tap, "log", lambda *_: served.append(time.monotonic()))
    monkeypatch.setattr(producers, "_OVERSHOOT_S", 0.1)
    with pytest.raises(FatalError):
        send_offsets(producer)
    before = set(threading.enumerate())  # producers of other tests may still be going
    producer.close()
    closed = time.monotonic()
    (dropping,) = [thread for thread in set(threading.enumerate()) - before if thread.name == "drop x"]
    while not any(at > closed + 2 for at in served):
        assert time.monotonic() < closed + 30, f"{len(occupied)} lines wait"
        time.sleep(0.05)
    occupied.ended.set()
    dropping.join(10)
    assert not dropping.is_alive()
