"""The extension's sender over a producer that finds no broker: columns, refusals, failed deliveries, lifetimes."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import confluent_kafka as ck
import numpy as np
import pytest
from confluent_kafka import KafkaError

from streamkit.kafka.confluent.native import Extension, Failed, Sender

try:
    from streamkit.kafka.confluent import _native
except ImportError as error:
    pytestmark = pytest.mark.skip(reason=f"the extension is not built: {error}")

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "socket.timeout.ms": 1_000}


def producer(**config: Any) -> tuple[ck.Producer, Sender]:
    made, sender = Extension().sender(
        ck.Producer, {**NOBODY, **{name.replace("_", "."): value for name, value in config.items()}}
    )
    assert sender is not None
    return made, sender


def send(
    sender: Sender, values: list[Any], keys: list[Any] | None = None, *, topic: str = "t", **columns: Any
) -> tuple[int, int]:
    keys = [None] * len(values) if keys is None else keys
    return sender.produce(
        topic, 0, values, keys, columns.get("timestamps", 0), columns.get("headers"), columns.get("start", 0), len(values)
    )


def failed(sender: Sender, client: ck.Producer, kinds: int) -> list[Failed]:
    seen: list[Failed] = []
    deadline = time.monotonic() + 20
    while len(seen) < kinds and time.monotonic() < deadline:
        client.poll(0.05)
        seen += sender.failures()
    return seen


def test_failures_are_told_by_error_in_the_order_in_which_they_came_with_the_first_record_of_each():
    client, sender = producer(message_timeout_ms=1_000)  # what comes after them is taken back before that
    assert send(sender, [b"1", b"2", b"3"], [b"k1", None, b"k3"]) == (3, 0)
    deadline = time.monotonic() + 20
    while len(client) and time.monotonic() < deadline:
        client.poll(0.05)
    send(sender, [b"4", b"5"], [None, b""])
    client.purge()
    timed_out, purged = failed(sender, client, 2)
    assert timed_out == (KafkaError._MSG_TIMED_OUT, "t", 0, b"k1", 3, 1)
    assert purged == (KafkaError._PURGE_QUEUE, "t", 0, None, 2, 1)
    assert sender.failures() == []


def test_records_that_confluent_kafka_produced_are_told_by_its_callback_alone():
    told: list[KafkaError] = []
    client, sender = producer()
    client.produce("t", b"v", on_delivery=lambda error, _: told.append(error))
    client.purge()
    client.flush(5)
    assert [error.code() for error in told] == [KafkaError._PURGE_QUEUE]
    assert sender.failures() == []


def test_a_full_queue_stops_it_in_front_of_the_record():
    client, sender = producer(queue_buffering_max_messages=3)
    assert send(sender, [b"v"] * 5) == (3, KafkaError._QUEUE_FULL)
    assert send(sender, [b"v"] * 5, start=3) == (3, KafkaError._QUEUE_FULL)
    client.purge()
    failed(sender, client, 1)
    assert send(sender, [b"v"] * 5, start=3) == (5, 0)


def test_what_produce_itself_refuses_is_told_by_its_result_alone():
    _client, sender = producer(message_max_bytes=1_000)
    assert send(sender, [b"v", b"x" * 2_000, b"v"], headers=[None, [("h", b"v")], None]) == (1, KafkaError.MSG_SIZE_TOO_LARGE)
    assert send(sender, [b"v"], topic="x" * 600) == (0, KafkaError._INVALID_ARG)
    assert sender.failures() == []


@pytest.mark.parametrize(
    "columns",
    [
        {"keys": [None]},
        {"timestamps": np.zeros(1, np.int64)},
        {"timestamps": np.zeros(0, np.int64)},
        {"timestamps": np.zeros(2, np.int32)},
        {"headers": [None]},
        {"start": -1},
    ],
)
def test_columns_that_are_not_of_one_length_are_refused(columns):
    _client, sender = producer()
    with pytest.raises(ValueError, match="not of one length"):
        send(sender, [b"1", b"2"], **columns)


@pytest.mark.parametrize(
    "values, columns",
    [
        (["text"], {}),
        ([1], {}),
        ([b"v"], {"keys": ["text"]}),
        ([b"v"], {"headers": [[("h", "text")]]}),
        ([b"v"], {"headers": [[(1, b"v")]]}),
        ([b"v"], {"headers": [[("h",)]]}),
        ([b"v"], {"headers": [7]}),
        ([b"v"], {"timestamps": "now"}),
    ],
)
def test_what_is_not_bytes_is_a_type_error(values, columns):
    _client, sender = producer()
    with pytest.raises(TypeError):
        send(sender, values, **columns)


def test_a_closed_sender_takes_nothing_and_close_may_be_repeated():
    _client, sender = producer()
    send(sender, [b"v"])
    sender.close()
    sender.close()
    assert sender.failures() == []
    with pytest.raises(ValueError, match="closed"):
        send(sender, [b"v"])


def test_headers_that_close_the_sender_as_they_are_read_stop_it():
    """What is no list may run code of its own, in the midst of the call."""

    class Closing(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            sender.close()
            return super().__getitem__(at)

    client, sender = producer()
    with pytest.raises(ValueError, match="closed"):
        send(sender, [b"1", b"2"], headers=[None, Closing([("h", b"v")])])
    client.purge()


def test_there_is_no_sender_over_a_client_that_librdkafka_did_not_make():
    Extension().sender(ck.Producer, NOBODY)
    with pytest.raises(LookupError, match="4711"):
        _native.Sender(4711)


@pytest.mark.parametrize("first", ["client", "sender"])
@pytest.mark.timeout(120)
def test_a_producer_that_nobody_closed_goes_whichever_of_the_two_goes_first(first):
    held = dict(zip(("client", "sender"), producer(), strict=True))
    for topic in ("t", "u", "v"):
        send(held["sender"], [b"v"] * 100, topic=topic)
    held["client"].purge()
    del held[first]
    gc.collect()
    if first == "client":
        with pytest.raises(ValueError, match="closed"):
            send(held["sender"], [b"v"])
    held.clear()
    gc.collect()


@pytest.mark.timeout(120)
def test_producers_are_made_and_dropped_in_many_threads_at_once():
    """As in a fleet of workers whose producers are replaced; each has a number of its own."""
    gone: list[int] = []

    def life() -> None:
        for _ in range(5):
            client, sender = producer()
            assert send(sender, [b"v"] * 10) == (10, 0)
            client.purge()
            sender.close()
            gone.append(len(sender.failures()))

    threads = [threading.Thread(target=life) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert gone == [0] * 20


def test_a_producer_that_another_extension_makes_in_the_meantime_is_not_taken_for_ours():
    meanwhile: list[tuple[ck.Producer, Sender]] = []

    def make(config: dict[str, Any]) -> ck.Producer:
        made = ck.Producer(config)
        meanwhile.append(producer())
        return made

    client, sender = Extension().sender(make, NOBODY)
    assert sender is not None
    send(sender, [b"v"] * 3)
    client.purge()
    assert failed(sender, client, 1) == [(KafkaError._PURGE_QUEUE, "t", 0, None, 3, 3)]
    meanwhile[0][0].purge()
