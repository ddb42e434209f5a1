"""Records by columns: batches of the extension, and the two queues that `ByColumn` reads."""

from __future__ import annotations

from typing import Any

import confluent_kafka as ck
import numpy as np
import pytest

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.confluent.intake import ByColumn, ColumnBatch
from streamkit.kafka.confluent.native import Extension
from tests.unit.kafka_confluent.columns import HEADERS, KEYS, VALUES, Kept, Native, T, batch, joined

try:
    from streamkit.kafka.confluent import _native
except ImportError as error:
    built = pytest.mark.skip(reason=f"the extension is not built: {error}")
else:
    built = pytest.mark.skipif(False, reason="")


def columns(batch: ColumnBatch) -> tuple[Any, ...]:
    return (batch.offsets().tolist(), batch.timestamps().tolist(), batch.values(), batch.keys(), batch.headers())


def test_the_columns_of_a_batch():
    of = batch()
    assert len(of) == 5
    assert columns(of) == ([3, 4, 7, 8, 9], [1, 2, -1, 4, 5], VALUES, KEYS, HEADERS)
    assert (of.tp, of.first_offset, of.next_offset, of.leader_epoch) == (T, 3, 10, 7)
    assert repr(of) == "ColumnBatch(t-0@3, 5 records)"


def test_no_keys_no_headers_and_no_epoch():
    of = batch(keys=None, kept=Kept(None), epoch=-1)
    assert of.keys() == of.headers() == [None] * 5
    assert of.leader_epoch is None


def test_headers_are_read_only_if_somebody_wants_them_and_of_the_records_that_it_wants():
    kept = Kept(HEADERS)
    of = batch(kept=kept)
    of.values(), of.keys()
    assert kept.asked == 0
    assert of.headers(np.array([4, 1], np.int64)) == [HEADERS[4], HEADERS[1]]
    assert of.headers() == HEADERS
    assert batch(kept=Kept(None)).headers(np.array([4, 1], np.int64)) == [None, None]


@pytest.mark.parametrize("offset, start", [(0, 0), (3, 0), (4, 1), (5, 2), (7, 2), (9, 4)])
@pytest.mark.parametrize("keys", [KEYS, None])
def test_a_batch_is_cut_at_an_offset(offset, start, keys):
    left = batch(keys=keys).since(offset)
    assert left is not None
    whole = batch(keys=keys)
    assert columns(left) == tuple(column[start:] for column in columns(whole))
    assert (left.tp, left.leader_epoch, left.next_offset) == (T, 7, 10)
    assert left.headers(np.array([0], np.int64)) == HEADERS[start : start + 1]
    again = left.since(9)
    assert again is not None
    assert again.headers() == HEADERS[4:]


def test_nothing_is_left_of_a_batch_that_is_behind():
    assert batch().since(10) is None


@built
@pytest.mark.parametrize("parts", [[], [None], [b""], [b"", None, b""], VALUES, [b"x" * 100_000, None, b"\xff"]])
def test_split(parts):
    assert _native.split(joined(parts)) == parts


@built
@pytest.mark.parametrize("native", [Native, pytest.param(None, id="extension")])
def test_the_extension_splits_as_described(native):
    assert columns(batch(native or _native)) == columns(batch())


@built
def test_lengths_that_are_more_than_there_is_are_refused():
    content, lengths = joined([b"abc", b"def"])
    with pytest.raises(ValueError, match="more than there is"):
        _native.split((content[:-1], lengths))


@built
def test_more_records_than_can_be_counted_in_bytes_are_refused():
    _consumer, reader = Extension().reader(ck.Consumer, {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "group.id": "g"})
    assert reader is not None
    assert reader.read(1, 0) == ([], [])
    for most in (2**61, 2**61 + 1, 2**63 - 1):  # eight bytes each: of the second, a single one would be left
        with pytest.raises(MemoryError):
            reader.read(most, 0)
    assert reader.read(2, 0) == ([], [])
    reader.close()


class Reader:
    """Gives what it is told to, read by read; ``waits`` are the time-outs it was asked with."""

    def __init__(self, *reads: tuple[list[Any], list[Any]]) -> None:
        self.reads = list(reads)
        self.waits: list[int] = []
        self.taken: list[tuple[str, int]] = []
        self.closed = False

    def take(self, topic: str, partition: int, /) -> None:
        self.taken.append((topic, partition))

    def read(self, most: int, timeout_ms: int, /) -> tuple[list[Any], list[Any]]:
        assert most > 0
        self.waits.append(timeout_ms)
        return self.reads.pop(0) if self.reads else ([], [])

    def close(self) -> None:
        self.closed = True


class Consumer:
    """The consumer's own queue; Messages are made by confluent-kafka alone, so here it holds nothing but calls."""

    def __init__(self) -> None:
        self.looks: list[tuple[int, float]] = []

    def consume(self, most: int, timeout: float) -> list[Any]:
        self.looks.append((most, timeout))
        return []


def run(partition: int) -> tuple[Any, ...]:
    one = bytearray(np.array([5], np.int64).tobytes())
    return ("t", partition, joined([b"v"]), None, Kept(None), one, one, -1)


def intake(*reads: tuple[list[Any], list[Any]]) -> tuple[ByColumn, Consumer, Reader]:
    consumer, reader = Consumer(), Reader(*reads)
    return ByColumn(consumer, Native, reader), consumer, reader  # type: ignore[arg-type] # a stand-in


def test_what_is_there_comes_at_once_behind_one_look_at_the_consumer():
    by_column, consumer, reader = intake(([run(0), run(1)], [("t", 2, 9, -191, "end")]))
    found = by_column.receive(100, 5.0)
    assert [(batch.tp.partition, batch.values()) for batch in found.batches] == [(0, [b"v"]), (1, [b"v"])]
    assert [(event.topic, event.partition, event.offset, event.error.name()) for event in found.events] == [
        ("t", 2, 9, "_PARTITION_EOF")
    ]
    assert len(consumer.looks) == len(reader.waits) == 1
    assert consumer.looks[0][1] == 0


def test_the_consumer_is_looked_at_at_least_every_50_ms_while_nothing_comes():
    """Rebalances run in those looks, and librdkafka counts them against max.poll.interval.ms."""
    by_column, consumer, reader = intake(([], []), ([], []), ([run(0)], []))
    assert by_column.receive(100, 5.0).batches
    assert len(consumer.looks) == 3
    assert max(reader.waits) <= 50


def test_the_consumer_is_looked_at_for_every_batch_while_records_never_end():
    by_column, consumer, _ = intake(*[([run(0)], [])] * 20)
    for _ in range(20):
        by_column.receive(100, 0.0)
    assert len(consumer.looks) == 20


def test_nothing_comes_and_the_time_is_over():
    by_column, _, reader = intake()
    assert not by_column.receive(100, 0.0)
    assert reader.waits == [0]


def test_take_and_close_are_the_readers():
    by_column, _, reader = intake()
    by_column.take(TopicPartition("t", 4))
    by_column.close()
    assert reader.taken == [("t", 4)]
    assert reader.closed
