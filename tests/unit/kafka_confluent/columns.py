"""A batch by columns, made without the extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamkit.kafka.client import Headers, Int64s, TopicPartition
from streamkit.kafka.confluent.intake import ColumnBatch

T = TopicPartition("t", 0)


def joined(parts: Sequence[bytes | None]) -> tuple[bytearray, bytearray]:
    lengths = np.array([-1 if part is None else len(part) for part in parts], np.int32)
    return bytearray(b"".join(part or b"" for part in parts)), bytearray(lengths.tobytes())


def split(columns: tuple[bytearray, bytearray]) -> list[bytes | None]:
    content, lengths = columns
    parts: list[bytes | None] = []
    for length in np.frombuffer(lengths, np.int32).tolist():
        parts.append(None if length < 0 else bytes(content[:length]))
        content = content[max(length, 0) :]
    return parts


class Native:
    split = staticmethod(split)


class Kept:
    def __init__(self, headers: list[Headers | None] | None) -> None:
        self._headers = headers
        self.asked = 0

    def headers(self, positions: Int64s | None, /) -> list[Headers | None] | None:
        self.asked += 1
        if self._headers is None or positions is None:
            return self._headers
        return [self._headers[at] for at in positions.tolist()]


VALUES = [b"one", None, b"", b"\0four", b"five"]
KEYS = [None, b"k", b"", None, b"key"]
HEADERS: list[Headers | None] = [None, [("a", b"1")], [("b", None), ("b", b"")], None, [("", b"x")]]


def batch(
    native: Any = Native, *, keys: Sequence[bytes | None] | None = KEYS, kept: Kept | None = None, epoch: int = 7
) -> ColumnBatch:
    offsets, stamps = (bytearray(np.array(column, np.int64).tobytes()) for column in ([3, 4, 7, 8, 9], [1, 2, -1, 4, 5]))
    return ColumnBatch(
        native,
        ("t", 0, joined(VALUES), None if keys is None else joined(keys), kept or Kept(HEADERS), offsets, stamps, epoch),
    )
