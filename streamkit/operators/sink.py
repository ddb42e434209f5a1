"""to: writes records to a topic, inside the running transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from streamkit.errors import EncodeError, RejectedRecordError
from streamkit.kafka.client import Headers, TopicPartition
from streamkit.operators import rows
from streamkit.operators.operator import Failures, Operator, Output, kafka_timestamps, place, user_headers
from streamkit.operators.rows import Int64s
from streamkit.plan.nodes import Sink
from streamkit.plan.wire import wire_key_serde_of, wire_serde_of
from streamkit.record.batch import Batch, DerivedOrigin, pick
from streamkit.record.columns import Column, Constant
from streamkit.record.joined import Joined, JoinedBytes
from streamkit.record.schema import Kind
from streamkit.serdes.compiled import COLUMNS
from streamkit.serdes.keys import BytesKey, DynamicKey
from streamkit.serdes.serde import ENCODE_ERRORS, ColumnarSerde, ColumnsEncoder, Keys

NULL_KEY_PARTITION = 0
"""Where results of the null key's group go: a fixed partition, so that their order is kept."""

Values = Sequence[bytes]
WireKeys = Sequence[bytes | None]


class SinkWriter(Operator):
    """Encodes and produces. What comes unchanged from a topic of the same serde is passed through byte for byte."""

    def __init__(self, node: Sink, output: Output, failures: Failures) -> None:
        super().__init__()
        topic = node.topic
        self._topic = topic.name
        self._label = node.label
        self._output = output
        self._failures = failures
        self._unchanged = wire_serde_of(node.input) == topic.value_serde
        self._encoder = ValueEncoder(topic.value_serde, node.label, failures)
        # a topic without a declared key type takes keys of whatever type they are
        self._key_serde: Any = DynamicKey() if topic.key_serde == BytesKey() else topic.key_serde
        self._same_keys = topic.key_serde in (BytesKey(), wire_key_serde_of(node.input))
        self._key_column = node.key

    def process(self, batch: Batch) -> None:
        values, kept = self._values(batch)
        if kept is not None:
            batch = batch.take(kept)
        keys, kept = self._keys(batch)
        if kept is not None:
            batch, values = batch.take(kept), pick(values, kept)
        if not len(batch):
            return
        if isinstance(batch.origin, DerivedOrigin):
            self._produce_results(batch, values, keys)
            return
        if self._failures.refusals:
            self._produce_one_by_one(batch, values, keys)
            return
        self._output.produce_many(self._topic, values, keys, -1, kafka_timestamps(batch.timestamps), user_headers(batch))

    def _produce_one_by_one(self, batch: Batch, values: Values, keys: WireKeys) -> None:
        """The slow path, only behind a record that the broker has refused (refusals.py)."""
        refusals = self._failures.refusals
        first: RejectedRecordError | None = None
        timestamps, headers = kafka_timestamps(batch.timestamps), user_headers(batch)
        for index, value in enumerate(values):
            at = TopicPartition(*batch.origin.tp), batch.offset(index)
            if at in refusals.left_out(self._topic):
                continue
            header = None if headers is None else [headers[index]]
            self._output.produce_many(self._topic, [value], [keys[index]], -1, int(timestamps[index]), header)
            if not refusals.suspects(self._topic):
                continue
            try:
                self._output.flush()
            except RejectedRecordError as error:
                if error.topic != self._topic:
                    raise
                self._failures.reject(EncodeError(f"the broker refuses it: {error}", **place(batch, index, self._label)))
                refusals.leave_out(self._topic, at)
                first = first or error
                self._output.abort()  # it has failed; the others of the batch are tried in one that is not committed either
        if first is not None:
            raise first  # so that all is replayed without those that were found

    def _produce_results(self, batch: Batch, values: Values, keys: WireKeys) -> None:
        headers = None if batch.added_headers is None else user_headers(batch)
        produce_by_group(self._output, self._topic, values, keys, kafka_timestamps(batch.timestamps), headers)

    def _values(self, batch: Batch) -> tuple[Values, Int64s | None]:
        if self._unchanged and batch.original:
            return batch.wire_values(), None
        return self._encoder.encode(batch)

    def _keys(self, batch: Batch) -> tuple[WireKeys, Int64s | None]:
        if self._key_column is None and self._same_keys and batch.has_wire_keys:
            return wire_keys(batch), None
        keys = batch.keys if self._key_column is None else as_keys(batch.column(self._key_column))
        return encode_keys(self._key_serde, keys, batch, self._label, self._failures)


