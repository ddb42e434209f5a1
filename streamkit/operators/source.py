"""Makes batches out of fetched records: decode, event time, watermark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.errors import DecodeError, EventTimeError, RecordError, UserFunctionError
from streamkit.eventtime.duration import duration_text
from streamkit.eventtime.generators import FieldWatermark, GeneratedWatermark
from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME, PartitionWatermark
from streamkit.kafka.client import RecordBatch
from streamkit.operators import rows
from streamkit.operators.event_time import milliseconds_of, scalar_ms
from streamkit.operators.operator import Failures, Operator, place
from streamkit.plan.nodes import EventTime
from streamkit.record import instants
from streamkit.record.batch import Batch
from streamkit.record.columns import Column, repeated
from streamkit.record.joined import Joined
from streamkit.record.schema import ANY_FIELD, Kind, Schema
from streamkit.serdes.serde import (
    DECODE_ERRORS,
    BlockSerde,
    ColumnsDecoder,
    JoinedDecoder,
    JoinedKeySerde,
    KeySerde,
    Serde,
)

Int64s = npt.NDArray[np.int64]

_FAILURES = (*DECODE_ERRORS, TypeError)  # a null where bytes are expected is a TypeError

_SENSIBLE_FROM, _SENSIBLE_TO = 315_532_800_000, 4_102_444_800_000  # 1980 and 2100

BLOCK_RECORDS = 48
"""From so many records on a block of values is read at once: below, what it costs once is more than it saves."""

Times = tuple[Int64s, npt.NDArray[np.bool_] | None]
"""Event times in milliseconds, and which are there (None: all of them)."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the records of a topic become rows: serdes, the fields that the plan needs (None: the whole value), columns that are
    made at once, so that a value which its column cannot hold is found while its record is still at hand."""

    value: Serde[Any]
    key: KeySerde[Any]
    fields: frozenset[str] | None
    columns: tuple[str, ...]
    decode_keys_now: bool


class SourceReader(Operator):
    """Batches of one source topic. A record that cannot be decoded or has no event time is rejected by itself."""

    def __init__(self, topic: str, decoding: Decoding, event_time: EventTime, failures: Failures) -> None:
        super().__init__()
        self._label = topic
        self._decoding = decoding
        self._schema: Schema = decoding.value.schema
        self._decode = decoding.value.decoder(decoding.fields)
        self._decode_columns = columns_decoder(decoding)
        decoders: tuple[object, object] = self._decode_columns, decoding.key
        self._decode_joined = decoders[0].joined if isinstance(decoders[0], JoinedDecoder) else None
        self._decode_joined_keys = decoders[1].decode_joined if isinstance(decoders[1], JoinedKeySerde) else None
        self._decode_all = decoding.value.decoder(None)
        self._event_time = event_time
        self._told_by = event_time.watermark if isinstance(event_time.watermark, FieldWatermark) else None
        self._failures = failures

    def read(self, fetched: RecordBatch, watermark: PartitionWatermark) -> Batch | None:
        """The batch of what was fetched from one partition; moves that partition's watermark. None if nothing is left of it."""
        batch = self._decoded(fetched)
        if self._decoding.decode_keys_now and len(batch):
            batch = self._with_valid_keys(batch)
        if self._told_by is not None and len(batch):
            batch, _ = self._field_times(batch, self._told_by.field, "watermark field")
        if not len(batch):
            return None
        batch, timestamps = self._timed(batch)
        if self._event_time.max_future_ms is not None:
            batch, timestamps = self._not_too_far(batch, timestamps, watermark, self._event_time.max_future_ms)
        if not len(batch):
            return None
        if self._told_by is not None:
            return self._with_told_watermarks(batch, timestamps, watermark, self._told_by.field)
        batch.timestamps = timestamps
        batch.watermarks = self._observed(batch, timestamps, watermark)
        return batch

    # ---- values

    def _decoded(self, fetched: RecordBatch) -> Batch:
        # Kafka's own times are read only where they are the event times: taking them out costs a third of decoding.
        timestamps = fetched.timestamps() if self._event_time.by is None else repeated(0, len(fetched))
        whole = Batch(
            fetched, self._schema, timestamps, decode_keys=self._decoding.key.decode, original=True,
            full_rows=self._full_rows if self._decoding.fields is not None else None,
        )  # fmt: skip
        if (columns := self._block_of(fetched)) is not None:
            whole._columns = columns
            return whole
        values = fetched.values()
        try:
            decoded, batch = list(map(self._decode, values)), whole  # type: ignore[arg-type]  # nulls are found below
        except _FAILURES:  # the slow path, only behind a failure: finds the record
            decoded, batch = rows.run(self._decode_one, values, whole, self._label, self._failures, DecodeError)
        batch._rows = decoded
        return self._with_valid_columns(batch)

    def _block_of(self, fetched: RecordBatch) -> dict[str, Column] | None:
        """The columns of the projection, read at once; None if the values are to be read one by one."""
        if self._decode_columns is None or len(fetched) < BLOCK_RECORDS:
            return None
        joined: Joined | None = getattr(fetched, "joined_values", None)  # of clients that put values together
        try:
            if joined is not None and self._decode_joined is not None:
                return dict(self._decode_joined(joined))
            return dict(self._decode_columns(fetched.values()))  # type: ignore[arg-type]  # a null is a TypeError
        except _FAILURES:  # one by one finds the record, or reads what a block does not
            return None

    def _decode_one(self, value: bytes | None) -> Any:
        if value is None:
            raise ValueError("the value is null (a tombstone); a stream has no use for it")
        return self._decode(value)

    def _full_rows(self, values: list[Any]) -> list[Any]:
        return list(map(self._decode_all, values))

    def _with_valid_columns(self, batch: Batch) -> Batch:
        try:
            self._make_columns(batch)
        except _FAILURES:
            batch = self._each(batch, self._make_columns, DecodeError)
            self._make_columns(batch)
        if self._decoding.fields is not None:
            # All that a projection holds is in columns now; to carry its rows along costs 30 ns each where records are left out.
            batch._rows = None
        return batch

    def _make_columns(self, batch: Batch) -> None:
        for name in self._decoding.columns:
            batch.column(name)

    # ---- keys

    def _with_valid_keys(self, batch: Batch) -> Batch:
        joined: Joined | None = getattr(batch.origin, "joined_keys", None) if batch.at is None else None
        if joined is not None and self._decode_joined_keys is not None:
            batch._keys = self._decode_joined_keys(joined)
        try:
            _ = batch.keys
        except _FAILURES:
            return self._each(batch, lambda single: single.keys, DecodeError, "the key does not fit: ")
        return batch

    def _each(self, batch: Batch, test: Callable[[Batch], Any], error: type[RecordError], prefix: str = "") -> Batch:
        """The records that pass the test one by one; the others are rejected."""
        kept = []
        for index in range(len(batch)):
            try:
                test(batch.take(np.array([index])))
            except _FAILURES as cause:
                failure = error(prefix + rows.describe(cause), **place(batch, index, self._label))
                failure.__cause__ = cause
                self._failures.reject(failure)
            else:
                kept.append(index)
        return batch.take(np.array(kept, np.int64))

    # ---- event time

    def _timed(self, batch: Batch) -> tuple[Batch, Int64s]:
        by = self._event_time.by
        if by is None:
            return self._in_range(batch, batch.timestamps, "the record has no Kafka timestamp")
        if isinstance(by, str):
            batch, (milliseconds, valid) = self._field_times(batch, by, "event time field")
            return self._in_range(batch, milliseconds, f"event time field '{by}' is null", valid)
        results, batch = rows.run(_as_milliseconds(by), batch.rows(), batch, self._label, self._failures, EventTimeError)
        return self._in_range(batch, np.fromiter(results, np.int64, len(results)), "")

    def _field_times(self, batch: Batch, by: str, what: str) -> tuple[Batch, Times]:
        def times(batch: Batch) -> Times:
            return _milliseconds(batch.column(by), self._schema, by)

        try:
            return batch, times(batch)
        except _FAILURES:  # untyped values: any of them may be no time
            batch = self._each(batch, times, EventTimeError, f"{what} '{by}': ")
            return batch, times(batch)

    def _in_range(
        self, batch: Batch, timestamps: Int64s, missing: str, valid: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Batch, Int64s]:
        good = (timestamps >= MIN_TIMESTAMP) & (timestamps <= MAX_TIMESTAMP)
        if self._event_time.by is None:
            good &= timestamps >= 0  # Kafka's -1: no timestamp
        if valid is not None:
            good &= valid
        if bool(good.all()):
            return batch, timestamps
        for index in np.flatnonzero(~good).tolist():
            absent = self._event_time.by is None or (valid is not None and not valid[index])
            reason = missing if absent else f"event time {_out_of_range(int(timestamps[index]))}"
            self._failures.reject(EventTimeError(reason, **place(batch, index, self._label)))
        kept = np.flatnonzero(good)
        return batch.take(kept), timestamps[kept]

    def _not_too_far(
        self, batch: Batch, timestamps: Int64s, watermark: PartitionWatermark, max_future_ms: int
    ) -> tuple[Batch, Int64s]:
        """Without the records that run far ahead of their partition: one of them would close what the others still need."""
        ahead = watermark.too_far_ahead(timestamps, max_future_ms)
        if not len(ahead):
            return batch, timestamps
        for index in ahead.tolist():
            reason = (
                f"event time {_instant_text(timestamps[index])} is more than max_future ({duration_text(max_future_ms)}) ahead "
                "of the latest record of its partition"
            )
            self._failures.reject(EventTimeError(reason, **place(batch, index, self._label)))
        kept = np.delete(np.arange(len(batch)), ahead)
        return batch.take(kept), timestamps[kept]

    # ---- watermarks

    def _observed(self, batch: Batch, timestamps: Int64s, watermark: PartitionWatermark) -> Int64s | None:
        """A rule of the user's that fails stops the service: without it there is no time, and no record is at fault."""
        try:
            return watermark.observe(timestamps)
        except Exception as cause:
            raise UserFunctionError(f"watermark: {rows.described_with_line(cause)}", **place(batch, 0, self._label)) from cause

    def _with_told_watermarks(self, batch: Batch, timestamps: Int64s, watermark: PartitionWatermark, field: str) -> Batch | None:
        """With those that the records bring along. One that cannot be is rejected with its record before it has any effect."""
        told, valid = _milliseconds(batch.column(field), self._schema, field)
        good = (told >= MIN_TIMESTAMP) & (told <= MAX_TIMESTAMP)
        max_future_ms = self._event_time.max_future_ms
        if max_future_ms is not None:
            good &= told <= timestamps + max_future_ms
        if valid is not None:
            good |= ~valid
        for index in np.flatnonzero(~good).tolist():
            reason = f"watermark field '{field}': {_out_of_range(int(told[index]))}"
            if MIN_TIMESTAMP <= told[index] <= MAX_TIMESTAMP:
                reason = (
                    f"watermark field '{field}': {_instant_text(told[index])} is more than max_future "
                    f"({duration_text(max_future_ms or 0)}) ahead of the event time of its record"
                )
            self._failures.reject(EventTimeError(reason, **place(batch, index, self._label)))
        told = told if valid is None else np.where(valid, told, NO_TIME)
        if not bool(good.all()):
            kept = np.flatnonzero(good)
            batch, timestamps, told = batch.take(kept), timestamps[kept], told[kept]
        if not len(batch):
            return None
        assert isinstance(watermark, GeneratedWatermark)  # noqa: S101 - layout.py makes it so
        batch.timestamps = timestamps
        batch.watermarks = watermark.observe_told(timestamps, told)
        return batch


