"""The values with the largest of another value beside them.

Its inputs are `RankedColumn`s. Of equal rank the earlier event time comes first, and of the very same time the smaller encoded
value. So the outcome depends on the set of the inputs alone, not on their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from types import NoneType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.record.model import Row
from streamkit.record.schema import Kind
from streamkit.state.accumulators import (
    CannotAddError,
    Cells,
    Checked,
    Failed,
    Slots,
    check_all,
    present,
    refuse_failed,
    results_of,
)
from streamkit.state.ordered import TimedColumn
from streamkit.state.packing import check_can_be_kept, pack, unpack

_OBJECT = np.dtype(object)
_AS_THEY_ARE = (bytes, datetime, date, Decimal)
_PLAIN = frozenset({NoneType, bool, int, float, str, *_AS_THEY_ARE})
_rank = itemgetter(0)
_time_and_value = itemgetter(1, 2)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ext_hook=unpack)

Ranked = list[Any]
"""[rank, event time, encoded value]"""


@dataclass(frozen=True, slots=True, eq=False)
class RankedColumn(TimedColumn):
    """A column with the event times and the ranks of its records. ``checked``: what `check` has worked out for `add`."""

    by: Column
    checked: Checked[list[Ranked]] = field(default_factory=Checked)

    def take(self, chosen: npt.NDArray[Any]) -> RankedColumn:
        taken = TimedColumn.take(self, chosen)
        return RankedColumn(taken.values, taken.valid, taken.kind, taken.times, self.by.take(chosen))


@dataclass(frozen=True, slots=True)
class TopK:
    """Per slot the ``limit`` values of the highest rank, highest first. Null values, and ranks that are null or NaN, are skipped.

    A list that was handed out is never changed.
    """

    limit: int

    dtypes = (_OBJECT,)
    initial = (None,)

    def check(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert isinstance(column, RankedColumn)  # noqa: S101 - the operator gives ranks to who needs them
        given, cell = column, cells[0]
        refuse_failed(cell, slots)
        check_all(lambda: check_can_be_kept(given.by), lambda: _check_ranks(cell, slots, given.by), lambda: _check_values(given))
        column.checked.keep(cell, slots, self._fold(cell, slots, column))

    def add(self, cells: Cells, slots: Slots, column: Column | None) -> None:
        assert isinstance(column, RankedColumn)  # noqa: S101 - see check
        found = column.checked.take(cells[0], slots)
        for slot, ranked in (self._fold(cells[0], slots, column) if found is None else found).items():
            cells[0][slot] = ranked

    def merge(self, cells: Cells, slots: Slots, other: Cells) -> None:
        for slot, more in zip(slots.tolist(), other[0].tolist(), strict=True):
            if more is not None:
                cells[0][slot] = self._both(cells[0][slot], more)

    def _both(self, one: list[Ranked] | Failed | None, other: list[Ranked] | Failed) -> list[Ranked] | Failed:
        if one is None or isinstance(other, Failed):
            return other
        try:
            return one if isinstance(one, Failed) else self._best([*one, *other])
        except (TypeError, ArithmeticError) as error:
            return Failed(f"ranks of two parts of the window cannot be ordered: {error}")

    def result(self, cells: Cells) -> Column:
        return Column([[_decoded(value) for _, _, value in ranked or ()] for ranked in results_of(cells[0])], None, Kind.OBJECT)

    def _fold(self, cell: npt.NDArray[Any], slots: Slots, column: RankedColumn) -> dict[int, list[Ranked]]:
        found: dict[int, list[Ranked]] = {}
        values, ranks = column.to_list(), _ranks(column.by)
        for index in self._candidates(cell, slots, column):
            if values[index] is not None:
                one = [ranks[index], int(column.times[index]), _encoded(values[index], index)]
                found.setdefault(int(slots[index]), []).append(one)
        return {slot: self._best([*(cell[slot] or ()), *more]) for slot, more in found.items()}

    def _best(self, ranked: list[Ranked]) -> list[Ranked]:
        ranked.sort(key=_time_and_value)
        ranked.sort(key=_rank, reverse=True)  # stable, also in reverse
        return ranked[: self.limit]

    def _candidates(self, cell: npt.NDArray[Any], slots: Slots, column: RankedColumn) -> Iterator[int]:
        """The records that may be among the best of their slot."""
        by = column.by
        if isinstance(by.values, list):
            for index, (slot, rank) in enumerate(zip(slots.tolist(), by.values, strict=True)):
                if rank is not None and rank == rank and not self._beaten(cell[slot], rank):  # noqa: PLR0124 - NaN
                    yield index
            return
        there = np.ones(len(slots), bool) if by.valid is None else by.valid.copy()
        known = present(column)
        if known is not None:
            there &= known
        if by.values.dtype == np.float64:
            there &= ~np.isnan(by.values)
        touched, sets = np.unique(slots, return_inverse=True)
        bars = [ranked[-1][0] if ranked and len(ranked) == self.limit else None for ranked in cell[touched].tolist()]
        has_bar = np.array([bar is not None for bar in bars], bool)
        lowest = np.array([0 if bar is None else bar for bar in bars], by.values.dtype)
        there &= ~has_bar[sets] | (by.values >= lowest[sets])
        yield from self._best_of_batch(slots, by.values, column.times, np.flatnonzero(there)).tolist()

    def _beaten(self, ranked: list[Ranked] | None, rank: Any) -> bool:
        return ranked is not None and len(ranked) == self.limit and bool(rank < ranked[-1][0])

    def _best_of_batch(
        self, slots: Slots, ranks: npt.NDArray[Any], times: npt.NDArray[np.int64], at: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Of these records those that at most limit - 1 others of their slot come before: equal ones may be more."""
        falling = -ranks[at] if ranks.dtype == np.float64 else ~ranks[at].astype(np.int64)
        order = np.lexsort((times[at], falling, slots[at]))
        at, falling = at[order], falling[order]
        new_slot = np.r_[True, slots[at][1:] != slots[at][:-1]][: len(at)]
        new_place = new_slot | np.r_[True, (falling[1:] != falling[:-1]) | (times[at][1:] != times[at][:-1])][: len(at)]
        position = np.arange(len(at))
        before = np.maximum.accumulate(np.where(new_place, position, 0)) - np.maximum.accumulate(np.where(new_slot, position, 0))
        return at[before < self.limit]


