"""key_by and globally: the two ends of a repartition topic.

The writing end computes the new key and produces to the topic; the event time travels as the Kafka timestamp. A record that is
behind its own partition's watermark carries that watermark in a header, so that it can be judged downstream by its own
partition; a record without the header cannot be late. Keys whose type is known only at run time carry it in a second header.
Control records (runtime/control.py) are marked by a third. All three are documented: consumers outside streamkit can read or
skip them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.errors import UserFunctionError
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from streamkit.kafka.client import Headers, RecordBatch
from streamkit.operators import rows
from streamkit.operators.evaluate import Evaluator
from streamkit.operators.operator import WATERMARK_HEADER, Failures, Operator, Output, user_headers
from streamkit.operators.sink import NULL_KEY_PARTITION, as_keys, encode_keys, encode_values
from streamkit.operators.source import Decoding, SourceReader
from streamkit.plan.nodes import EventTime, Globally, KeyBy, Repartition
from streamkit.plan.wire import repartition_value_serde, wire_serde_of
from streamkit.record.batch import Batch, pick
from streamkit.record.columns import Column
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
        self._serde: Any = repartition_value_serde(node)
        self._encode = self._serde.encoder()
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
            self._produce(values, wire, self._headers(batch, keys), batch.timestamps)

    def _produce(self, values: list[bytes], keys: list[bytes | None], headers: list[Headers] | None, timestamps: Int64s) -> None:
        if None not in keys:
            self._output.produce_many(self.topic, values, keys, -1, timestamps.tolist(), headers)
            return
        null = np.fromiter((key is None for key in keys), bool, len(keys))
        for at, partition in ((np.flatnonzero(null), NULL_KEY_PARTITION), (np.flatnonzero(~null), -1)):
            if len(at):
                some = None if headers is None else pick(headers, at)
                self._output.produce_many(self.topic, pick(values, at), pick(keys, at), partition, timestamps[at].tolist(), some)

    def _new_keys(self, batch: Batch) -> tuple[Keys, Int64s | None]:
        if isinstance(self.node, Globally):
            return [None] * len(batch), None
        if self._columns is not None:
            columns, kept = self._columns.columns(batch)
            return _key_of(list(columns.values())), kept
        assert isinstance(self.node, KeyBy)  # noqa: S101 - the only kind with a function
        assert self.node.fn is not None  # noqa: S101
        return rows.results_of(self.node.fn, batch.rows(), batch, self._label, self._failures, UserFunctionError)

    def _values(self, batch: Batch) -> tuple[list[bytes], Int64s | None]:
        if self._unchanged and batch.original:
            return batch.wire_values(), None
        return encode_values(self._serde, self._encode, batch, self._label, self._failures)

    def _headers(self, batch: Batch, keys: Keys) -> list[Headers] | None:
        headers: list[Headers] | None = None
        if self._keep_headers:
            users = user_headers(batch)
            headers = None if users is None else [list(found or ()) for found in users]
        if batch.watermarks is not None:
            headers = headers or [[] for _ in range(len(batch))]
            behind = np.flatnonzero(batch.timestamps <= batch.watermarks)
            for index in behind.tolist():
                headers[index].append((WATERMARK_HEADER, b"%d" % batch.watermarks[index]))
        if isinstance(self._key_serde, DynamicKey):
            tags = DynamicKey.tags(keys)
            if any(tags):
                headers = headers or [[] for _ in range(len(batch))]
                for header, tag in zip(headers, tags, strict=True):
                    if tag is not None:
                        header.append((KEY_TYPE_HEADER, tag.encode()))
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
        headers = batch.headers() if any(fetched.headers()) else None
        if headers is not None:
            batch.watermarks = _watermarks(headers)
        if self._dynamic:
            tags = [_header(h, KEY_TYPE_HEADER) for h in headers] if headers is not None else [None] * len(batch)
            return batch.with_keys(DynamicKey().decode_tagged(batch.wire_keys(), [t.decode() if t else None for t in tags]))
        return batch


def _watermarks(headers: list[Headers | None]) -> Int64s | None:
    found = [_header(h, WATERMARK_HEADER) for h in headers]
    if not any(found):
        return None
    return np.fromiter((NO_TIME if value is None else int(value) for value in found), np.int64, len(found))


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
