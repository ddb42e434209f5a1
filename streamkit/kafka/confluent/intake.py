"""What comes out of a librdkafka consumer: batches of records by partition, and events (errors, ends of partitions).

`ByMessage` has confluent-kafka make a Message of each record. `ByColumn` has the extension put columns together: the partitions
that it takes deliver to its reader, and the consumer is polled only for what else it has, callbacks of the group above all.
"""

from __future__ import annotations

import operator
import time
from dataclasses import dataclass, field
from itertools import compress
from typing import Final, NamedTuple, Protocol, cast

import confluent_kafka as ck
import numpy as np
from confluent_kafka import KafkaError, Message

from streamkit.kafka.client import Headers, Int64s, RecordBatch, TopicPartition
from streamkit.kafka.confluent.batch import MessageBatch, group_by_partition
from streamkit.kafka.confluent.native import Kept, Native, Reader, Run
from streamkit.record.joined import Joined

_OTHERS: Final = 1_000  # events and callbacks of the consumer's own queue in one look
_LOOK_EVERY_S: Final = 0.05  # so often the consumer's own queue is looked at while there are no records


class Event(NamedTuple):
    """An error, or an end of partition; without a topic it is about the whole client."""

    topic: str | None
    partition: int | None
    offset: int | None
    error: KafkaError


class Batch(RecordBatch, Protocol):
    """A batch that can be cut: records before ``offset`` are left out; None if none is left."""

    def since(self, offset: int) -> Batch | None: ...


@dataclass(slots=True)
class Received:
    """``strays`` are partitions of which a record came another way than it should: to be read again from their positions."""

    batches: list[Batch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    strays: set[TopicPartition] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.batches or self.events or self.strays)


class Intake(Protocol):
    follows_seeks: bool
    """Only partitions that were told to `take` may be resumed."""

    def take(self, tp: TopicPartition) -> None:
        """Told of a partition after each seek that succeeded, before it is resumed: its fetcher runs then."""
        ...

    def receive(self, most: int, timeout: float) -> Received:
        """What is there; else waits for the first record only. Callbacks of the consumer run inside."""
        ...

    def close(self) -> None:
        """With the consumer, before or behind it."""
        ...


class ByMessage:
    """A Message for each record."""

    follows_seeks = False

    def __init__(self, consumer: ck.Consumer) -> None:
        self._consumer = consumer

    def take(self, tp: TopicPartition) -> None:
        """All partitions deliver to the consumer."""

    def receive(self, most: int, timeout: float) -> Received:
        """(librdkafka's own wait is for the full number.)"""
        consume = self._consumer.consume
        messages = consume(most, 0)
        if not messages and timeout > 0:
            messages = consume(1, timeout)
            if messages and most > 1:
                messages += consume(most - 1, 0)
        return received(messages)

    def close(self) -> None:
        """Nothing is held."""


def received(messages: list[Message]) -> Received:
    found = Received()
    if any(map(Message.error, messages)):
        errors = list(map(Message.error, messages))
        found.events = [
            Event(message.topic(), message.partition(), message.offset(), cast("KafkaError", message.error()))
            for message in compress(messages, errors)
        ]
        messages = list(compress(messages, map(operator.not_, errors)))
    found.batches = [MessageBatch(tp, of_partition) for tp, of_partition in group_by_partition(messages).items()]
    return found


