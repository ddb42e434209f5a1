"""Changelog blocks of window state: columns of the rows that changed in one transaction, as absolute values.

A block is a msgpack array, readable with any msgpack library:

    [version, fingerprint, [section, ...]]
    section = [pane_end, rows, keys, [[cell, ...] per accumulator], since]

``since`` is the end of the first window in which these rows count: the pane's own end, but for hopping windows. ``keys`` and
each cell are either raw little-endian bytes (int64 or float64, named by the accumulator) or a msgpack array of objects. Values
outside msgpack's own types travel as extensions (`packing.py`): 1 Decimal, 2 date, 3 datetime, 4 tuple, 5 set, 6 Failed,
7 a large integer. A later block overrides an earlier one row by row; rows of closed windows are dropped by the time record
(`time_record.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from streamkit.errors import StateError
from streamkit.state.accumulators import HasCells
from streamkit.state.key_index import Keys
from streamkit.state.packing import pack, unpack
from streamkit.state.window_store import Entries, PaneId

VERSION = 2


class _Section(msgspec.Struct, array_like=True):
    pane_end: int
    rows: int
    keys: bytes | list[Any]
    cells: list[list[bytes | list[Any]]]
    since: int | None = None  # format 1 had no windows that overlap


class _Block(msgspec.Struct, array_like=True):
    version: int
    fingerprint: str
    sections: list[_Section]


_PLAIN = frozenset({str, float, bool, bytes, type(None)})
"""What `pack` leaves as it is."""
_encoder = msgspec.msgpack.Encoder()


def encode_block(fingerprint: str, sections: Sequence[Entries]) -> bytes:
    """One changelog value."""
    return _encoder.encode(
        _Block(
            VERSION,
            fingerprint,
            [
                _Section(
                    e.pane.end,
                    len(e),
                    _pack_column(e.keys),
                    [[_pack_column(cell) for cell in cells] for cells in e.cells],
                    e.pane.since,
                )
                for e in sections
            ],
        )
    )


def decode_block(data: bytes, fingerprint: str, accumulators: Sequence[HasCells], store: str) -> list[Entries]:
    """The rows of a block; StateError if it is of another format or another store shape."""
    try:
        block = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        raise _unreadable(store, error) from error
    if block.version > VERSION:
        raise StateError(
            f"store '{store}': changelog block of format {block.version}, this version reads up to {VERSION}: upgrade"
        )
    if block.fingerprint != fingerprint:
        raise shape_changed(store, block.fingerprint, fingerprint)
    try:
        return [
            Entries(
                PaneId(s.pane_end, s.pane_end if s.since is None else s.since),
                _unpack_keys(s.keys),
                [_unpack_cells(a, cells) for a, cells in zip(accumulators, s.cells, strict=True)],
            )
            for s in block.sections
        ]
    except ValueError as error:
        raise _unreadable(store, error) from error


def _unreadable(store: str, error: Exception) -> StateError:
    return StateError(f"store '{store}': a changelog block cannot be read ({error}); was something else written there?")


def shape_changed(store: str, found: str, now: str) -> StateError:
    """The error for a changelog whose windows, keys or outputs were others."""
    return StateError(
        f"store '{store}': its changelog was written with another window, key or output types "
        f"(fingerprint {found}, now {now}): give the aggregate a new name, or reset the app"
    )


def _pack_column(column: Keys) -> bytes | list[Any]:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()
    values = column if isinstance(column, list) else column.tolist()
    return values if _PLAIN.issuperset(map(type, values)) else [pack(value) for value in values]


def _unpack_keys(data: bytes | list[Any]) -> Keys:
    return np.frombuffer(data, "<i8") if isinstance(data, bytes) else data


def _unpack_cells(acc: HasCells, cells: list[bytes | list[Any]]) -> list[np.ndarray[Any, Any]]:
    return [_unpack_cell(dtype, cell) for dtype, cell in zip(acc.dtypes, cells, strict=True)]


def _unpack_cell(dtype: np.dtype[Any], data: bytes | list[Any]) -> np.ndarray[Any, Any]:
    if isinstance(data, bytes):
        return np.frombuffer(data, dtype.newbyteorder("<"))
    out = np.empty(len(data), object)
    out[:] = data
    return out


_decoder = msgspec.msgpack.Decoder(_Block, ext_hook=unpack)
