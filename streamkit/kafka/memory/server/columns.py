"""Records as columns: the form in which they are produced, stored and fetched."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamkit.kafka.client import Headers

RECORD_OVERHEAD = 72  # bytes of a batch of one record that are not key, value or headers


def _int64s() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Columns:
    """Equally long columns of records; ``headers`` is None while no record has any."""

    values: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    timestamps: array[int] = field(default_factory=_int64s)
    headers: list[Headers | None] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def append(self, value: bytes | None, key: bytes | None, timestamp: int, headers: Headers | None) -> None:
        if headers is not None and self.headers is None:
            self.headers = [None] * len(self.values)
        self.values.append(value)
        self.keys.append(key)
        self.timestamps.append(timestamp)
        if self.headers is not None:
            self.headers.append(headers)

    def extend(self, other: Columns) -> None:
        if other.headers is not None and self.headers is None:
            self.headers = [None] * len(self.values)
        self.values += other.values
        self.keys += other.keys
        self.timestamps.extend(other.timestamps)
        if self.headers is not None:
            self.headers += other.headers if other.headers is not None else [None] * len(other.values)

    def cut(self, start: int, stop: int) -> Columns:
        """A copy of the records at the indices from `start` up to `stop`."""
        headers = None if self.headers is None else self.headers[start:stop]
        return Columns(self.values[start:stop], self.keys[start:stop], self.timestamps[start:stop], headers)

    def pick(self, indices: Sequence[int]) -> Columns:
        """A copy of the records at these indices."""
        headers = None if self.headers is None else [self.headers[i] for i in indices]
        times = array("q", [self.timestamps[i] for i in indices])
        return Columns([self.values[i] for i in indices], [self.keys[i] for i in indices], times, headers)

    def sizes(self) -> list[int]:
        """The bytes of each record: key, value and headers.

        >>> Columns([b"a", b"four"], [b"k", None], array("q", [0, 0])).sizes()
        [2, 4]
        """
        sizes = [len(v or b"") + len(k or b"") for v, k in zip(self.values, self.keys, strict=True)]
        if self.headers is not None:
            sizes = [size + _header_bytes(h) for size, h in zip(sizes, self.headers, strict=True)]
        return sizes


def _header_bytes(headers: Sequence[tuple[str, bytes | None]] | None) -> int:
    return sum(len(name.encode()) + len(value or b"") + 2 for name, value in headers or ())
