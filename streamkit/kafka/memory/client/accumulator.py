"""Records of a transaction on their way to the broker, gathered per partition so that they travel and are stored as batches."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import count

import numpy as np

from streamkit.kafka.client import Headers, TopicPartition
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.requests.metadata import partition_count
from streamkit.kafka.murmur2 import murmur2

_METADATA_TIMEOUT_S = 60.0
_cached_murmur2 = lru_cache(maxsize=65_536)(murmur2)


class Accumulator:
    """Owns the records that are not sent yet, and chooses their partitions."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._columns: dict[TopicPartition, Columns] = {}
        self._partitions: dict[str, int] = {}
        self._turn = count()

    def drain(self) -> dict[TopicPartition, Columns]:
        """Everything gathered, in the order in which the partitions got their first record."""
        drained, self._columns = self._columns, {}
        self._partitions.clear()
        return drained

    def add(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, timestamp: int, headers: Headers | None
    ) -> TopicPartition:
        tp = self._place(topic, key, partition)
        self._of(tp).append(value, key, timestamp or self._link.clock.now_ms(), headers)
        return tp

    def add_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Iterable[bytes | None],
        partition: int,
        timestamps: int | Iterable[int],
        headers: Iterable[Headers | None] | None,
    ) -> set[TopicPartition]:
        columns = Columns(
            list(values), list(keys), self._times(timestamps, len(values)), None if headers is None else list(headers)
        )
        lengths = {len(columns.values), len(columns.keys), len(columns.timestamps), len(columns.headers or columns.values)}
        if len(lengths) > 1:
            raise ValueError(f"produce_many: columns of different lengths for topic {topic}: {sorted(lengths)}")
        if partition >= 0:
            tp = self._place(topic, None, partition)
            self._of(tp).extend(columns)
            return {tp}
        used = set[TopicPartition]()
        for i, (value, key) in enumerate(zip(columns.values, columns.keys, strict=True)):
            tp = self._place(topic, key, -1)
            self._of(tp).append(value, key, columns.timestamps[i], columns.headers[i] if columns.headers is not None else None)
            used.add(tp)
        return used

    def size(self, tp: TopicPartition) -> int:
        return len(self._columns[tp])

    def take(self, tp: TopicPartition) -> Columns:
        return self._columns.pop(tp)

    def _of(self, tp: TopicPartition) -> Columns:
        columns = self._columns.get(tp)
        if columns is None:
            columns = self._columns[tp] = Columns()
        return columns

    def _times(self, timestamps: int | Iterable[int], records: int) -> array[int]:
        if isinstance(timestamps, int):
            return array("q", [timestamps or self._link.clock.now_ms()]) * records
        times = array("q")
        given = timestamps if isinstance(timestamps, np.ndarray) else list(timestamps)
        times.frombytes(np.asarray(given, np.int64).tobytes())
        if 0 in times:
            now_ms = self._link.clock.now_ms()
            times = array("q", [t or now_ms for t in times])
        return times

    def _place(self, topic: str, key: bytes | None, partition: int) -> TopicPartition:
        """The partition of a record. A topic that does not exist takes partition 0, where the delivery fails."""
        if partition >= 0:
            return TopicPartition(topic, partition)
        partitions = self._partitions.get(topic)
        if partitions is None:
            call = self._link.call("produce", _METADATA_TIMEOUT_S)
            partitions = self._partitions[topic] = call.send("Metadata", partition_count, topic)
        if not partitions:
            return TopicPartition(topic, 0)
        number = _cached_murmur2(key) & 0x7FFFFFFF if key is not None else next(self._turn)
        return TopicPartition(topic, number % partitions)
