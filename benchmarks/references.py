"""What each workload must give, as numpy makes it of all records at once, and how what a contestant wrote is held against it.

Nothing of an engine is used here. All windows are those of `bids.expected`: a record is late for a window iff its own partition
had seen a time of at least the window's end + out-of-orderness before it. Results of the records that only end the input
(`bids.with_ends`) are left out on both sides, since not every engine closes their windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from benchmarks import bids
from benchmarks.bids import END_MS, OUT_OF_ORDERNESS_MS, SIZE_MS, Bids, Int64s

HOPPING_SIZE_MS, HOPPING_MS = 60_000, 1_000
GAP_MS, SHORT_GAP_MS = 10_000, 1_000
KEPT_FROM = 9_010_000  # of prices up to 10,000,000: a tenth
HOT_SIZE_MS, HOT_MS = 10_000, 2_000
Q2_AUCTIONS = 123
Q1_RATE = 0.908
_KEY_SPAN = 1 << 32


@dataclass(frozen=True, slots=True)
class Rows:
    """Results as columns of integers, sorted; the first ``identity`` columns name a row, the others are its figures."""

    columns: dict[str, Int64s]
    identity: int

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def names(self) -> list[str]:
        return list(self.columns)[: self.identity]

    def only(self, kept: Any) -> Rows:
        return Rows({name: column[kept] for name, column in self.columns.items()}, self.identity)


def rows(identity: int, **columns: Any) -> Rows:
    arrays = {name: np.asarray(column, np.int64) for name, column in columns.items()}
    order = np.lexsort(list(arrays.values())[::-1])
    return Rows({name: column[order] for name, column in arrays.items()}, identity)


def difference(expected: Rows, found: Rows) -> str | None:
    """What is wrong with what was found, in words; None if it is the same, row by row."""
    if len(expected) == len(found) and all(
        np.array_equal(expected.columns[name], found.columns[name]) for name in expected.columns
    ):
        return None
    mine, theirs = (set(zip(*(column.tolist() for column in each.columns.values()), strict=True)) for each in (expected, found))
    missing, extra = sorted(mine - theirs), sorted(theirs - mine)
    words = (
        f"{len(missing):,} of {len(expected):,} rows are missing or wrong, {len(extra):,} of {len(found):,} should not be there"
    )
    if not missing and not extra:
        words = f"{len(found) - len(expected):,} rows occur too often"
    return words + "".join(f"; {what}: {some[0]}" for what, some in (("expected", missing), ("found", extra)) if some)


def outside(least: Rows, most: Rows, found: Rows) -> str | None:
    """The same for engines that judge lateness by the wall clock: between what is in time for sure and everything."""
    ids, low, high = (_ids(each) for each in (found, least, most))
    if len(np.unique(ids)) != len(ids):
        return f"{len(ids) - len(np.unique(ids)):,} results occur twice"
    if missing := len(np.setdiff1d(low, ids)):
        return f"{missing:,} of {len(least):,} results are missing"
    if extra := len(np.setdiff1d(ids, high)):
        return f"{extra:,} results should not be there"
    _, where, at = np.intersect1d(low, ids, return_indices=True)
    _, there, at_most = np.intersect1d(ids, high, return_indices=True)
    for name in list(found.columns)[found.identity :]:
        few = np.count_nonzero(found.columns[name][at] < least.columns[name][where])
        many = np.count_nonzero(found.columns[name][there] > most.columns[name][at_most])
        if few or many:
            return f"'{name}' is too low in {few:,} and too high in {many:,} of {len(found):,} results"
    return None


def _ids(of: Rows) -> Any:
    first, second = (of.columns[name] for name in of.names())
    return (first - bids.BASE_MS) * _KEY_SPAN + second


# ---- what must come out


def tumbling(made: Bids, partitions: int, *, late_too: bool = False) -> Rows:
    windows = bids.expected(made, partitions, late_too=late_too)
    start = windows.code // _KEY_SPAN * SIZE_MS
    key = windows.code % _KEY_SPAN
    return _before_the_end(
        rows(2, window_start=start, key=key, count=windows.count, total=windows.total, highest=windows.highest),
        SIZE_MS,
    )


def hopping(made: Bids, partitions: int, *, late_too: bool = False) -> Rows:
    """Panes of one hop put together; what is late for some of its windows only is added to the others one by one."""
    start, key, count, total, highest = _hopping(made, partitions, HOPPING_SIZE_MS, HOPPING_MS, late_too=late_too)
    return _before_the_end(rows(2, window_start=start, key=key, count=count, total=total, highest=highest), HOPPING_SIZE_MS)


def session(made: Bids, partitions: int, *, gap_ms: int = GAP_MS) -> Rows:
    """Right as long as no late record reaches back into a session that is still open, which the bids see to."""
    kept = bids.in_time(made, partitions)
    order = np.lexsort((made.at_ms[kept], made.auction[kept]))
    key, at_ms, price = (column[kept][order] for column in (made.auction, made.at_ms, made.price))
    new = np.concatenate(([True], (key[1:] != key[:-1]) | (at_ms[1:] - at_ms[:-1] >= gap_ms)))
    starts = np.flatnonzero(new)
    last = np.concatenate((starts[1:], [len(key)])) - 1
    found = rows(
        2,
        window_start=at_ms[starts],
        key=key[starts],
        window_end=at_ms[last] + gap_ms,
        count=np.diff(starts, append=len(key)),
        total=np.add.reduceat(price, starts),
        highest=np.maximum.reduceat(price, starts),
    )
    return found.only(found.columns["window_start"] < END_MS)


def stateless(made: Bids, _: int) -> Rows:
    kept = made.price >= KEPT_FROM
    return rows(0, auction=made.auction[kept], bidder=made.bidder[kept], price=made.price[kept])


def mapped(made: Bids, _: int) -> Rows:
    kept = made.price * 2 >= KEPT_FROM * 2
    return rows(0, auction=made.auction[kept], price=made.price[kept] * 2)


def passed_through(made: Bids, _: int) -> Rows:
    return rows(0, auction=made.auction, bidder=made.bidder, price=made.price, dateTime=made.at_ms)


def converted(made: Bids, _: int) -> Rows:
    """Prices in thousandths: the rate has three digits."""
    return rows(0, auction=made.auction, price=np.round(made.price * Q1_RATE * 1000), dateTime=made.at_ms)


def selected(made: Bids, _: int) -> Rows:
    kept = made.auction % Q2_AUCTIONS == 0
    return rows(0, auction=made.auction[kept], price=made.price[kept])


def hot_items(made: Bids, partitions: int) -> Rows:
    """Of each window the auction with most bids; of several the one with the highest number."""
    start, key, count, *_ = _hopping(made, partitions, HOT_SIZE_MS, HOT_MS)
    order = np.lexsort((key, count, start))
    start, key, count = start[order], key[order], count[order]
    last = np.flatnonzero(np.concatenate((start[1:] != start[:-1], [True])))
    return _before_the_end(rows(1, window_start=start[last], auction=key[last], bids=count[last]), HOT_SIZE_MS)


def highest_bid(made: Bids, partitions: int) -> Rows:
    """Of each window the highest price, with its auction; of several the one with the highest number."""
    kept = bids.in_time(made, partitions)
    start = made.at_ms[kept] // SIZE_MS * SIZE_MS
    order = np.lexsort((made.auction[kept], made.price[kept], start))
    start, auction, price = start[order], made.auction[kept][order], made.price[kept][order]
    last = np.flatnonzero(np.concatenate((start[1:] != start[:-1], [True])))
    return _before_the_end(rows(1, window_start=start[last], auction=auction[last], price=price[last]), SIZE_MS)


def _before_the_end(found: Rows, size_ms: int) -> Rows:
    return found.only(found.columns["window_start"] + size_ms <= END_MS - SIZE_MS)


def _hopping(made: Bids, partitions: int, size_ms: int, hop_ms: int, *, late_too: bool = False) -> tuple[Int64s, ...]:
    """start, key, count, total, highest of every window in which there is a record, before the ends of input."""
    each = size_ms // hop_ms
    keys = int(made.auction.max()) + 1
    inside = made.at_ms < END_MS
    first = int(made.at_ms[inside].min()) // hop_ms - each + 1  # number of the first window by its start
    panes = int(made.at_ms[inside].max()) // hop_ms - first + 1
    count, total, highest = (np.zeros((keys, panes), np.int64) for _ in range(3))
    seen = _seen_before(made, partitions)
    pane = made.at_ms // hop_ms
    whole = inside & (late_too | (seen - OUT_OF_ORDERNESS_MS < (pane + 1) * hop_ms))  # in time for the first of its windows
    where = made.auction[whole], pane[whole] - first
    np.add.at(count, where, 1)
    np.add.at(total, where, made.price[whole])
    np.maximum.at(highest, where, made.price[whole])
    count, total = (_sums(grid, each) for grid in (count, total))
    highest = np.lib.stride_tricks.sliding_window_view(np.pad(highest, ((0, 0), (0, each - 1))), each, axis=1).max(axis=2)
    for record in np.flatnonzero(inside & ~whole):
        for number in range(int(pane[record]) - each + 1, int(pane[record]) + 1):
            if seen[record] - OUT_OF_ORDERNESS_MS < number * hop_ms + size_ms:
                at = int(made.auction[record]), number - first
                count[at] += 1
                total[at] += made.price[record]
                highest[at] = max(highest[at], made.price[record])
    key, window = np.nonzero(count)
    return (window + first) * hop_ms, key, count[key, window], total[key, window], highest[key, window]


def _sums(grid: Int64s, each: int) -> Int64s:
    """At p what the panes p to p + each - 1 have together: window p starts with pane p."""
    running = np.cumsum(np.pad(grid, ((0, 0), (1, each - 1))), axis=1)
    found: Int64s = running[:, each:] - running[:, :-each]
    return found


def _seen_before(made: Bids, partitions: int) -> Int64s:
    """For each record the largest time in its partition before it."""
    seen = np.empty(len(made), np.int64)
    for number in range(partitions):
        part = np.flatnonzero(made.auction % partitions == number)
        before = np.maximum.accumulate(made.at_ms[part])[:-1]
        seen[part] = np.concatenate(([np.iinfo(np.int64).min // 2], before))[: len(part)]
    return seen


# ---- what came out


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the results: its type in JSON, and how a column of it becomes integers."""

    type: Any
    integers: Callable[[Sequence[Any]], Any]