class ByColumn:
    """Columns from the extension.

    When librdkafka stops a partition's fetcher it takes the forwarding of its queue away, and does not set its own when it starts
    the fetcher again. A seek succeeds only once that has happened, so each one is followed by `take`.
    """

    follows_seeks = True

    def __init__(self, consumer: ck.Consumer, native: Native, reader: Reader) -> None:
        self._consumer = consumer
        self._native = native
        self._reader = reader

    def take(self, tp: TopicPartition) -> None:
        self._reader.take(tp.topic, tp.partition)

    def receive(self, most: int, timeout: float) -> Received:
        """The consumer first: a callback may take partitions away, and what is read after it is of those that are left."""
        deadline = time.monotonic() + timeout
        while True:
            found = Received()
            if others := self._consumer.consume(_OTHERS, 0):
                told = received(others)
                found.events = told.events
                found.strays = {batch.tp for batch in told.batches}
            left = 0.0 if found else min(deadline - time.monotonic(), _LOOK_EVERY_S)
            runs, events = self._reader.read(most, max(0, int(left * 1000)))
            found.batches = [ColumnBatch(self._native, run) for run in runs]
            found.events += [
                Event(topic, partition, offset, KafkaError(code, words)) for topic, partition, offset, code, words in events
            ]
            if found or time.monotonic() >= deadline:
                return found

    def close(self) -> None:
        self._reader.close()


class ColumnBatch:
    """Records of one partition in offset order. Implements RecordBatch.

    ``joined_values`` and ``joined_keys`` are what `values` and `keys` split: byte strings behind each other, and the length of
    each (int32; -1: null). ``joined_keys`` is None if all keys are null.
    """

    __slots__ = (
        "_kept",
        "_native",
        "_offsets",
        "_times",
        "_values",
        "joined_keys",
        "joined_values",
        "leader_epoch",
        "tp",
    )

    def __init__(self, native: Native, run: Run) -> None:
        topic, partition, self.joined_values, self.joined_keys, kept, offsets, timestamps, epoch = run
        self._native = native
        self._values: list[bytes | None] | None = None
        self._kept: Kept = kept
        self.tp = TopicPartition(topic, partition)
        self._offsets: Int64s = np.frombuffer(offsets, np.int64)
        self._times: Int64s = np.frombuffer(timestamps, np.int64)
        self.leader_epoch = None if epoch < 0 else epoch

    def __len__(self) -> int:
        return len(self._offsets)

    def __repr__(self) -> str:
        return f"ColumnBatch({self.tp}@{self.first_offset}, {len(self)} records)"

    def values(self) -> list[bytes | None]:
        if self._values is None:
            self._values = self._native.split(self.joined_values)
        return self._values

    def keys(self) -> list[bytes | None]:
        return [None] * len(self) if self.joined_keys is None else self._native.split(self.joined_keys)

    def offsets(self) -> Int64s:
        return self._offsets

    def timestamps(self) -> Int64s:
        return self._times

    def headers(self, at: Int64s | None = None) -> list[Headers | None]:
        found = self._kept.headers(at)
        return [None] * (len(self) if at is None else len(at)) if found is None else found

    @property
    def first_offset(self) -> int:
        return int(self._offsets[0])

    @property
    def next_offset(self) -> int:
        return int(self._offsets[-1]) + 1

    def since(self, offset: int) -> ColumnBatch | None:
        start = int(np.searchsorted(self._offsets, offset))
        if start == len(self):
            return None
        keys = None if self.joined_keys is None else _without(self.joined_keys, start)
        offsets, timestamps = (bytearray(column[start:].tobytes()) for column in (self._offsets, self._times))
        epoch = -1 if self.leader_epoch is None else self.leader_epoch
        values = _without(self.joined_values, start)
        return ColumnBatch(
            self._native, (*self.tp, values, keys, _Rest(self._kept, start, len(self)), offsets, timestamps, epoch)
        )


class _Rest:
    """Messages without the first ones."""

    def __init__(self, kept: Kept, start: int, count: int) -> None:
        self._kept, self._start, self._count = kept, start, count

    def headers(self, positions: Int64s | None, /) -> list[Headers | None] | None:
        everything = np.arange(self._start, self._count)
        return self._kept.headers(everything if positions is None else positions + self._start)


def _without(joined: Joined, count: int) -> Joined:
    """What is left without the first ones."""
    content, lengths = joined
    size = int(np.maximum(np.frombuffer(lengths, np.int32, count), 0).sum())
    return content[size:], lengths[count * 4 :]
