"""Keys on the wire: str as UTF-8, int as decimal text, bytes as they are, everything else as JSON.

Equal keys must be equal bytes: the bytes choose the partition and are what a compacted topic keeps one value of. So integers
are read in their one canonical form only, and floats and datetimes are written in one form (no negative zero, always UTC).
The serdes are in text_keys.py, json_keys.py and dynamic_key.py; `key_serde_for` chooses one.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from streamkit.errors import SchemaError
from streamkit.serdes.dynamic_key import KEY_TYPE_HEADER, DynamicKey
from streamkit.serdes.json_keys import BoolKey, DateKey, DatetimeKey, FloatKey, TupleKey, type_name
from streamkit.serdes.serde import KeySerde
from streamkit.serdes.text_keys import BytesKey, IntKey, NullKey, StringKey

__all__ = [
    "KEY_TYPE_HEADER",
    "BoolKey",
    "BytesKey",
    "DateKey",
    "DatetimeKey",
    "DynamicKey",
    "FloatKey",
    "IntKey",
    "NullKey",
    "StringKey",
    "TupleKey",
    "key_serde_for",
]

_SCALARS: dict[Any, Callable[[], KeySerde[Any]]] = {
    str: StringKey,
    int: IntKey,
    bytes: BytesKey,
    float: FloatKey,
    bool: BoolKey,
    datetime: DatetimeKey,
    date: DateKey,
    None: NullKey,
    type(None): NullKey,
}
_ELEMENTS = (str, int, float, bool, datetime, date, type(None), ...)


def key_serde_for(key: Any) -> KeySerde[Any]:
    """The serde for keys of this type; a key serde is returned as it is.

    ``X | None`` has the serde of X (a null key is null on the wire in every serde); Any has `DynamicKey`.

    >>> key_serde_for(int), key_serde_for(tuple[str, int]).name
    (IntKey(), 'tuple[str, int]')
    >>> key_serde_for(dict)
    Traceback (most recent call last):
    streamkit.errors.SchemaError: dict cannot be the type of a key; choose str, int, bytes, float, ...
    """
    if not isinstance(key, type) and hasattr(key, "decode_one") and hasattr(key, "encode_one"):
        return key  # type: ignore[no-any-return]
    if typing.get_origin(key) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(key) if part is not type(None)]
        if len(rest) == 1:
            return key_serde_for(rest[0])
    if key is Any:
        return DynamicKey()
    if typing.get_origin(key) is tuple and typing.get_args(key) and all(map(_is_element, typing.get_args(key))):
        return TupleKey(key)
    if isinstance(key, (type, types.NoneType)) and key in _SCALARS:
        return _SCALARS[key]()
    raise SchemaError(
        f"{type_name(key)} cannot be the type of a key; choose str, int, bytes, float, bool, datetime, date, None, "
        f"a tuple of these such as tuple[str, int], Any, or give a key serde"
    )


def _is_element(part: Any) -> bool:
    if typing.get_origin(part) in (typing.Union, types.UnionType):
        return all(map(_is_element, typing.get_args(part)))
    return part in _ELEMENTS