def _ranks(by: Column) -> list[Any]:
    return by.values if isinstance(by.values, list) else by.values.tolist()


def _check_ranks(cell: npt.NDArray[Any], slots: Slots, by: Column) -> None:
    """Whether the ranks of one slot can be compared with each other: in columns of a known kind they can."""
    if not isinstance(by.values, list):
        return
    one_of: dict[int, Any] = {}
    for index, (slot, rank) in enumerate(zip(slots.tolist(), by.values, strict=True)):
        other = rank
        try:
            if rank is None or rank != rank:  # noqa: PLR0124 - NaN
                continue
            other = one_of.setdefault(slot, cell[slot][0][0] if cell[slot] else rank)
            rank < other  # noqa: B015 - whether it can be asked at all
        except (TypeError, ArithmeticError) as error:  # a signalling NaN
            raise CannotAddError(index, f"{rank!r} and {other!r} cannot be ordered ({error})") from error


def _check_values(column: RankedColumn) -> None:
    """All of them, also those of low rank: what is refused must not hang on the records beside it."""
    if column.kind not in (Kind.ANY, Kind.OBJECT):
        return
    for index, value in enumerate(column.to_list()):
        if isinstance(value, dict):
            inside: Any = value.values()
        else:
            inside = msgspec.structs.astuple(value) if isinstance(value, msgspec.Struct) else (value,)
        if not _PLAIN.issuperset(map(type, inside)):
            _encoded(value, index)


def _encoded(value: Any, index: int) -> bytes:
    try:
        return _encoder.encode(pack(msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE)))
    except (TypeError, ValueError, OverflowError) as error:
        raise CannotAddError(index, f"{value!r} cannot be kept in the state: {error}") from error


def _decoded(value: bytes) -> Any:
    found = _decoder.decode(value)
    return Row(found) if isinstance(found, dict) else found
