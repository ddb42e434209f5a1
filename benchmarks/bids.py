"""The workload: Nexmark-like bids of about 195 bytes of JSON, and what a tumbling window over them must give.

Everything follows from a seed. Time runs over 1,000 s of events; each is up to 1 s behind, and one in 2,000 lies 15 to 40 s back,
which makes most of those late. The reference shares nothing with an engine: numpy over all records at once, from the written
semantics (a record is late iff its own partition had seen a time of at least the window's end + out-of-orderness before it).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import repeat

import msgspec
import numpy as np
import numpy.typing as npt
from confluent_kafka import Producer

Int64s = npt.NDArray[np.int64]

BASE_MS = 1_700_000_000_000
SPAN_MS = 1_000_000
END_MS = BASE_MS + SPAN_MS + 3_600_000  # of the records that `with_ends` adds
SIZE_MS = 10_000
VISIT_MS = 20_000
OUT_OF_ORDERNESS_MS = 1_000

_LATE_SHARE = 0.0005
_SLICE = 20_000
_CODE = 1 << 32  # results are sorted by window start, then key: code = window number * _CODE + key
_PAYLOAD = (
    b'{"auction":%d,"bidder":%d,"price":%d,"channel":"channel-%d",'
    b'"url":"https://www.nexmark.com/abc/def/ghi/item.htm?query=1&channel_id=%d","dateTime":%d,"extra":"xxxxxxxxxxx"}'
)


@dataclass(frozen=True, slots=True)
class Bids:
    """Columns of the generated records, in the order in which they are produced. The key is the auction."""

    auction: Int64s
    bidder: Int64s
    price: Int64s
    channel: Int64s
    at_ms: Int64s

    def __len__(self) -> int:
        return len(self.auction)

    def payloads(self, part: slice) -> list[bytes]:
        columns = (self.auction, self.bidder, self.price, self.channel, self.channel, self.at_ms)
        return list(map(_PAYLOAD.__mod__, zip(*(column[part].tolist() for column in columns), strict=True)))


@dataclass(frozen=True, slots=True)
class Form:
    """How bids are written: the pattern of the record's key, and what becomes of the JSON."""

    key: bytes = b"%d"
    encode: Callable[[list[bytes]], list[bytes]] = list


JSON = Form()


@dataclass(frozen=True, slots=True)
class Windows:
    """Results, sorted by window start and key. ``code`` stands for both."""

    code: Int64s
    count: Int64s
    total: Int64s
    highest: Int64s

    def __len__(self) -> int:
        return len(self.code)

    def difference(self, found: Windows) -> str | None:
        """What is wrong with what was found, in words; None if it is the same, row by row."""
        if len(found) != len(np.unique(found.code)):
            return f"{len(found) - len(np.unique(found.code)):,} results occur twice"
        missing, extra = np.setdiff1d(self.code, found.code), np.setdiff1d(found.code, self.code)
        if len(missing) or len(extra):
            return f"{len(missing):,} of {len(self):,} results are missing, {len(extra):,} should not be there"
        for name in ("count", "total", "highest"):
            wrong = np.flatnonzero(getattr(self, name) != getattr(found, name))
            if len(wrong):
                return f"'{name}' is wrong in {len(wrong):,} of {len(self):,} results"
        return None


def bids(records: int, keys: int, *, seed: int = 7) -> Bids:
    rng = np.random.default_rng(seed)
    auction = rng.integers(0, keys, records)
    bidder = rng.integers(0, 50_000, records)
    price = rng.integers(100, 10_000_000, records)
    channel = rng.integers(0, 10_000, records)
    at_ms = BASE_MS + (np.arange(records) * (SPAN_MS / records)).astype(np.int64) - rng.integers(0, 1_000, records)
    late = rng.random(records) < _LATE_SHARE
    at_ms = np.where(late, at_ms - rng.integers(15_000, 40_000, records), at_ms)
    return Bids(auction, bidder, price, channel, at_ms)


def visits(records: int, keys: int, *, seed: int = 7) -> Bids:
    """Bids on ``keys`` auctions at a time, on others every 20 s: each has one session, with a gap that is shorter."""
    made = bids(records, keys, seed=seed)
    turn = np.arange(records) * (SPAN_MS / records) // VISIT_MS
    return replace(made, auction=made.auction + keys * turn.astype(np.int64))


