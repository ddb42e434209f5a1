"""A batch of records as a poll gives it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamkit.kafka.client import Headers, Int64s, TopicPartition
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.log import Span


class MemoryBatch:
    """Implements `RecordBatch` over the columns that a fetch returned."""

    __slots__ = ("_columns", "_spans", "_tp", "leader_epoch")

    def __init__(self, tp: TopicPartition, columns: Columns, spans: Sequence[Span], leader_epoch: int | None) -> None:
        self._tp = tp
        self._columns = columns
        self._spans = spans
        self.leader_epoch = leader_epoch

    @property
    def tp(self) -> TopicPartition:
        return self._tp

    def __len__(self) -> int:
        return len(self._columns)

    def values(self) -> list[bytes | None]:
        return self._columns.values

    def keys(self) -> list[bytes | None]:
        return self._columns.keys

    def offsets(self) -> Int64s:
        runs = [np.arange(span.first_offset, span.first_offset + span.records, dtype=np.int64) for span in self._spans]
        return runs[0] if len(runs) == 1 else np.concatenate(runs)

    def timestamps(self) -> Int64s:
        return np.frombuffer(self._columns.timestamps, dtype=np.int64)

    def headers(self, at: Int64s | None = None) -> list[Headers | None]:
        headers = self._columns.headers
        if headers is None:
            return [None] * (len(self._columns) if at is None else len(at))
        return headers if at is None else [headers[index] for index in at.tolist()]

    @property
    def first_offset(self) -> int:
        return self._spans[0].first_offset

    @property
    def next_offset(self) -> int:
        last = self._spans[-1]
        return last.first_offset + last.records
