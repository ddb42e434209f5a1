"""key_by and globally: the two ends of a repartition topic.

The writing end computes the new key and produces to the topic; the event time travels as the Kafka timestamp. A record that is
behind its own partition's watermark carries that watermark in a header, so that it can be judged downstream by its own
partition; a record without the header cannot be late. Keys whose type is known only at run time carry it in a second header.
Control records (runtime/control.py) are marked by a third. All three are documented: consumers outside streamkit can read or
skip them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from streamkit.errors import EncodeError, StateError, UserFunctionError
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from streamkit.kafka.client import Headers, RecordBatch
from streamkit.operators import rows
from streamkit.operators.evaluate import Evaluator
from streamkit.operators.operator import (
    EVENT_TIME_HEADER,
    FIRST_TIMESTAMP,
    WATERMARK_HEADER,
    Failures,
    Operator,
    Output,
    kafka_timestamps,
    place,
    user_headers,
)
from streamkit.operators.sink import ValueEncoder, Values, as_keys, encode_keys, produce_by_group
from streamkit.operators.source import Decoding, SourceReader
from streamkit.plan.nodes import EventTime, Globally, KeyBy, Repartition
from streamkit.plan.wire import repartition_value_serde, wire_serde_of
from streamkit.record.batch import Batch, pick
from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.serdes.keys import KEY_TYPE_HEADER, DynamicKey, key_serde_for
from streamkit.serdes.serde import Keys

Int64s = npt.NDArray[np.int64]


class RepartitionWriter(Operator):
    """The writing end; ``watermark`` is what the operator in front of it passes on, for the control records."""

    def __init__(self, node: Repartition, topic: str, *, keep_headers: bool, output: Output, failures: Failures) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        self.watermark = NO_TIME
        self._keep_headers = keep_headers
        self._output = output
        self._failures = failures
        self._label = node.label
        self._unchanged = wire_serde_of(node.input) is not None
        self._encoder = ValueEncoder(repartition_value_serde(node), self._label, failures)
        self._key_serde: Any = key_serde_for(node.key_type)
        columns = node.columns if isinstance(node, KeyBy) else None
        self._columns = Evaluator(columns, node.input.schema, self._label, failures) if columns is not None else None

    def advance(self, watermark: int) -> int:
        if watermark != END_OF_TIME:  # an end of input is told as a state, never as a frontier
            self.watermark = watermark
        return watermark

    def process(self, batch: Batch) -> None:
        keys, kept = self._new_keys(batch)
        if kept is not None:
            batch = batch.take(kept)
        wire, kept = encode_keys(self._key_serde, keys, batch, self._label, self._failures)
        if kept is not None:
            batch, keys = batch.take(kept), _take(keys, kept)
        values, kept = self._values(batch)
        if kept is not None:
            batch, keys, wire = batch.take(kept), _take(keys, kept), pick(wire, kept)
        if len(batch):
            timestamps = kafka_timestamps(batch.timestamps)
            produce_by_group(self._output, self.topic, values, wire, timestamps, self._headers(batch, keys))

    def _new_keys(self, batch: Batch) -> tuple[Keys, Int64s | None]:
        if isinstance(self.node, Globally):
            return [None] * len(batch), None
        if self._columns is not None:
            columns, kept = self._columns.columns(batch)
            return _key_of(list(columns.values())), kept
        assert isinstance(self.node, KeyBy)  # noqa: S101 - the only kind with a function
        assert self.node.fn is not None  # noqa: S101 - a KeyBy has columns or a function
        return rows.results_of(self.node.fn, batch.rows(), batch, self._label, self._failures, UserFunctionError)

    def _values(self, batch: Batch) -> tuple[Values, Int64s | None]:
        if self._unchanged and batch.original:
            return batch.wire_values(), None
        finite = self._finite(batch)
        if finite is None:
            return self._encoder.encode(batch)
        if not len(finite):
            return [], finite
        values, kept = self._encoder.encode(batch.take(finite))
        return values, finite if kept is None else finite[kept]

    def _finite(self, batch: Batch) -> Int64s | None:
        """The records whose computed floats can travel: JSON has no NaN and no infinity, and null would count as no value."""
        if not batch.columnar:
            return None
        good = np.ones(len(batch), bool)
        for name in batch.schema.names:
            column = batch.column(name)
            if column.kind is Kind.FLOAT and isinstance(column.values, np.ndarray):
                here = np.isfinite(column.values)
                good &= here if column.valid is None else here | ~column.valid
        if bool(good.all()):
            return None
        for index in np.flatnonzero(~good).tolist():
            reason = (
                "a computed float is NaN or infinite, which cannot go through a repartition topic; use .fill_nan(None) for null"
            )
            self._failures.reject(EncodeError(reason, **place(batch, index, self._label)))
        return np.flatnonzero(good)

    def _headers(self, batch: Batch, keys: Keys) -> list[Headers | None] | None:
        """Users' headers where someone behind wants them, our own where there is something to tell; None if there are none."""
        users = user_headers(batch) if self._keep_headers else None
        own: dict[int, Headers] = {}
        if batch.watermarks is not None:
            for index in np.flatnonzero(batch.timestamps <= batch.watermarks).tolist():
                own.setdefault(index, []).append((WATERMARK_HEADER, b"%d" % batch.watermarks[index]))
        for index in np.flatnonzero(batch.timestamps < FIRST_TIMESTAMP).tolist():
            own.setdefault(index, []).append((EVENT_TIME_HEADER, b"%d" % batch.timestamps[index]))
        if isinstance(self._key_serde, DynamicKey):
            for index, tag in enumerate(DynamicKey.tags(keys)):
                if tag is not None:
                    own.setdefault(index, []).append((KEY_TYPE_HEADER, tag.encode()))
        if not own:
            return users
        headers: list[Headers | None] = [None] * len(batch) if users is None else list(users)
        for index, mine in own.items():
            headers[index] = [*(headers[index] or ()), *mine]
        return headers


