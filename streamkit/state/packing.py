"""Single values in changelog blocks: what msgpack has no type for travels as an extension, and what would not come back as it
was is refused before it is aggregated."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import CannotAddError, Failed

_DECIMAL, _DATE, _DATETIME, _TUPLE, _SET, _FAILED, _INT = 1, 2, 3, 4, 5, 6, 7
_encoder = msgspec.msgpack.Encoder()
_SCALARS = frozenset({type(None), bool, float, str, bytes, Decimal, date, datetime})
_INTS = range(-(2**63), 2**64)  # what msgpack holds


def check_can_be_kept(column: Column) -> None:
    """Raises CannotAddError for the first value that would not be the same after a restart: of a class of its own, or an
    integer that is too large. Values of known kinds are never that."""
    if column.kind not in (Kind.ANY, Kind.OBJECT) or not isinstance(column.values, list):
        return
    for index, value in enumerate(column.values):
        if type(value) not in _SCALARS and (found := _misfit((value,))) is not None:
            raise CannotAddError(index, found)


def _misfit(values: Iterable[Any]) -> str | None:
    """Why one of the values cannot be kept, or what is in it."""
    for value in values:
        kind, inside = type(value), None
        if kind is int:
            if value not in _INTS:
                return f"{value} does not fit into 64 bits"
        elif kind in (list, tuple, set):
            inside = _misfit(value)
        elif kind is dict:
            inside = _misfit(value) or _misfit(value.values())
        elif kind not in _SCALARS:
            return f"{kind.__name__} objects cannot be kept in the state, got {value!r}: take its fields, or make it a dict"
        if inside is not None:
            return inside
    return None


def pack(value: Any) -> Any:
    if isinstance(value, Decimal):
        return msgspec.msgpack.Ext(_DECIMAL, str(value).encode())
    if isinstance(value, datetime):
        return msgspec.msgpack.Ext(_DATETIME, value.isoformat().encode())
    if isinstance(value, date):
        return msgspec.msgpack.Ext(_DATE, value.isoformat().encode())
    if isinstance(value, list):
        return [pack(part) for part in value]
    if isinstance(value, dict):
        return {pack(name): pack(part) for name, part in value.items()}
    if isinstance(value, set):
        return msgspec.msgpack.Ext(_SET, _encoder.encode(sorted((pack(part) for part in value), key=repr)))
    if isinstance(value, tuple):
        return msgspec.msgpack.Ext(_TUPLE, _encoder.encode([pack(part) for part in value]))
    if isinstance(value, Failed):
        return msgspec.msgpack.Ext(_FAILED, value.reason.encode())
    if type(value) is int and value not in _INTS:
        return msgspec.msgpack.Ext(_INT, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    return value


def unpack(code: int, data: memoryview) -> Any:
    if code == _DECIMAL:
        return Decimal(bytes(data).decode())
    if code == _DATETIME:
        return datetime.fromisoformat(bytes(data).decode())
    if code == _DATE:
        return date.fromisoformat(bytes(data).decode())
    if code == _TUPLE:
        return tuple(msgspec.msgpack.decode(data, ext_hook=unpack))
    if code == _SET:
        return set(msgspec.msgpack.decode(data, ext_hook=unpack))
    if code == _FAILED:
        return Failed(bytes(data).decode())
    if code == _INT:
        return int.from_bytes(data, "little", signed=True)
    raise ValueError(f"unknown extension {code}")
