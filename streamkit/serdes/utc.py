"""Datetimes inside values: instants in UTC, whatever zone they came with. A naive datetime is taken as UTC."""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from streamkit.record.instants import as_utc

PLAIN = frozenset({str, int, float, bool, types.NoneType, bytes, date, time, timedelta, Decimal, UUID})
"""Types of values in which no datetime can hide."""


_UNTYPED = (Any, object, list, dict, tuple, set, frozenset)


def in_utc(value: Any) -> Any:
    """The value with every datetime in it, at any depth, in UTC.

    The same object if there is nothing to change, else a copy (containers of other values may be copied for nothing).

    >>> in_utc({"at": [datetime(2020, 4, 15, 8, 5)]})
    {'at': [datetime.datetime(2020, 4, 15, 8, 5, tzinfo=datetime.timezone.utc)]}
    """
    if value.__class__ in PLAIN:
        return value
    if isinstance(value, datetime):
        return value if value.tzinfo is UTC else as_utc(value)
    if isinstance(value, dict):
        if settled(value) and settled(value.values()):
            return value
        return {in_utc(name): in_utc(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return value if settled(value) else _rebuilt(value, [in_utc(item) for item in value])
    if isinstance(value, msgspec.Struct):
        return fields_in_utc(value, value.__struct_fields__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_in_utc(value, tuple(field.name for field in dataclasses.fields(value)))
    return value


def settled(values: Iterable[Any]) -> bool:
    """Whether there is surely nothing to change: plain values and datetimes in UTC."""
    for value in values:
        kind = value.__class__
        if kind not in PLAIN and not (kind is datetime and value.tzinfo is UTC):
            return False
    return True


def fields_in_utc(row: Any, names: tuple[str, ...]) -> Any:
    """A Struct or dataclass with these fields in UTC; the same object if there is nothing to change, else a copy."""
    result = row
    for name in names:
        value = getattr(row, name)
        if value.__class__ is datetime and value.tzinfo is UTC:
            continue
        changed = in_utc(value)
        if changed is not value:
            result = copy.copy(row) if result is row else result
            _force(result, name, changed)
    return result


def names_with_instants(hints: dict[str, Any], *, untyped: bool) -> tuple[str, ...]:
    """Fields whose type may hold a datetime; ``untyped`` says whether Any counts (a decoder leaves text in it)."""
    return tuple(name for name, hint in hints.items() if _may_hold(hint, untyped, set()))


def _may_hold(hint: Any, untyped: bool, seen: set[Any]) -> bool:  # noqa: FBT001 - internal
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _may_hold(typing.get_args(hint)[0], untyped, seen)
    if hint in PLAIN or hint in (None, ...) or origin is typing.Literal:
        return False
    if hint in _UNTYPED:
        return untyped
    if arguments := typing.get_args(hint):
        return any(_may_hold(argument, untyped, seen) for argument in arguments)
    if isinstance(hint, type) and (issubclass(hint, msgspec.Struct) or dataclasses.is_dataclass(hint)):
        if hint in seen:
            return False
        inner = typing.get_type_hints(hint, include_extras=True).values()
        return any(_may_hold(part, untyped, seen | {hint}) for part in inner)
    return True  # a datetime, or a type not known here: looked through at run time


def _rebuilt(value: Any, items: list[Any]) -> Any:
    make: Callable[[list[Any]], Any] = getattr(type(value), "_make", type(value))  # a named tuple has _make
    return make(items)


def _force(row: Any, name: str, value: Any) -> None:
    """Sets a field of a fresh copy, frozen or not."""
    if isinstance(row, msgspec.Struct):
        msgspec.structs.force_setattr(row, name, value)
    else:
        object.__setattr__(row, name, value)
