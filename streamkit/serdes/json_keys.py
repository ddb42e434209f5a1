"""Keys that are one JSON value of a known type: floats, booleans, dates, datetimes, and tuples of these (composite keys)."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import msgspec
import numpy as np

from streamkit.record.instants import as_utc
from streamkit.serdes.serde import Keys
from streamkit.serdes.text_keys import wrong_type

_encode_json = msgspec.json.Encoder().encode
_AS_THEY_ARE = (datetime, date)  # text is no datetime
_OF_MANY_FORMS = (float, datetime)


def type_name(annotation: Any) -> str:
    """As a user writes it: ``str``, ``tuple[str, int]``."""
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)


def canonical(key: Any) -> Any:
    """One form for equal keys: no negative zero, datetimes in UTC. ValueError for NaN and infinity."""
    if isinstance(key, float):
        if not math.isfinite(key):
            raise ValueError(f"{key} cannot be a key: JSON has no such number, and NaN is not equal to itself")
        return key + 0.0
    if isinstance(key, datetime):
        return as_utc(key)
    return tuple(map(canonical, key)) if isinstance(key, tuple) else key


@dataclass(frozen=True, slots=True)
class JsonKey:
    """Keys that are one JSON value of ``type``. NaN and infinity, which JSON has not, are refused (ValueError).

    JSON of other writers is read in any form (``4`` or ``4.0``, spaces after commas), though its bytes, and so its partition,
    may differ from what `encode` gives for an equal key.
    """

    type: Any
    name: str = field(init=False)
    _decode: Callable[[bytes], Any] = field(init=False, compare=False, repr=False)
    _one_form: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", type_name(self.type))
        object.__setattr__(self, "_decode", msgspec.json.Decoder(self.type).decode)
        object.__setattr__(self, "_one_form", not any(part in _OF_MANY_FORMS for part in _parts(self.type)))

    def decode(self, data: Sequence[bytes | None]) -> list[Any]:
        if not self._one_form or None in data:
            return list(map(self.decode_one, data))
        try:
            return list(map(self._decode, data))  # type: ignore[arg-type] # no null among them
        except (ValueError, RecursionError):
            return list(map(self.decode_one, data))  # says which

    def decode_one(self, data: bytes | None) -> Any:
        if data is None:
            return None
        try:
            return canonical(self._decode(data))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"key {data[:60]!r} is not {self.name} in JSON: {error}") from None

    def encode(self, keys: Keys) -> list[bytes | None]:
        plain = keys if isinstance(keys, list) else keys.tolist()
        if not self._one_form:
            return list(map(self.encode_one, plain))
        try:
            checked = msgspec.convert(plain, list[self.type], builtin_types=_AS_THEY_ARE)  # type: ignore[name-defined]
        except msgspec.ValidationError:  # a null, a numpy scalar, or a wrong type
            return list(map(self.encode_one, plain))
        return list(map(_encode_json, checked))

    def encode_one(self, key: Any) -> bytes | None:
        if key is None:
            return None
        try:
            checked = msgspec.convert(_plain(key), self.type, builtin_types=_AS_THEY_ARE)
        except msgspec.ValidationError as error:
            raise wrong_type(key, self.name, str(error)) from None
        return _encode_json(canonical(checked))


@dataclass(frozen=True, slots=True)
class FloatKey(JsonKey):
    """Float keys, as a JSON number; an int is taken as a float, and negative zero as zero.

    >>> FloatKey().encode([1.5, 4, -0.0])
    [b'1.5', b'4.0', b'0.0']
    """

    type: Any = float


@dataclass(frozen=True, slots=True)
class BoolKey(JsonKey):
    """Boolean keys: ``true`` and ``false``."""

    type: Any = bool


@dataclass(frozen=True, slots=True)
class DatetimeKey(JsonKey):
    """Instants, as RFC 3339 text in UTC inside a JSON string; naive is UTC.

    >>> DatetimeKey().encode_one(datetime(2020, 4, 15, 8, 5))
    b'"2020-04-15T08:05:00Z"'
    """

    type: Any = datetime


@dataclass(frozen=True, slots=True)
class DateKey(JsonKey):
    """Dates, as ``"2020-04-15"`` in JSON."""

    type: Any = date


@dataclass(frozen=True, slots=True)
class TupleKey(JsonKey):
    """Composite keys: a tuple in Python, a JSON array on the wire; number and types of elements are checked.

    >>> serde = TupleKey(tuple[str, int])
    >>> serde.encode_one(("A", 1)), serde.decode_one(b'["A",1]')
    (b'["A",1]', ('A', 1))
    >>> serde.encode_one(("A", "1"))
    Traceback (most recent call last):
    TypeError: key ('A', '1') (tuple) is not tuple[str, int]: Expected `int`, got `str` - at `$[1]`
    """

    type: Any


def _plain(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(map(_plain, key))
    return key.item() if isinstance(key, np.generic) else key


def _parts(annotation: Any) -> list[Any]:
    """The types that an annotation is made of."""
    arguments = typing.get_args(annotation)
    return [part for argument in arguments for part in _parts(argument)] if arguments else [annotation]
