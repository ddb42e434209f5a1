"""Keys whose type is known only at run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from streamkit.serdes.json_keys import DatetimeKey, canonical
from streamkit.serdes.serde import Keys
from streamkit.serdes.text_keys import BytesKey, IntKey, StringKey, wrong_type

KEY_TYPE_HEADER = "streamkit-key-type"

_CHOICES = "str, int, bytes, float, bool, datetime or a tuple of str, int, float, bool and None; give the key's type for others"
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode
_INT, _BYTES, _INSTANT, _JSON = IntKey(), BytesKey(), DatetimeKey(), "j"
_STR = StringKey()


@dataclass(frozen=True, slots=True)
class DynamicKey:
    """Keys of any of the plain types: str as UTF-8, int as decimal text, bytes as they are, the others as JSON.

    The bytes alone do not tell ``"7"`` from ``7``. Where streamkit reads back what it wrote, in a repartition topic, a header
    (`KEY_TYPE_HEADER`) holds one letter for the type: none for str (and null), ``i`` int, ``b`` bytes, ``t`` datetime, ``j``
    JSON (float, bool, tuple). Without it, `decode` takes every key for text.

    >>> serde = DynamicKey()
    >>> keys = ["7", 7, b"7", ("a", 1.5), None]
    >>> serde.encode(keys), serde.tags(keys)
    ([b'7', b'7', b'7', b'["a",1.5]', None], [None, 'i', 'b', 'j', None])
    >>> serde.decode_tagged(serde.encode(keys), serde.tags(keys)) == keys
    True
    """

    name = "any"
    type = Any

    def decode(self, data: Sequence[bytes | None]) -> Keys:
        return _STR.decode(data)

    def decode_one(self, data: bytes | None) -> Any:
        return _STR.decode_one(data)

    def encode(self, keys: Keys) -> Sequence[bytes | None]:
        if not isinstance(keys, list):
            return _INT.encode(keys)
        types = set(map(type, keys))
        if types <= {str, type(None)}:
            return _STR.encode(keys)
        return _INT.encode(keys) if types == {int} else list(map(self.encode_one, keys))

    def encode_one(self, key: Any) -> bytes | None:
        tag = self.tag(key)
        if tag == _JSON:
            return _encode_json(_checked(key.item() if isinstance(key, np.generic) else key))
        data: bytes | None = _SERDES[tag].encode_one(key)
        return data

    @staticmethod
    def tag(key: Any) -> str | None:
        """The letter for the type of this key; None for str and for null. TypeError for what cannot be a key."""
        for types, tag in _TAGS:
            if isinstance(key, types):
                return tag
        raise wrong_type(key, f"a possible key: {_CHOICES}")

    @staticmethod
    def tags(keys: Keys) -> list[str | None]:
        """`tag` of each key."""
        if not isinstance(keys, list):
            return ["i"] * len(keys)
        types = set(map(type, keys))
        return [None] * len(keys) if types <= {str, type(None)} else list(map(DynamicKey.tag, keys))

    def decode_tagged(self, data: Sequence[bytes | None], tags: Sequence[str | None]) -> Keys:
        """The keys behind these bytes and tags, with their types; ValueError if they do not fit each other."""
        kinds = set(tags)
        if kinds == {"i"}:
            return _INT.decode(data)
        return _STR.decode(data) if kinds == {None} else list(map(self.decode_tagged_one, data, tags))

    def decode_tagged_one(self, data: bytes | None, tag: str | None) -> Any:
        if data is None:
            return None
        if tag == _JSON:
            try:
                return _hashable(_decode_json(data))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"key {data[:60]!r} is not JSON: {error}") from None
        if tag not in _SERDES:
            raise ValueError(f"unknown key type {tag!r} in header '{KEY_TYPE_HEADER}'; known: i, b, t, j")
        return _SERDES[tag].decode_one(data)


# In this order: a bool is an int to Python.
_TAGS: tuple[tuple[tuple[type, ...], str | None], ...] = (
    ((str, type(None)), None),
    ((bool, np.bool_, float, np.floating, tuple), _JSON),
    ((int, np.integer), "i"),
    ((bytes,), "b"),
    ((datetime,), "t"),
)
_SERDES: dict[str | None, Any] = {None: _STR, "i": _INT, "b": _BYTES, "t": _INSTANT}


def _checked(key: Any) -> Any:
    """A key that comes back from JSON as it was."""
    if isinstance(key, tuple):
        return tuple(map(_checked, key))
    if key is None or isinstance(key, (str, int, float)):
        return canonical(key)
    raise wrong_type(key, f"a possible part of a key: {_CHOICES}")


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        raise ValueError("an object cannot be a key")  # noqa: TRY004 - the bytes are wrong, not the caller's type
    return value
