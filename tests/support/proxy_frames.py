"""Kafka's frames, as far as a proxy has to read them: length, API key, version, correlation id, client id.

    length int32 | api key int16 | api version int16 | correlation id int32 | client id: int16 length and bytes | ...

Every request since 0.8 begins so, whatever its version ("flexible" versions differ only behind the client id); an answer begins
with length and correlation id.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from enum import IntEnum

_LARGEST = 256 * 1024 * 1024
_HEAD = struct.Struct(">ihhih")


class Api(IntEnum):
    """API keys that faults are aimed at (Kafka's protocol guide has them all)."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    CONSUMER_GROUP_HEARTBEAT = 68


@dataclass(frozen=True, slots=True)
class Request:
    """One request on its way to a broker; ``frame`` is all of it, length included."""

    broker: int
    api: int
    version: int
    correlation_id: int
    client_id: str
    frame: bytes

    @property
    def commits(self) -> bool:
        """Of an EndTxn: whether it commits. The flag is the last field; flexible versions (3 on) end with an empty tag list."""
        if self.api != Api.END_TXN:
            raise ValueError(f"API key {self.api} is not EndTxn")
        return self.frame[-2 if self.version >= 3 else -1] == 1


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame, length included. `OSError` for a length that is none; IncompleteReadError at the end."""
    length = await reader.readexactly(4)
    size = int.from_bytes(length, "big", signed=True)
    if not 0 < size <= _LARGEST:
        raise OSError(f"a frame of {size} bytes: this is not Kafka's protocol")
    return length + await reader.readexactly(size)


async def read_request(reader: asyncio.StreamReader, broker: int) -> Request:
    return parse(await read_frame(reader), broker)


def parse(frame: bytes, broker: int) -> Request:
    """`OSError` for a frame that is too short to be a request."""
    if len(frame) < _HEAD.size:
        raise OSError(f"a request of {len(frame)} bytes: this is not Kafka's protocol")
    _, api, version, correlation_id, name_length = _HEAD.unpack_from(frame)
    name = frame[_HEAD.size : _HEAD.size + max(0, name_length)]
    return Request(broker, api, version, correlation_id, name.decode(errors="replace"), frame)
