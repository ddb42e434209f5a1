"""librdkafka's serialised consumer group metadata, which confluent_kafka hands out as opaque bytes.

The engine needs the generation and the member id in it: R10 refuses to commit with a generation that no broker fences.
The format (rd_kafka_consumer_group_metadata_write in rdkafka_cgrp.c): "CGMDv2:", the generation as a native int32, the
group id and the member id each ended by a zero byte, then whether there is no group instance id, and that id.
"""

from __future__ import annotations

import struct
from typing import Final

from streamkit.errors import FatalError
from streamkit.kafka.client import GroupMetadata

_MAGIC: Final = b"CGMDv2:"
_GENERATION: Final = struct.Struct("=i")


def decode(blob: bytes) -> GroupMetadata:
    """GroupMetadata of what `Consumer.consumer_group_metadata()` gave. Before the first join: generation -1, no member id."""
    start = len(_MAGIC) + _GENERATION.size
    parts = blob[start:].split(b"\0")
    if not blob.startswith(_MAGIC) or len(parts) < 3:
        raise FatalError(
            f"the consumer group metadata of this librdkafka starts with {blob[:7]!r}, not {_MAGIC!r}: this version of "
            "confluent-kafka is not supported",
            call="consumer_group_metadata",
        )
    (generation,) = _GENERATION.unpack_from(blob, len(_MAGIC))
    return GroupMetadata(parts[0].decode(), generation, parts[1].decode(), opaque=blob)


def encode(group: GroupMetadata) -> bytes:
    """The bytes that `send_offsets_to_transaction` takes: the client's own, or made from the fields."""
    if isinstance(group.opaque, bytes):
        return group.opaque
    no_instance_id = b"\x01"
    return (
        _MAGIC
        + _GENERATION.pack(group.generation)
        + group.group_id.encode()
        + b"\0"
        + group.member_id.encode()
        + b"\0"
        + no_instance_id
    )
