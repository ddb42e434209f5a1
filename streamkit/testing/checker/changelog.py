"""The state that a committed changelog stands for, read from the documented wire format alone (docs/wire-formats.md).

Shares nothing with the restore of the engine. Cells are given as they are on the wire: raw little-endian int64 columns become
ints, or floats where ``floats`` names the cell.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec


class Entry(Protocol):
    """A changelog record in offset order."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class TimeOf(NamedTuple):
    """What a time record says."""

    frontier: int
    closed_through: int


def fold(entries: Iterable[Entry], *, floats: Collection[int] = ()) -> dict[tuple[int, Any], tuple[Any, ...]]:
    """The committed records of one changelog partition -> (window end, key) -> cells, of the windows that are still open.

    ``floats``: the numbers of the cells that hold doubles. Of hopping windows, whose panes count in several of them, the rows are
    told apart by more than this: not for them.
    """
    rows: dict[tuple[int, Any], tuple[Any, ...]] = {}
    closed_through = None
    for entry in entries:
        if entry.key == b"time" and entry.value is not None:
            closed_through = msgspec.json.decode(entry.value)["closed_through"]
        elif entry.value is not None:
            for window_end, count, keys, accumulators, *_ in msgspec.msgpack.decode(entry.value)[2]:
                cells = [cell for accumulator in accumulators for cell in accumulator]
                columns = [_column(cell, count, "d" if number in floats else "q") for number, cell in enumerate(cells)]
                for row, key in enumerate(_column(keys, count, "q")):
                    rows[window_end, key] = tuple(column[row] for column in columns)
    return {at: cells for at, cells in rows.items() if closed_through is None or at[0] > closed_through}


def times(entries: Iterable[Entry]) -> list[TimeOf]:
    """Every time record, in order."""
    decoded = [msgspec.json.decode(e.value) for e in entries if e.key == b"time" and e.value is not None]
    return [TimeOf(each["frontier"], each["closed_through"]) for each in decoded]


def _column(data: bytes | list[Any], count: int, code: str) -> list[Any]:
    return list(struct.unpack(f"<{count}{code}", data)) if isinstance(data, bytes) else data
