"""Approximate quantiles: a DDSketch (Masson, Rim, Lee, "DDSketch", VLDB 2019), counts of values in buckets of a relative width.

Its buckets are cut by the bits of a float: sign, exponent and the first b bits of the fraction are the bucket, so every power of
two is cut into 2**b equal parts (the paper's linear interpolation). No logarithm is taken, which processors round differently:
the bucket of a value is the same on every machine. A bucket gives the value between its bounds that is at most 1 / (2**(b+1) + 1)
of itself away from all of them.

Counts in fixed buckets add up in any order. A t-digest or a KLL sketch, whose state depends on the order of arrival and of
merging, would give other results after another cut into batches. The library of the paper's authors takes values one by one, and
cuts by logarithms; here a batch costs a few operations on arrays.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import Cells, Slots
from streamkit.state.side_by_side import cut, groups_of, joined, places, starts_with
from streamkit.state.spread import check_numbers, floats_of

_OBJECT = np.dtype(object)
_F8 = np.dtype(np.float64)
_BUCKET = np.dtype("<i4")
_COUNT = np.dtype("<i8")
_FRACTION_BITS = 52
_INFINITE = 2047
"""The exponent field of infinities and NaN."""

_SMALLEST = sys.float_info.min


def bits_for(error: float) -> int:
    """How many bits of the fraction make buckets of at most this relative error.

    >>> bits_for(0.01)
    6
    """
    bits = 1
    while 1 / ((1 << bits + 1) + 1) > error:
        bits += 1
    return bits


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Per slot the buckets in order, how many values are in each, and the smallest and largest value. Null values are skipped.

    ``ranks``: the quantiles as fractions, in lowest terms; ``single``: give the one, not a list of them.
    """

    bits: int
    ranks: tuple[Fraction, ...]
    single: bool

    dtypes = (_OBJECT, _OBJECT, _F8, _F8)
    initial = (None, None, float("inf"), float("-inf"))

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:  # noqa: ARG002 - the protocol of accumulators
        assert column is not None  # noqa: S101 - only count() has no input
        check_numbers(column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert column is not None  # noqa: S101 - see check
        values, valid = floats_of(column)
        if valid is not None:
            slots, values = slots[valid], values[valid]
        values = values + 0.0  # no zero with a sign: which of the two is the smaller one would depend on their order
        np.fmin.at(cells[2], slots, values)
        np.fmax.at(cells[3], slots, values)
        self._count(cells, *groups_of(slots, self._buckets(values)))

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        order = np.argsort(slots)
        slots, (names, numbers, least, most) = slots[order], (cell[order] for cell in other)
        cells[2][slots] = np.fmin(cells[2][slots], least)
        cells[3][slots] = np.fmax(cells[3][slots], most)
        buckets, starts = joined(names.tolist(), _BUCKET)
        counts, _ = joined(numbers.tolist(), _COUNT)
        self._count(cells, np.repeat(slots, np.diff(starts)), buckets, counts)

    def _count(self, cells: Cells, slots: Slots, buckets: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> None:
        """Adds counts of buckets, each (slot, bucket) given once, and in order: `insert` keeps the order that it is given."""
        if not len(slots):
            return
        touched, sets = np.unique(slots, return_inverse=True)
        members, starts = joined(cells[0][touched].tolist(), _BUCKET)
        held = joined(cells[1][touched].tolist(), _COUNT)[0].copy()
        at, there = places(members, starts, sets, buckets)
        held[at[there]] += counts[there]
        new = ~there
        if bool(new.any()):
            members = np.insert(members, at[new], buckets[new])
            held = np.insert(held, at[new], counts[new])
            starts = starts_with(starts, sets[new])
            cells[0][touched] = _objects(cut(members, starts))
        cells[1][touched] = _objects(cut(held, starts))

    def _buckets(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """Rising with the value; zero (and what is nearer to it than any normal float) is 0, NaN the last."""
        parts = (np.abs(values).view(np.int64) >> (_FRACTION_BITS - self.bits)).astype(np.int32)
        parts[np.abs(values) < _SMALLEST] = 0
        parts = np.where(np.signbit(values), -parts, parts)
        return np.where(np.isnan(values), self._nan, parts).astype(np.int32)

    @property
    def _nan(self) -> int:
        return int((_INFINITE << self.bits) + 1)

    def _value(self, bucket: int) -> float:
        """2ab / (a + b) for a bucket from a to b: as far from both, in proportion."""
        size = abs(bucket)
        if size == 0 or size >= _INFINITE << self.bits:
            return 0.0 if size == 0 else float("inf") if bucket > 0 else float("-inf")
        bounds = (np.array([size, size + 1], np.int64) << (_FRACTION_BITS - self.bits)).view(np.float64)
        a, b = float(bounds[0]), min(float(bounds[1]), sys.float_info.max)
        value = a * (2 / (a / b + 1))
        return value if bucket > 0 else -value

    def result(self, cells: Cells) -> Column:
        rows = [self._quantiles(*row) for row in zip(*(cell.tolist() for cell in cells), strict=True)]
        if not self.single:
            return Column(rows, None, Kind.OBJECT)
        valid = np.array([row is not None for row in rows], bool)
        values = np.array([0.0 if row is None else row[0] for row in rows], np.float64)
        return Column(values, None if bool(valid.all()) else valid, Kind.FLOAT)

    def _quantiles(self, buckets: bytes | None, counts: bytes | None, least: float, most: float) -> list[float] | None:
        if buckets is None or counts is None:
            return None
        names, up_to = np.frombuffer(buckets, _BUCKET), np.cumsum(np.frombuffer(counts, _COUNT))
        if names[-1] == self._nan:
            return [float("nan")] * len(self.ranks)
        total = int(up_to[-1])
        at = [max(-(-rank.numerator * total // rank.denominator), 1) for rank in self.ranks]
        found = names[np.searchsorted(up_to, at)]
        return [
            least if rank == 0 else most if rank == 1 else min(max(self._value(int(bucket)), least), most)
            for rank, bucket in zip(self.ranks, found, strict=True)
        ]


def _objects(parts: list[bytes]) -> npt.NDArray[Any]:
    cell = np.empty(len(parts), object)
    cell[:] = parts
    return cell
