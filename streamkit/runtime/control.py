"""Control records: how time travels through a repartition topic.

One per transaction and downstream partition, in the same transaction as the data: a vector of (sub-topology, source partition,
frontier, state) for the worker's tasks that have news. Marked by the header ``streamkit-control``; the key is null. A consumer
outside streamkit skips records with that header.
"""

from __future__ import annotations

import msgspec

from streamkit.errors import StateError
from streamkit.kafka.client import Headers
from streamkit.operators.operator import CONTROL_HEADER

VERSION = 1
HEADERS: Headers = [(CONTROL_HEADER, b"1")]


class TaskWord(msgspec.Struct, frozen=True, array_like=True):
    """What one upstream task says of its time; ``state`` is "active", "idle" or "ended"."""

    sub_topology: str
    partition: int
    frontier: int
    state: str


class ControlRecord(msgspec.Struct, frozen=True):
    tasks: list[TaskWord]
    version: int = VERSION


_decoder = msgspec.json.Decoder(ControlRecord)


def encode(words: list[TaskWord]) -> bytes:
    return msgspec.json.encode(ControlRecord(words))


def decode(value: bytes | None, place: str) -> list[TaskWord]:
    """StateError for a record that carries the header but was not written by streamkit."""
    try:
        record = _decoder.decode(value or b"")
    except msgspec.MsgspecError as error:
        raise StateError(
            f"{place}: a control record cannot be read ({error}): has another producer written to this topic?"
        ) from error
    if record.version > VERSION:
        raise StateError(f"{place}: control record of format {record.version}, this version reads up to {VERSION}: upgrade")
    return record.tasks


def is_control(headers: Headers | None) -> bool:
    return headers is not None and any(name == CONTROL_HEADER for name, _ in headers)
