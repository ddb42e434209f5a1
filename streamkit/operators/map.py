"""map, into and records: one value out of each value, on rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from streamkit.errors import UserFunctionError
from streamkit.operators import rows
from streamkit.operators.operator import Failures, Operator, user_headers
from streamkit.record.batch import Batch
from streamkit.record.model import Record
from streamkit.record.schema import Schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MapRows(Operator):
    """Applies a function to each value; keys, timestamps and headers stay."""

    def __init__(self, fn: Callable[[Any], Any], schema: Schema, label: str, failures: Failures) -> None:
        super().__init__()
        self._fn, self._schema, self._label, self._failures = fn, schema, label, failures

    def process(self, batch: Batch) -> None:
        results, batch = rows.run(self._fn, batch.rows(), batch, self._label, self._failures, UserFunctionError)
        if len(batch):
            self.emit(batch.with_rows(results, self._schema))


class ToRecords(Operator):
    """Wraps each value in a Record with its metadata. What a later map returns keeps the record's key and timestamp."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self._schema = schema

    def process(self, batch: Batch) -> None:
        topic, partition = batch.origin.tp
        keys = batch.keys if isinstance(batch.keys, list) else batch.keys.tolist()
        headers = user_headers(batch) or [None] * len(batch)
        parts = zip(keys, batch.rows(), batch.timestamps.tolist(), headers, batch.offsets().tolist(), strict=True)
        records = [
            Record(key, value, instant(timestamp), dict(found or ()), topic, partition, offset)
            for key, value, timestamp, found, offset in parts
        ]
        self.emit(batch.with_rows(records, self._schema))


def instant(timestamp_ms: int) -> datetime:
    """Milliseconds since 1970 as an aware UTC datetime, exactly."""
    return _EPOCH + timedelta(milliseconds=timestamp_ms)
