"""The exact number of different values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import CannotAddError, Cells, Slots, check_all
from streamkit.state.packing import check_can_be_kept

_OBJECT = np.dtype(object)


@dataclass(frozen=True, slots=True)
class CountDistinct:
    """A set of values per slot, equal as in Python. Null values are skipped.

    NaN, which equals nothing, is one value: it is kept as None. A set that was handed out is never changed: it may wait in a
    block that is being written.
    """

    dtypes = (_OBJECT,)
    initial = (None,)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:  # noqa: ARG002 - the protocol of accumulators
        assert column is not None  # noqa: S101 - only count() has no input
        given = column
        check_all(lambda: check_can_be_kept(given), lambda: _check_comparable(given))

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert column is not None  # noqa: S101 - see check
        found: dict[int, set[Any]] = {}
        for slot, value in zip(slots.tolist(), column.to_list(), strict=True):
            if value is not None:
                found.setdefault(slot, set()).add(None if value != value else value)  # noqa: PLR0124 - NaN
        for slot, values in found.items():
            before = cells[0][slot]
            if before is None or not values <= before:
                cells[0][slot] = values if before is None else before | values

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        for slot, values in zip(slots.tolist(), other[0].tolist(), strict=True):
            if values is not None:
                cells[0][slot] = _both(cells[0][slot], values)

    def result(self, cells: Cells) -> Column:
        counts = [0 if values is None else len(values) for values in cells[0].tolist()]
        return Column(np.array(counts, np.int64), None, Kind.INT)


def _both(one: set[Any] | None, other: set[Any]) -> set[Any]:
    """One of them, where it holds the other: running totals over many records of few values then share their sets."""
    if one is None or one <= other:
        return other
    return one if other <= one else one | other


def _check_comparable(column: Column) -> None:
    if isinstance(column.values, list) and column.kind in (Kind.ANY, Kind.OBJECT, Kind.DECIMAL):
        for index, value in enumerate(column.values):
            try:
                hash(value)
            except TypeError:  # a signalling NaN is one of them
                raise CannotAddError(index, f"{type(value).__name__} values cannot be compared, got {value!r}") from None