class RepartitionReader(SourceReader):
    """The reading end: event times are Kafka timestamps, watermarks come with the records that are behind theirs."""

    def __init__(self, node: Repartition, topic: str, decoding: Decoding, failures: Failures) -> None:
        super().__init__(topic, decoding, EventTime(), failures)
        self._dynamic = isinstance(decoding.key, DynamicKey)
        self.node = node

    def read_part(self, fetched: RecordBatch) -> Batch | None:
        """The batch of fetched data records (control records were taken out before)."""
        batch = self._decoded(fetched)
        if not len(batch):
            return None
        headers = batch.headers()
        if any(headers):
            batch.watermarks = _times(batch, headers, WATERMARK_HEADER, NO_TIME)
            early = _times(batch, headers, EVENT_TIME_HEADER, FIRST_TIMESTAMP)
            if early is not None:
                batch.timestamps = np.where(early < FIRST_TIMESTAMP, early, batch.timestamps)
        if self._dynamic:
            return batch.with_keys(self._tagged_keys(batch, headers))
        batch._decode_keys = partial(_decode_keys, self._decoding.key, f"{fetched.tp}")
        return batch

    @staticmethod
    def _tagged_keys(batch: Batch, headers: list[Headers | None]) -> Keys:
        serde, keys, tags = DynamicKey(), batch.wire_keys(), [_tag(found) for found in headers]
        try:
            return serde.decode_tagged(keys, tags)
        except ValueError:
            for index, (key, tag) in enumerate(zip(keys, tags, strict=True)):
                try:
                    serde.decode_tagged_one(key, tag)
                except ValueError as error:
                    raise _foreign(_place(batch, index), str(error)) from None
            raise


def _decode_keys(serde: Any, where: str, keys: Sequence[bytes | None]) -> Keys:
    """Only when they are asked for: then a key that does not fit is not ours."""
    try:
        return cast("Keys", serde.decode(keys))
    except ValueError as error:
        raise _foreign(where, f"a key does not fit: {error}") from error


def _foreign(where: str, what: str) -> StateError:
    return StateError(
        f"{where}: {what}. Streamkit did not write that: another program writes to this topic, which is the app's own. Stop it, "
        "and reset the app (streamkit reset)"
    )


def _place(batch: Batch, index: int) -> str:
    topic, partition = batch.origin.tp
    return f"{topic}-{partition}@{batch.offset(index)}"


def _tag(headers: Headers | None) -> str | None:
    found = _header(headers, KEY_TYPE_HEADER)
    return found.decode("ascii", "replace") if found else None


def _times(batch: Batch, headers: list[Headers | None], name: str, absent: int) -> Int64s | None:
    """The times in the headers of this name; None if no record has one."""
    found = [_header(each, name) for each in headers]
    if not any(found):
        return None
    try:
        return np.fromiter((absent if value is None else int(value) for value in found), np.int64, len(found))
    except (ValueError, OverflowError):
        index = next(index for index, value in enumerate(found) if value is not None and not _is_time(value))
        raise _foreign(_place(batch, index), f"header '{name}' is {found[index]!r}") from None


def _is_time(value: bytes) -> bool:
    try:
        return -(2**63) <= int(value) < 2**63
    except ValueError:
        return False


def _header(headers: Headers | None, name: str) -> bytes | None:
    for header, value in headers or ():
        if header == name:
            return value
    return None


def _take(keys: Keys, at: Int64s) -> Keys:
    return pick(keys, at) if isinstance(keys, list) else keys[at]


def _key_of(columns: list[Column]) -> Keys:
    """One column is the key itself; several make a tuple, in which a null is a value."""
    if len(columns) > 1:
        return list(zip(*[column.to_list() for column in columns], strict=True))
    return as_keys(columns[0]) if columns else []