def one_bid_per_key(records: int) -> Bids:
    """Every record has a key of its own, and time hardly moves: for state that only grows."""
    made = bids(records, 1)
    keys = np.random.default_rng(7).permutation(records)
    return Bids(keys, made.bidder, made.price, made.channel, BASE_MS + np.arange(records) // 1_000)


def with_ends(made: Bids, partitions: int) -> Bids:
    """With one more record at the end of each partition, an hour later: engines that know no end of input close their windows."""
    ends = np.arange(partitions)
    return Bids(
        np.concatenate((made.auction, ends)),
        np.concatenate((made.bidder, ends)),
        np.concatenate((made.price, np.full(partitions, 100))),
        np.concatenate((made.channel, ends)),
        np.concatenate((made.at_ms, np.full(partitions, END_MS))),
    )


def expected(made: Bids, partitions: int = 1, *, late_too: bool = False) -> Windows:
    """What must come out at the end of all input. ``late_too``: if nothing were late."""
    kept = np.arange(len(made)) if late_too else in_time(made, partitions)
    code = (made.at_ms[kept] // SIZE_MS) * _CODE + made.auction[kept]
    order = np.argsort(code, kind="stable")
    code, price = code[order], made.price[kept][order]
    starts = np.flatnonzero(np.concatenate(([True], code[1:] != code[:-1])))
    return Windows(
        code[starts],
        np.diff(starts, append=len(code)),
        np.add.reduceat(price, starts),
        np.maximum.reduceat(price, starts),
    )


def in_time(made: Bids, partitions: int) -> Int64s:
    """Which records are not late, partition by partition."""
    return np.concatenate([_in_time(made, part) for part in _partitions(made, partitions)])


def _partitions(made: Bids, partitions: int) -> Iterator[Int64s]:
    for number in range(partitions):
        yield np.flatnonzero(made.auction % partitions == number)


def _in_time(made: Bids, part: Int64s) -> Int64s:
    """The records of one partition that are not late."""
    at_ms = made.at_ms[part]
    seen_before = np.concatenate(([np.iinfo(np.int64).min // 2], np.maximum.accumulate(at_ms)[:-1]))
    ends = at_ms // SIZE_MS * SIZE_MS + SIZE_MS
    return part[seen_before - OUT_OF_ORDERNESS_MS < ends]


class _Result(msgspec.Struct, gc=False):
    key: int
    window_start: str
    window_end: str
    count: int
    total: int
    highest: int


def windows_of(values: list[bytes]) -> Windows:
    """The results that a contestant wrote, sorted."""
    rows = list(map(msgspec.json.Decoder(_Result).decode, values))
    spans = {(row.window_start, row.window_end) for row in rows}
    for start, end in spans:
        if _ms(end) - _ms(start) != SIZE_MS:
            raise ValueError(f"a window from {start} to {end} is not {SIZE_MS} ms long")
    number = {start: _ms(start) // SIZE_MS for start, _ in spans}
    code = np.array([number[row.window_start] * _CODE + row.key for row in rows], np.int64)
    order = np.argsort(code)
    count, total, highest = (
        np.array([getattr(row, name) for row in rows], np.int64)[order] for name in ("count", "total", "highest")
    )
    return Windows(code[order], count, total, highest)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def produce(bootstrap: str, made: Bids, topics: dict[str, int], form: Form = JSON) -> None:
    """Appends all bids to each topic (name -> partitions); the auction chooses the partition: auction modulo partitions."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
            "delivery.report.only.error": True,
        }
    )
    none = repeat(None)
    for start in range(0, len(made), _SLICE):
        part = slice(start, start + _SLICE)
        values, auctions, stamps = form.encode(made.payloads(part)), made.auction[part], made.at_ms[part].tolist()
        keys = list(map(form.key.__mod__, auctions.tolist()))
        for topic, partitions in topics.items():
            while len(producer) > 500_000:
                producer.poll(0.01)
            to = (auctions % partitions).tolist()
            deque(map(producer.produce, repeat(topic), values, keys, to, none, none, stamps), 0)
        producer.poll(0)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} records were not taken by the broker")
