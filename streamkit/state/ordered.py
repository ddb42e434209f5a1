"""Aggregates that look at the event time of their inputs: first, last, collect.

Their inputs are `TimedColumn`s. Of two inputs of the very same time the one that came earlier is the earlier one.
"""

from __future__ import annotations

from bisect import insort_right
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, Cells, Slots, dtype_of, present
from streamkit.state.packing import check_can_be_kept

Int64s = npt.NDArray[np.int64]
_I8 = np.dtype(np.int64)
_OBJECT = np.dtype(object)
_time = itemgetter(0)


@dataclass(frozen=True, slots=True, eq=False)
class TimedColumn(Column):
    """A column with the event time of each record, in milliseconds."""

    times: Int64s

    def take(self, chosen: npt.NDArray[Any]) -> TimedColumn:
        taken = Column.take(self, chosen)
        return TimedColumn(taken.values, taken.valid, taken.kind, self.times[chosen])


@dataclass(frozen=True, slots=True)
class ByTime:
    """The value with the smallest (`first`) or largest event time. Null values are skipped."""

    kind: Kind
    first: bool

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        return dtype_of(self.kind), _I8

    @property
    def initial(self) -> tuple[Any, ...]:
        return None if dtype_of(self.kind) == _OBJECT else 0, self._nothing

    @property
    def _nothing(self) -> int:
        """The time of no value at all: any other replaces it."""
        return int(INT64.max if self.first else INT64.min)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:  # noqa: ARG002 - the protocol of accumulators
        assert column is not None  # noqa: S101 - only count() has no input
        check_can_be_kept(column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert isinstance(column, TimedColumn)  # noqa: S101 - the operator gives the times to who needs them
        values = _array(column, cells[0].dtype)
        times, valid = column.times, present(column)
        if valid is not None:
            slots, times, values = slots[valid], times[valid], values[valid]
        if not len(slots):
            return
        order = np.lexsort((times, slots))  # stable: of equal times record order is kept
        differs = np.flatnonzero(np.diff(slots[order])) + 1
        best = order[np.r_[0, differs]] if self.first else order[np.r_[differs - 1, len(order) - 1]]
        self._replace(cells, slots[best], values[best], times[best])

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        self._replace(cells, slots, *other)

    def _replace(self, cells: Cells, slots: Slots, values: npt.NDArray[Any], times: Int64s) -> None:
        before = cells[1][slots]
        wins = times < before if self.first else (times >= before) & (times != self._nothing)
        cells[0][slots[wins]] = values[wins]
        cells[1][slots[wins]] = times[wins]

    def result(self, cells: Cells) -> Column:
        there = cells[1] != self._nothing
        if cells[0].dtype == _OBJECT:
            return Column(cells[0].tolist(), None, self.kind)
        values = cells[0].astype(bool) if self.kind is Kind.BOOL else cells[0]
        return Column(values, None if bool(there.all()) else there, self.kind)


@dataclass(frozen=True, slots=True)
class Collect:
    """The values in the order of event time, of more than `limit` the earliest. Null values are skipped."""

    limit: int

    dtypes = (_OBJECT,)
    initial = (None,)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:  # noqa: ARG002 - the protocol of accumulators
        assert column is not None  # noqa: S101 - only count() has no input
        check_can_be_kept(column)

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert isinstance(column, TimedColumn)  # noqa: S101 - see ByTime.add
        changed: dict[int, list[Any]] = {}
        for slot, time, value in zip(slots.tolist(), column.times.tolist(), column.to_list(), strict=True):
            if value is None:
                continue
            if slot not in changed:
                changed[slot] = list(cells[0][slot] or ())  # what was handed out stays as it was
            kept = changed[slot]
            insort_right(kept, [time, value], key=_time)
            del kept[self.limit :]
        for slot, kept in changed.items():
            cells[0][slot] = kept

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        for slot, more in zip(slots.tolist(), other[0].tolist(), strict=True):
            if more:
                cells[0][slot] = sorted([*(cells[0][slot] or ()), *more], key=_time)[: self.limit]

    def result(self, cells: Cells) -> Column:
        return Column([[value for _, value in kept or ()] for kept in cells[0].tolist()], None, Kind.OBJECT)


def _array(column: Column, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype != _OBJECT:
        return np.asarray(column.values, dtype)
    values = np.empty(len(column), object)
    values[:] = column.to_list()
    return values
