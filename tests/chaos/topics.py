"""Reads whole topics of a chaos run, past the proxy and without the engine."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def at(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})  # that a broker is down is what we expect


def partitions(bootstrap: str, names: Iterable[str]) -> list[TopicPartition]:
    found = _admin(bootstrap).list_topics(timeout=20).topics
    return [TopicPartition(name, partition) for name in names for partition in sorted(found[name].partitions)]


def names(bootstrap: str, prefix: str = "") -> list[str]:
    """Topics that there are."""
    found = _admin(bootstrap).list_topics(timeout=20).topics
    return sorted(name for name in found if name.startswith(prefix))


def read(bootstrap: str, topic: str) -> list[Entry]:
    """The committed records, partition by partition in order; to the end that the topic has now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    assigned = [TopicPartition(tp.topic, tp.partition, OFFSET_BEGINNING) for tp in partitions(bootstrap, [topic])]
    consumer.assign(assigned)
    found: dict[int, list[Entry]] = {tp.partition: [] for tp in assigned}
    unread, deadline = set(found), time.monotonic() + _TIMEOUT_S
    try:
        while unread:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {sorted(unread)} were not read to their end within {_TIMEOUT_S:.0f} s")
            for message in consumer.consume(10_000, 0.2):
                error, partition, offset = message.error(), cast("int", message.partition()), cast("int", message.offset())
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(partition)
                elif error is not None:
                    raise KafkaException(error)
                else:
                    found[partition].append(Entry(topic, partition, offset, message.key(), message.value()))
    finally:
        consumer.close()
    return [entry for partition in sorted(found) for entry in found[partition]]


def stable_ends(bootstrap: str, topics: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """(last stable offset, high watermark) of every partition: equal where no transaction is open."""
    admin, asked = _admin(bootstrap), partitions(bootstrap, topics)
    found: dict[str, dict[tuple[str, int], int]] = {}
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        answers = admin.list_offsets({tp: OffsetSpec.latest() for tp in asked}, isolation_level=level, request_timeout=20)
        found[level.name] = {(tp.topic, tp.partition): answer.result(30).offset for tp, answer in answers.items()}
    high = found["READ_UNCOMMITTED"]
    return {tp: (stable, high[tp]) for tp, stable in found["READ_COMMITTED"].items()}


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """One entry of the offsets topic: what was committed for a partition."""

    topic: str
    partition: int
    offset: int


def commits(bootstrap: str, group: str) -> Iterator[CommittedOffset]:
    """Every offset that the group ever committed, in order, read from the offsets topic itself.

    Key: int16 version (0, 1), group, topic, int32 partition; a string is an int16 length and bytes. Value: int16 version, int64
    offset, and more.
    """
    for entry in read(bootstrap, "__consumer_offsets"):
        if entry.key is None or entry.value is None or entry.key[:2] not in (b"\0\0", b"\0\1"):
            continue  # a group's own entry, or a deleted offset
        of_group, rest = _text(entry.key[2:])
        topic, rest = _text(rest)
        if of_group != group:
            continue
        _, offset = struct.unpack_from(">hq", entry.value)
        yield CommittedOffset(topic, int.from_bytes(rest[:4], "big"), offset)


def _text(data: bytes) -> tuple[str, bytes]:
    length = int.from_bytes(data[:2], "big", signed=True)
    return data[2 : 2 + length].decode(), data[2 + length :]