def _times(column: Sequence[Any]) -> list[int]:
    known: dict[Any, int] = {}
    for moment in column:
        if moment not in known:
            known[moment] = _ms(moment)
    return [known[moment] for moment in column]


def _ms(moment: str | int | datetime) -> int:
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


INTEGER = Field(int, list)
TIME = Field(str | int, _times)
THOUSANDTHS = Field(float, lambda column: np.round(np.asarray(column) * 1000))
ITEM_KEY = Field(str, lambda column: [int(text.removeprefix("item-")) for text in column])


@dataclass(frozen=True, slots=True)
class Reader:
    """How results are read: fields that are no plain integers, and a decoder for values that are no JSON."""

    fields: Mapping[str, Field] = field(default_factory=dict)
    decode: Callable[[bytes], Any] | None = None
    size_ms: int = 0  # of the windows: those of the records that end the input are left out

    def read(self, like: Rows, values: list[bytes]) -> Rows:
        """What a contestant wrote, as rows with the columns of ``like``."""
        times = {"window_start": TIME, "window_end": TIME}
        fields = {name: {**times, **self.fields}.get(name, INTEGER) for name in like.columns}
        row = msgspec.defstruct("Row", [(name, kind.type) for name, kind in fields.items()], gc=False)
        decoded = list(map(self.decode or msgspec.json.Decoder(row).decode, values))
        columns = {name: kind.integers([getattr(each, name) for each in decoded]) for name, kind in fields.items()}
        found = rows(like.identity, **columns)
        if "window_end" in like.columns:
            return found.only(found.columns["window_start"] < END_MS)
        return _before_the_end(found, self.size_ms) if self.size_ms else found
