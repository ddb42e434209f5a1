"""The approximate number of different values: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007).

With precision p, the first p bits of a value's hash choose one of m = 2**p registers, which keeps the largest number of leading
zeros + 1 among the other bits. Up to m/8 - 1 values, their hashes themselves are kept, and the count is exact. Which form a
state has, and every bit in it, depends on the set of values alone: not on their order, nor on how they were cut into batches,
panes and sessions. The libraries that there are give that up for a somewhat smaller error (Apache DataSketches counts along as
registers change, so its estimate depends on order and on merges), and they take values one by one.

The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6): from the histogram
of the registers, unbiased from the first value to beyond 2**60 of them, without tables. Its standard error is 1.04 / sqrt(m).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import Cells, Slots
from streamkit.state.hashing import Hashes, hashes_of
from streamkit.state.side_by_side import cut, groups_of, joined, places, starts_with

_OBJECT = np.dtype(object)
_HASH = np.dtype("<u8")
_ERROR = 1.04
"""The standard error times the root of the number of registers."""

_MERGED_AT_ONCE = 1_024
"""Slots: what lies side by side is a copy."""

Registers = npt.NDArray[np.uint8]


def precision_for(error: float) -> int:
    """The least precision with at most this standard error.

    >>> precision_for(0.02)
    12
    """
    return math.ceil(math.log2((_ERROR / error) ** 2))


@dataclass(frozen=True, slots=True)
class ApproxCountDistinct:
    """A set of hashes or 2**precision registers per slot, as bytes. Null values are skipped."""

    precision: int

    dtypes = (_OBJECT,)
    initial = (None,)

    @property
    def _registers(self) -> int:
        return 1 << int(self.precision)

    @property
    def _most(self) -> int:
        """So many hashes are kept as they are; their bytes are fewer than those of the registers, which tells the two apart."""
        return self._registers // 8 - 1

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:  # noqa: ARG002 - the protocol of accumulators
        assert column is not None  # noqa: S101 - only count() has no input
        if isinstance(column.values, list) and column.kind not in (Kind.STR, Kind.BYTES):
            hashes_of(column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert column is not None  # noqa: S101 - see check
        hashes, valid = hashes_of(column)
        if valid is not None:
            slots, hashes = slots[valid], hashes[valid]
        self._add(cells[0], slots, hashes)

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        for start in range(0, len(slots), _MERGED_AT_ONCE):
            part = slice(start, start + _MERGED_AT_ONCE)
            self._merge(cells[0], slots[part], other[0][part])

    def _merge(self, cell: npt.NDArray[Any], slots: Slots, other: npt.NDArray[Any]) -> None:
        held: list[bytes | None] = other.tolist()
        dense = self._dense(held)
        if bool(dense.any()):
            at = slots[dense]
            more = np.frombuffer(b"".join(other[dense].tolist()), np.uint8).reshape(len(at), -1)
            self._set(cell, at, np.maximum(self._registers_of(cell[at].tolist()), more))
        hashes, starts = joined([None if full else data for data, full in zip(held, dense.tolist(), strict=True)], _HASH)
        self._add(cell, np.repeat(slots, np.diff(starts)), hashes)

    def _dense(self, held: list[bytes | None]) -> npt.NDArray[np.bool_]:
        return np.array([data is not None and len(data) == self._registers for data in held], bool)

    def _add(self, cell: npt.NDArray[Any], slots: Slots, hashes: Hashes) -> None:
        if not len(slots):
            return
        touched, sets = np.unique(slots, return_inverse=True)
        held = cell[touched].tolist()
        is_dense = self._dense(held)
        to_dense = is_dense[sets]
        if bool(to_dense.any()):
            self._add_dense(cell, touched, sets[to_dense], hashes[to_dense], is_dense)
        if not bool(to_dense.all()):
            self._add_sparse(cell, touched, sets[~to_dense], hashes[~to_dense], held)

    def _add_dense(
        self, cell: npt.NDArray[Any], touched: Slots, sets: Slots, hashes: Hashes, is_dense: npt.NDArray[np.bool_]
    ) -> None:
        at = touched[is_dense]
        registers = self._registers_of(cell[at].tolist())
        row = (np.cumsum(is_dense) - 1)[sets]
        self._raise(registers, row, hashes)
        self._set(cell, at, registers)

    def _add_sparse(self, cell: npt.NDArray[Any], touched: Slots, sets: Slots, hashes: Hashes, held: list[bytes | None]) -> None:
        dense = self._dense(held).tolist()
        members, starts = joined([None if full else data for data, full in zip(held, dense, strict=True)], _HASH)
        sets, hashes, _ = groups_of(sets, hashes)
        at, there = places(members, starts, sets, hashes)
        new = ~there
        members = np.insert(members, at[new], hashes[new])
        starts = starts_with(starts, sets[new])
        many = np.diff(starts) > self._most
        parts = cut(members, starts)
        for number in np.unique(sets[new]).tolist():
            if not many[number]:
                cell[touched[number]] = parts[number]
        if bool(many.any()):
            registers = np.zeros((int(many.sum()), self._registers), np.uint8)
            owner = np.repeat(np.arange(len(many)), np.diff(starts))
            chosen = many[owner]
            self._raise(registers, (np.cumsum(many) - 1)[owner[chosen]], members[chosen])
            self._set(cell, touched[many], registers)

    def _raise(self, registers: Registers, row: Slots, hashes: Hashes) -> None:
        """Folds hashes into the registers of their rows."""
        index = (hashes >> np.uint64(64 - self.precision)).astype(np.int64)
        rest = hashes << np.uint64(self.precision)
        # Leading zeros by the exponent of a float: of the upper half, and where that is 0 of the lower one (both are exact).
        upper, lower = (rest >> np.uint64(32)).astype(np.float64), (rest & np.uint64(0xFFFFFFFF)).astype(np.float64)
        zeros = np.where(upper > 0, 32 - np.frexp(upper)[1], 64 - np.frexp(lower)[1])
        rank = np.minimum(zeros, 64 - self.precision) + 1
        np.maximum.at(registers.reshape(-1), row * self._registers + index, rank.astype(np.uint8))

    def _registers_of(self, held: list[bytes | None]) -> Registers:
        """The registers of these states, whatever their form is; a copy that may be changed."""
        registers = np.zeros((len(held), self._registers), np.uint8)
        for row, data in zip(registers, held, strict=True):
            if data is None:
                continue
            if len(data) == self._registers:
                row[:] = np.frombuffer(data, np.uint8)
            else:
                hashes = np.frombuffer(data, _HASH)
                self._raise(row.reshape(1, -1), np.zeros(len(hashes), np.int64), hashes)
        return registers

    def _set(self, cell: npt.NDArray[Any], slots: Slots, registers: Registers) -> None:
        for slot, row in zip(slots.tolist(), registers, strict=True):
            cell[slot] = row.tobytes()

    def result(self, cells: Cells) -> Column:
        return Column(np.array([self._count(data) for data in cells[0].tolist()], np.int64), None, Kind.INT)

    def _count(self, data: bytes | None) -> int:
        if data is None:
            return 0
        if len(data) != self._registers:
            return len(data) // 8
        return round(estimate(np.bincount(np.frombuffer(data, np.uint8), minlength=66 - self.precision).tolist(), self.precision))


def estimate(histogram: list[int], precision: int) -> float:
    """How many different hashes were there, by how many registers hold 0, 1, ... 64 - precision + 1.

    >>> estimate([16, *[0] * 61], 4)
    0.0
    """
    registers = 1 << precision
    longest = 64 - precision
    sum_ = registers * _tau((registers - histogram[longest + 1]) / registers)
    for rank in range(longest, 0, -1):
        sum_ = 0.5 * (sum_ + histogram[rank])
    sum_ += registers * _sigma(histogram[0] / registers)
    return registers * registers / (2 * math.log(2) * sum_)


def _sigma(share: float) -> float:
    """For the registers that hold nothing: x + the sum of x^(2^k) 2^(k-1)."""
    if share == 1.0:
        return math.inf
    weight, total = 1.0, share
    while True:
        share *= share
        before, total = total, total + share * weight
        weight += weight
        if total == before:
            return total


def _tau(share: float) -> float:
    """For the registers that are full: (1 - x - the sum of (1 - x^(2^-k))^2 2^-k) / 3."""
    if share in (0.0, 1.0):
        return 0.0
    weight, total = 1.0, 1.0 - share
    while True:
        share = math.sqrt(share)
        weight *= 0.5
        before, total = total, total - (1.0 - share) ** 2 * weight
        if total == before:
            return total / 3.0