def _out_of_range(milliseconds: int) -> str:
    """With what it probably is: a count of smaller units, whose time in milliseconds is a sensible one."""
    text = f"{milliseconds} ms is outside the years 101 to 9899"
    for unit, per_ms in (("microseconds", 1_000), ("nanoseconds", 1_000_000)):
        if _SENSIBLE_FROM <= milliseconds // per_ms < _SENSIBLE_TO:
            return f"{text}. It looks like {unit}: as such it is {_instant_text(milliseconds // per_ms)}. Divide it by {per_ms:,}"
    return text


def _instant_text(milliseconds: int) -> str:
    return instants.datetime_of(int(milliseconds) * 1000).isoformat().replace("+00:00", "Z")


def columns_decoder(decoding: Decoding) -> ColumnsDecoder | None:
    """Reads many values at once where the plan needs columns only and the serde can; else None."""
    if decoding.fields is None or not isinstance(decoding.value, BlockSerde):
        return None
    return decoding.value.columns_decoder(decoding.fields)


def _milliseconds(column: Column, schema: Schema, name: str) -> Times:
    """An event time column as int64 milliseconds, and which of its values are there."""
    kind = (schema.field(name) or ANY_FIELD).kind
    if kind is Kind.DATETIME:
        return np.asarray(column.values) // 1000, column.valid
    if kind is Kind.INT:
        return np.asarray(column.values), column.valid
    return milliseconds_of(column.to_list())


def _as_milliseconds(by: Callable[[Any], Any]) -> Callable[[Any], int]:
    """The user's function with its result (a datetime, or int milliseconds) made an int."""
    return lambda row: scalar_ms(by(row))