def wire_keys(batch: Batch) -> WireKeys:
    """The keys as they came; of joined ones only those that are left are made objects."""
    joined: Joined | None = getattr(batch.origin, "joined_keys", None)
    if joined is None or batch.at is None or COLUMNS is None or bool((np.diff(batch.at) <= 0).any()):
        return batch.wire_keys()
    return COLUMNS.pick(joined, batch.at)


def produce_by_group(
    output: Output,
    topic: str,
    values: Values,
    keys: WireKeys,
    timestamps: Int64s,
    headers: list[Headers | None] | None,
) -> None:
    """Each record to the partition of its key, those of the null key's group to theirs."""
    # `all` takes 4 ns a key, `in` 10, and is asked only if a key is null or empty; joined ones are never null.
    if isinstance(keys, JoinedBytes) or all(keys) or None not in keys:
        output.produce_many(topic, values, keys, -1, timestamps, headers)
        return
    is_null = np.array([key is None for key in keys], bool)
    for at, partition in ((np.flatnonzero(is_null), NULL_KEY_PARTITION), (np.flatnonzero(~is_null), -1)):
        if len(at):
            some = None if headers is None else pick(headers, at)
            output.produce_many(topic, pick(values, at), pick(keys, at), partition, timestamps[at], some)


def encode_keys(serde: Any, keys: Keys, batch: Batch, label: str, failures: Failures) -> tuple[WireKeys, Int64s | None]:
    """Keys on the wire, and the positions of the records that they stand for (None: all of them)."""
    try:
        return serde.encode(keys), None
    except ENCODE_ERRORS:  # the slow path, only behind a failure: finds the record
        column = keys if isinstance(keys, list) else keys.tolist()
        return rows.results_of(serde.encode_one, column, batch, label, failures, EncodeError)


class ValueEncoder:
    """Values on the wire. What a serde prepares for columns of certain names is kept: a closed window may be a single row."""

    def __init__(self, serde: Any, label: str, failures: Failures) -> None:
        self._encode: Callable[[Any], bytes] = serde.encoder()
        self._columnar = serde if isinstance(serde, ColumnarSerde) else None
        self._of_columns: dict[tuple[str, ...], ColumnsEncoder] = {}
        self._label = label
        self._failures = failures

    def encode(self, batch: Batch) -> tuple[Values, Int64s | None]:
        """The values, and the positions of the records that they stand for (None: all of them).

        A columnar batch is made column by column, byte for byte what the serde writes for one row after the other.
        """
        if batch.columnar and self._columnar is not None:
            names = tuple(batch.schema.names)
            try:
                encode = self._encoder_of(self._columnar, names)
                return encode([constant_or(batch.column(name)) for name in names], len(batch)), None
            except ENCODE_ERRORS:  # row by row, to find the record
                return self._by_rows(batch)
        return self._by_rows(batch)

    def _by_rows(self, batch: Batch) -> tuple[Values, Int64s | None]:
        return rows.results_of(self._encode, batch.rows(), batch, self._label, self._failures, EncodeError)

    def _encoder_of(self, serde: ColumnarSerde, names: tuple[str, ...]) -> ColumnsEncoder:
        encoder = self._of_columns.get(names)
        if encoder is None:
            encoder = self._of_columns[names] = serde.columns_encoder(names)
        return encoder


def as_keys(column: Column) -> Keys:
    """A column as keys: int64 where it is that without nulls, else Python objects."""
    if column.valid is None and column.kind is Kind.INT and isinstance(column.values, np.ndarray):
        return column.values
    return column.to_list()


def constant_or(column: Column) -> Column | Constant:
    """A column that repeats one value without holding it many times (window bounds), as the constant that it is."""
    if isinstance(column.values, np.ndarray) and len(column) and column.values.strides == (0,):
        return Constant(column.values[0].item(), column.kind)
    return column


def converter(model: type[Any]) -> Callable[[Any], Any]:
    """A function that makes a row an instance of the model; ValueError if it does not fit."""
    return lambda row: row if isinstance(row, model) else msgspec.convert(row, model, from_attributes=True)
