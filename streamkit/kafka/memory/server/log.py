"""The log of one partition: batches in offset order, control markers among them, and what transactions do to its end.

A batch holds the records of one producer that lie next to each other. Offsets inside a batch are dense until compaction has
taken records out of it; then it has a column of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError

MAX_SEQUENCE = 2**31 - 1  # sequence numbers go on at 0 behind it
_REMEMBERED_BATCHES = 5
_COALESCE_RECORDS = 4096


class Isolation(Enum):
    READ_UNCOMMITTED = "read_uncommitted"
    READ_COMMITTED = "read_committed"


class Marker(Enum):
    COMMIT = "commit"
    ABORT = "abort"


class ProducerId(NamedTuple):
    """Who produces: an id per transactional id, and the epoch that fences older owners of it."""

    id: int
    epoch: int


class Span(NamedTuple):
    """A run of records at consecutive offsets."""

    first_offset: int
    records: int


@dataclass(slots=True, eq=False)
class StoredBatch:
    """Records of one producer from ``base_offset`` on, or one control marker.

    ``offsets`` is None while they are dense. ``end`` is what lies behind the batch, also where its last records were compacted
    away. ``delete_horizon_ms`` is when its tombstones may go.
    """

    base_offset: int
    columns: Columns
    producer: ProducerId | None = None
    marker: Marker | None = None
    aborted: bool = False
    offsets: array[int] | None = None
    end: int | None = None
    delete_horizon_ms: int | None = None

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.columns) if self.end is None else self.end

    def index_of(self, offset: int) -> int:
        """The index of the first record at `offset` or behind it."""
        return max(offset - self.base_offset, 0) if self.offsets is None else bisect_left(self.offsets, offset)

    def offset_at(self, index: int) -> int:
        return self.base_offset + index if self.offsets is None else self.offsets[index]

    def spans(self, first: int, last: int) -> Iterator[Span]:
        """The runs of consecutive offsets of the records at the indices from `first` up to `last`."""
        if self.offsets is None:
            yield Span(self.base_offset + first, last - first)
            return
        start = first
        for index in range(first + 1, last + 1):
            if index == last or self.offsets[index] != self.offsets[index - 1] + 1:
                yield Span(self.offsets[start], index - start)
                start = index

    def keep(self, wanted: list[int]) -> None:
        """Takes all but the records at these indices out."""
        if len(wanted) == len(self.columns):
            return
        self.end = self.next_offset
        self.offsets = array("q", [self.offset_at(index) for index in wanted])
        self.columns = self.columns.pick(wanted)

    def visible_to(self, isolation: Isolation) -> bool:
        return self.marker is None and not (self.aborted and isolation is Isolation.READ_COMMITTED)

    def takes(self, producer: ProducerId | None) -> bool:
        """Whether records of `producer` that come next may simply be added."""
        return self.marker is None and self.end is None and self.producer == producer and len(self.columns) < _COALESCE_RECORDS


class AppendedBatch(NamedTuple):
    """Where a batch with sequence numbers was appended, to recognise its repetition."""

    first_sequence: int
    records: int
    base_offset: int


@dataclass(slots=True)
class ProducerState:
    """What a partition remembers of a producer id: its epoch, the next sequence number, its last batches."""

    epoch: int
    next_sequence: int | None = None  # None: nothing was appended with this epoch
    batches: deque[AppendedBatch] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))


@dataclass(slots=True, eq=False)
class OpenTransaction:
    """The records that a transaction has in this partition so far."""

    first_offset: int
    batches: list[StoredBatch] = field(default_factory=list)


@dataclass(slots=True)
class Segment:
    """The active segment: where it starts, when it was begun, how large it is. What lies before it may be cleaned."""

    base_offset: int
    begun_ms: int
    bytes: int


@dataclass(slots=True)
class Fetched:
    """The visible records from an offset on, where they lie, and the offset to fetch next (behind skipped records)."""

    columns: Columns
    spans: list[Span]
    next_position: int
    high_watermark: int
    last_stable_offset: int
    leader_epoch: int


def _base_offset(batch: StoredBatch) -> int:
    return batch.base_offset


class PartitionLog:
    """Owns the records of one partition. The caller holds the cluster's lock."""

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.start_offset = 0
        self.high_watermark = 0
        self.leader_epoch = 0
        self._batches: list[StoredBatch] = []
        self._segment = Segment(0, 0, 0)
        self._open: dict[int, OpenTransaction] = {}  # by producer id; in the order of their first offsets
        self._producers: dict[int, ProducerState] = {}

    @property
    def last_stable_offset(self) -> int:
        """The first offset that an open transaction may still abort, or the high watermark."""
        for transaction in self._open.values():
            return max(transaction.first_offset, self.start_offset)
        return self.high_watermark

    def end(self, isolation: Isolation) -> int:
        return self.last_stable_offset if isolation is Isolation.READ_COMMITTED else self.high_watermark

    @property
    def open_producers(self) -> list[int]:
        """Ids of the producers whose transaction is open in this partition."""
        return list(self._open)

    def append(self, columns: Columns, producer: ProducerId | None = None, first_sequence: int | None = None) -> int:
        """Adds records; those of a producer id belong to its open transaction. Returns the first one's offset. A sequence number
        that is not the next one of its producer is refused (a `repetition` is for the caller to recognise)."""
        state = self._check_epoch(producer)
        if state is not None and first_sequence is not None:
            self._check_sequence(state, producer, first_sequence)
            state.next_sequence = (first_sequence + len(columns)) % (MAX_SEQUENCE + 1)
            state.batches.append(AppendedBatch(first_sequence, len(columns), self.high_watermark))
        base = self.high_watermark
        last = self._batches[-1] if self._batches else None
        if last is not None and last.takes(producer) and last.base_offset >= self._segment.base_offset:
            last.columns.extend(columns)
        else:
            last = StoredBatch(base, columns, producer)
            self._batches.append(last)
            if producer is not None:
                self._open.setdefault(producer.id, OpenTransaction(base)).batches.append(last)
        self.high_watermark = base + len(columns)
        return base

    def repetition(self, producer: ProducerId, first_sequence: int, records: int) -> int | None:
        """The offset of the batch, if it is one of the producer's last five again."""
        state = self._producers.get(producer.id)
        if state is None or state.epoch != producer.epoch:
            return None
        for batch in state.batches:
            if batch.first_sequence == first_sequence and batch.records == records:
                return batch.base_offset
        return None

    def _check_sequence(self, state: ProducerState, producer: ProducerId | None, first_sequence: int) -> None:
        """A new epoch starts at 0. A producer that is not known (its records are gone) may go on with any number."""
        expected = state.next_sequence
        if expected is not None and first_sequence != expected:
            message = f"{self.tp}: {producer} sent sequence number {first_sequence}, the next one is {expected}"
            raise BrokerError("OUT_OF_ORDER_SEQUENCE_NUMBER", message)

    def roll(self, size: int, now_ms: int, segment_bytes: int, segment_ms: int) -> None:
        """Before `size` bytes are appended: begins a new segment if the active one is full, or old."""
        segment = self._segment
        full = segment.bytes + size > segment_bytes or now_ms - segment.begun_ms >= segment_ms
        if full or segment.base_offset == self.high_watermark:
            self._segment = Segment(self.high_watermark, now_ms, size)
        else:
            segment.bytes += size

    def end_transaction(self, producer: ProducerId, marker: Marker, now_ms: int) -> None:
        """Writes the control marker that makes the producer's records here visible, or skipped for ever."""
        self._check_epoch(producer)
        control = Columns()
        control.append(None, None, now_ms, None)
        self._batches.append(StoredBatch(self.high_watermark, control, producer, marker))
        self.high_watermark += 1
        transaction = self._open.pop(producer.id, None)
        if transaction is not None and marker is Marker.ABORT:
            for batch in transaction.batches:
                batch.aborted = True

    def _check_epoch(self, producer: ProducerId | None) -> ProducerState | None:
        """The state of the producer, whose sequence numbers start anew with a higher epoch."""
        if producer is None:
            return None
        state = self._producers.get(producer.id)
        if state is None:
            state = self._producers[producer.id] = ProducerState(producer.epoch)
        elif producer.epoch < state.epoch:
            raise BrokerError("INVALID_PRODUCER_EPOCH", f"{self.tp}: epoch {producer.epoch} is older than {state.epoch}")
        elif producer.epoch > state.epoch:
            state = self._producers[producer.id] = ProducerState(producer.epoch, next_sequence=0)
        return state

    def fetch(self, offset: int, max_records: int, isolation: Isolation) -> Fetched:
        """At most `max_records` visible records from `offset` on, and the position behind everything that was skipped."""
        if not self.start_offset <= offset <= self.high_watermark:
            log = f"the log has {self.start_offset} to {self.high_watermark}"
            raise BrokerError("OFFSET_OUT_OF_RANGE", f"{self.tp}: offset {offset} is not in the log, {log}")
        end = self.end(isolation)
        position, room = offset, max_records
        columns, spans = Columns(), list[Span]()
        for index in range(self._index_at(offset), len(self._batches)):
            batch = self._batches[index]
            if batch.base_offset >= end:
                break
            if not batch.visible_to(isolation):
                position = max(position, batch.next_offset)
                continue
            first = batch.index_of(position)
            last = min(len(batch.columns), first + room)
            if first < last:
                columns = _joined(columns, batch.columns.cut(first, last))
                for span in batch.spans(first, last):
                    _add_span(spans, span)
                position = batch.offset_at(last - 1) + 1
                room -= last - first
            if last < len(batch.columns):  # the rest of it comes before anything that could be skipped
                break
            position = max(position, batch.next_offset)
        return Fetched(columns, spans, position, self.high_watermark, self.last_stable_offset, self.leader_epoch)

    def _index_at(self, offset: int) -> int:
        """The index of the batch that holds `offset`, or of the first one behind it."""
        index = max(bisect_right(self._batches, offset, key=_base_offset) - 1, 0)
        return index + 1 if self._batches and self._batches[index].next_offset <= offset else index

    def delete_before(self, offset: int) -> None:
        """Moves the start of the log up to `offset`; whole batches below it are freed."""
        self.start_offset = max(self.start_offset, offset)
        del self._batches[: self._index_at(self.start_offset)]

    # -- cleaning -----------------------------------------------------------------------------------------------------

    def compact(self, now_ms: int, delete_retention_ms: int) -> None:
        """Keeps the latest record of each key, of what lies before the active segment and the last stable offset; data of
        aborted transactions goes. A tombstone goes when a later pass finds that ``delete.retention.ms`` are over."""
        end = min(self._segment.base_offset, self.last_stable_offset)
        batches = [batch for batch in self._batches if batch.next_offset <= end and batch.marker is None]
        latest: dict[bytes, int] = {}
        for batch in batches:
            if not batch.aborted:
                latest.update((key, batch.offset_at(i)) for i, key in enumerate(batch.columns.keys) if key is not None)
        for batch in batches:
            self._compact_batch(batch, latest, now_ms, delete_retention_ms)

    @staticmethod
    def _compact_batch(batch: StoredBatch, latest: dict[bytes, int], now_ms: int, delete_retention_ms: int) -> None:
        expired = batch.delete_horizon_ms is not None and now_ms >= batch.delete_horizon_ms
        if batch.delete_horizon_ms is None and None in batch.columns.values:
            batch.delete_horizon_ms = now_ms + delete_retention_ms
        wanted = [
            index
            for index, (key, value) in enumerate(zip(batch.columns.keys, batch.columns.values, strict=True))
            if not batch.aborted and key is not None and latest[key] == batch.offset_at(index) and not (expired and value is None)
        ]
        batch.keep(wanted)

    def delete_older_than(self, timestamp: int) -> None:
        """Retention by time: drops batches from the start while their newest record is older, up to the active segment."""
        start = self.start_offset
        for batch in self._batches:
            if batch.next_offset > self._segment.base_offset or max(batch.columns.timestamps, default=-1) >= timestamp:
                break
            start = batch.next_offset
        self.delete_before(min(start, self.last_stable_offset))

    def delete_larger_than(self, size: int) -> None:
        """Retention by size: drops batches from the start while the rest is at least as large, up to the active segment."""
        sizes = [sum(batch.columns.sizes()) for batch in self._batches]
        left, start = sum(sizes), self.start_offset
        for batch, of_batch in zip(self._batches, sizes, strict=True):
            left -= of_batch
            if batch.next_offset > self._segment.base_offset or left < size:
                break
            start = batch.next_offset
        self.delete_before(min(start, self.last_stable_offset))


def _joined(head: Columns, tail: Columns) -> Columns:
    if not len(head):
        return tail
    head.extend(tail)
    return head


def _add_span(spans: list[Span], span: Span) -> None:
    if spans and spans[-1].first_offset + spans[-1].records == span.first_offset:
        spans[-1] = Span(spans[-1].first_offset, spans[-1].records + span.records)
    else:
        spans.append(span)
