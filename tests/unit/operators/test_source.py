"""Sources that read blocks of values: the same batches and the same errors as record by record, whatever the size of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from streamkit.errors import DecodeError, RecordError
from streamkit.eventtime.watermark import PartitionWatermark
from streamkit.operators.source import BLOCK_RECORDS, Decoding, SourceReader
from streamkit.plan.nodes import EventTime
from streamkit.record.batch import Batch
from streamkit.record.model import Model
from streamkit.serdes.avro import AvroSerde, avro
from streamkit.serdes.keys import BytesKey
from streamkit.serdes.serde import Serde

START = datetime(2020, 4, 15, 12, tzinfo=UTC)
SIZE = 2 * BLOCK_RECORDS


class Bid(Model):
    item: str
    price: float
    at: datetime
    note: str | None = None


class OldBid(Model):
    at: datetime
    price: int
    item: str


class Stranger(Model):
    item: str


SERDE = avro(Bid, writers=[avro(OldBid).avro_schema])
FIELDS = frozenset({"item", "price", "at"})


@dataclass
class Fetched:
    """What one poll gave of partition 3; its first record has offset 100."""

    data: list[bytes | None]
    tp: tuple[str, int] = ("bids", 3)
    first_offset: int = 100
    leader_epoch: int | None = None

    def __len__(self) -> int:
        return len(self.data)

    def values(self) -> list[bytes | None]:
        return self.data

    def keys(self) -> list[bytes | None]:
        return [None] * len(self.data)

    def headers(self, at: Any = None) -> list[Any]:
        return [None] * len(self.data if at is None else at)

    def offsets(self):
        return np.arange(self.first_offset, self.next_offset)

    def timestamps(self):
        return np.zeros(len(self.data), np.int64)

    @property
    def next_offset(self) -> int:
        return self.first_offset + len(self.data)


class Failures:
    """Notes what was rejected; stops at the first one unless ``skip``."""

    def __init__(self, *, skip: bool) -> None:
        self.skip = skip
        self.errors: list[RecordError] = []

    def reject(self, error: RecordError) -> None:
        if not self.skip:
            raise error
        self.errors.append(error)


@dataclass(frozen=True)
class RowsOnly(Serde):
    """The same serde without its way to read blocks."""

    serde: AvroSerde

    @property
    def name(self):
        return self.serde.name

    @property
    def schema(self):
        return self.serde.schema

    def decoder(self, fields=None):
        return self.serde.decoder(fields)

    def encoder(self):
        return self.serde.encoder()


def read(serde: Any, data: list[bytes | None], *, skip: bool = True, fields: frozenset[str] | None = FIELDS):
    """The batch, how many blocks were read, what was rejected."""
    failures = Failures(skip=skip)
    decoding = Decoding(serde, BytesKey(), fields, tuple(sorted(fields or ())), decode_keys_now=False)
    reader = SourceReader("bids", decoding, EventTime("at"), failures)
    rows = []
    decode = reader._decode
    reader._decode = lambda value: rows.append(value) or decode(value)
    batch = reader.read(Fetched(data), PartitionWatermark(0))
    return batch, len(rows), failures.errors


def seen(batch: Batch) -> Any:
    columns = {name: batch.column(name).to_list() for name in FIELDS}
    watermarks = None if batch.watermarks is None else batch.watermarks.tolist()
    return columns, batch.timestamps.tolist(), watermarks, batch.offsets().tolist(), batch.rows()


def bids(count: int) -> list[bytes]:
    encode = SERDE.encoder()
    return [encode(Bid(f"item-{i % 7}", i / 4, START + timedelta(seconds=i), None if i % 2 else "x")) for i in range(count)]


def old_bids(count: int) -> list[bytes]:
    encode = avro(OldBid).encoder()
    return [encode(OldBid(START + timedelta(seconds=i), i, f"old-{i % 3}")) for i in range(count)]


@pytest.mark.parametrize("count,in_block", [(BLOCK_RECORDS - 1, False), (BLOCK_RECORDS, True), (SIZE, True)])
def test_a_block_is_read_from_some_size_on(count, in_block):
    data = bids(count)
    data[5:45:4] = old_bids(10)  # of another writer, in between
    batch, rows, _ = read(SERDE, data)
    assert (rows == 0) is in_block
    expected, one_by_one, _ = read(RowsOnly(SERDE), data)
    assert one_by_one == count
    assert seen(batch) == seen(expected)


def test_whole_values_are_rows():
    batch, rows, _ = read(SERDE, bids(SIZE), fields=None)
    assert rows == SIZE
    assert batch.rows()[0] == Bid("item-0", 0.0, START, "x")


def bad_values():
    good = bids(1)[0]
    header = good[:10]
    return {
        "cut": good[:-1],
        "too-long": good + b"\0",
        "unlisted-schema": avro(Stranger).encoder()(Stranger("A")),
        "json": b'{"item": "A"}',
        "empty": b"",
        "tombstone": None,
        "not-utf-8": header + b"\x02\xff" + good[10 + 7 :],
        "year-292277": header + b"\x02A" + bytes(8) + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0",
        "no-such-branch": good[:-3] + b"\x08\x02x",
    }


@pytest.mark.parametrize("kind", bad_values())
def test_a_bad_value_is_the_same_error_at_the_same_place(kind):
    data: list[bytes | None] = list(bids(SIZE))
    data[70] = bad_values()[kind]
    found = []
    for serde in (SERDE, RowsOnly(SERDE)):
        with pytest.raises(DecodeError) as caught:
            read(serde, data, skip=False)
        found.append(caught.value)
    assert str(found[0]) == str(found[1])
    assert (found[0].topic, found[0].partition, found[0].offset) == ("bids", 3, 170)
    assert "bids-3@170" in str(found[0])


def test_bad_values_are_left_out_and_the_others_kept():
    data: list[bytes | None] = list(bids(SIZE))
    bad = bad_values()
    for place, kind in enumerate(bad):
        data[5 + 9 * place] = bad[kind]
    batch, _, errors = read(SERDE, data)
    expected, _, expected_errors = read(RowsOnly(SERDE), data)
    assert [str(error) for error in errors] == [str(error) for error in expected_errors]
    assert len(errors) == len(bad)
    assert seen(batch) == seen(expected)
    assert len(batch) == SIZE - len(bad)


def test_values_cut_where_the_next_begins():
    """One too short and one too long for it: together they have the length of two."""
    data: list[bytes | None] = list(bids(SIZE))
    data[80], data[81] = data[80][:-2], data[80][-2:] + data[81]
    _, _, errors = read(SERDE, data)
    assert [error.offset for error in errors] == [180, 181]
