"""Batches whose values and keys the client put together: the same batches, errors and keys as from objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from streamkit.errors import DecodeError
from streamkit.eventtime.watermark import PartitionWatermark
from streamkit.operators.sink import wire_keys
from streamkit.operators.source import Decoding, SourceReader
from streamkit.plan.nodes import EventTime
from streamkit.record.model import Model
from streamkit.serdes.compiled import COLUMNS
from streamkit.serdes.json import JsonSerde
from streamkit.serdes.keys import IntKey, StringKey

SIZE = 100
FIELDS = frozenset({"price", "at"})


class Bid(Model):
    item: str
    price: float
    at: int


@dataclass
class Fetched:
    """What a client gives record by record; its first record has offset 100."""

    data: list[bytes | None]
    record_keys: list[bytes | None]
    tp: tuple[str, int] = ("bids", 3)
    first_offset: int = 100
    leader_epoch: int | None = None
    asked: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.data)

    def values(self) -> list[bytes | None]:
        self.asked.append("values")
        return self.data

    def keys(self) -> list[bytes | None]:
        self.asked.append("keys")
        return self.record_keys

    def headers(self, at: Any = None) -> list[Any]:
        return [None] * len(self.data if at is None else at)

    def offsets(self):
        return np.arange(self.first_offset, self.next_offset)

    def timestamps(self):
        return np.zeros(len(self.data), np.int64)

    @property
    def next_offset(self) -> int:
        return self.first_offset + len(self.data)


class Together(Fetched):
    """The same from a client that puts them together."""

    @staticmethod
    def _joined(strings: list[bytes | None]) -> tuple[bytearray, bytearray]:
        lengths = np.array([-1 if one is None else len(one) for one in strings], np.int32)
        return bytearray(b"".join(one for one in strings if one is not None)), bytearray(lengths.tobytes())

    @property
    def joined_values(self):
        return self._joined(self.data)

    @property
    def joined_keys(self):
        return None if set(self.record_keys) == {None} else self._joined(self.record_keys)


class Rejected:
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def reject(self, error: Exception) -> None:
        self.errors.append(error)


def values() -> list[bytes | None]:
    return [b'{"item":"%d","price":%d.5,"at":%d}' % (i, i, 1_586_952_000_000 + i) for i in range(SIZE)]


def keys() -> list[bytes | None]:
    return [b"%d" % (i % 7) for i in range(SIZE)]


def read(fetched: Fetched, key: Any = IntKey(), *, keys_now: bool = True):  # noqa: B008 - a value
    """What is seen of the batch, what was rejected, and what the client was asked for."""
    failures = Rejected()
    decoding = Decoding(JsonSerde(Bid), key, FIELDS, tuple(sorted(FIELDS)), decode_keys_now=keys_now)
    batch = SourceReader("bids", decoding, EventTime("at"), failures).read(fetched, PartitionWatermark(0))
    columns = {name: batch.column(name).to_list() for name in FIELDS}
    seen = columns, batch.timestamps.tolist(), batch.offsets().tolist(), list(batch.keys) if keys_now else None
    return batch, seen, [str(error) for error in failures.errors], fetched.asked


BAD = [None, b"", b"{", b"[]", b'{"price":1}', b'{"price":"1","at":1}', b'{"price":NaN,"at":1}', b'{"price":1,"at":1}x', b"\xff"]


@pytest.mark.parametrize("bad", [[], *([one] for one in BAD), BAD], ids=str)
@pytest.mark.parametrize("bad_keys", [[], [None], [b"x"], [b"07", None, b"9" * 30]], ids=str)
def test_the_same_as_from_objects(bad, bad_keys):
    data, record_keys = values(), keys()
    for place, one in enumerate(bad):
        data[3 + 9 * place] = one
    for place, one in enumerate(bad_keys):
        record_keys[5 + 11 * place] = one
    _, apart, apart_errors, _ = read(Fetched(data, record_keys))
    _, together, errors, _ = read(Together(data, record_keys))
    assert together == apart
    assert errors == apart_errors
    assert len(errors) == len(bad) + sum(1 for one in bad_keys if one in (b"x", b"07"))
    for error in errors:
        assert re.search(r"bids-3@1\d\d", error)


def test_the_place_of_the_first_error():
    class Stops:
        def reject(self, error):
            raise error

    data = values()
    data[60] = b'{"price":1,"at":"x"}'
    decoding = Decoding(JsonSerde(Bid), IntKey(), FIELDS, tuple(sorted(FIELDS)), decode_keys_now=True)
    with pytest.raises(DecodeError, match="bids-3@160"):
        SourceReader("bids", decoding, EventTime("at"), Stops()).read(Together(data, keys()), PartitionWatermark(0))


@pytest.mark.skipif(COLUMNS is None, reason="the compiled module of the serdes is not built, or STREAMKIT_NATIVE=off")
def test_no_object_is_made_of_what_is_usual():
    assert read(Together(values(), keys()))[3] == []
    assert read(Together(values(), keys()), StringKey())[3] == ["keys"]
    assert read(Together([None, *values()], keys()), keys_now=False)[3] == ["values"]


@pytest.mark.parametrize("make", [Fetched, Together])
def test_keys_that_are_passed_on(make):
    record_keys = [None, *keys()[1:]]
    batch, *_ = read(make(values(), record_keys), keys_now=False)
    for at in ([], [0], [1, 5, 99], list(range(SIZE)), [5, 1], [2, 2]):
        assert wire_keys(batch.take(np.array(at, np.int64))) == [record_keys[i] for i in at]
    assert wire_keys(batch) == record_keys
    nulls, *_ = read(make(values(), [None] * SIZE), keys_now=False)
    assert wire_keys(nulls.take(np.array([3]))) == [None]
