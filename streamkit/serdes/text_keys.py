"""Keys that are plain text or bytes on the wire: str, int, bytes, and no key at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamkit.record.joined import Joined, JoinedBytes
from streamkit.serdes.compiled import COLUMNS
from streamkit.serdes.serde import Keys

_encode_json = msgspec.json.Encoder().encode
_decode_ints = msgspec.json.Decoder(list[int]).decode
_POWERS = np.uint64(10) ** np.arange(1, 20, dtype=np.uint64)


def wrong_type(key: Any, wanted: str, detail: str = "") -> TypeError:
    """The error for a key of another type than declared."""
    shown = repr(key) if not isinstance(key, int) or key.bit_length() < 200 else "of a very large integer"
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return TypeError(f"key {shown} ({type(key).__name__}) is not {wanted}" + (f": {detail}" if detail else ""))


@dataclass(frozen=True, slots=True)
class BytesKey:
    """Keys as they are on the wire.

    >>> BytesKey().encode([b"a", None])
    [b'a', None]
    """

    name = "bytes"
    type = bytes

    def decode(self, data: Sequence[bytes | None]) -> list[Any]:
        return list(data)

    def decode_one(self, data: bytes | None) -> bytes | None:
        return data

    def encode(self, keys: Keys) -> list[bytes | None]:
        plain: list[Any] = keys if isinstance(keys, list) else keys.tolist()
        if not set(map(type, plain)) <= {bytes, type(None)}:
            return list(map(self.encode_one, plain))
        return plain

    def encode_one(self, key: Any) -> bytes | None:
        if key is None or isinstance(key, bytes):
            return key
        raise wrong_type(key, "bytes")


@dataclass(frozen=True, slots=True)
class StringKey:
    """Text keys, in UTF-8. ValueError for bytes that are not UTF-8, and for text that cannot be written in it.

    >>> StringKey().encode(["küla", None]), StringKey().decode([b"a", None])
    ([b'k\\xc3\\xbcla', None], ['a', None])
    """

    name = "str"
    type = str

    def decode(self, data: Sequence[bytes | None]) -> list[Any]:
        try:
            return list(map(bytes.decode, data))  # type: ignore[arg-type] # a null raises TypeError
        except TypeError:
            return list(map(self.decode_one, data))

    def decode_one(self, data: bytes | None) -> str | None:
        return None if data is None else data.decode()

    def encode(self, keys: Keys) -> list[bytes | None]:
        plain: list[Any] = keys if isinstance(keys, list) else keys.tolist()
        try:
            return list(map(str.encode, plain))
        except TypeError:
            return list(map(self.encode_one, plain))

    def encode_one(self, key: Any) -> bytes | None:
        if key is None:
            return None
        if isinstance(key, str):
            return key.encode()
        raise wrong_type(key, "str")


@dataclass(frozen=True, slots=True)
class IntKey:
    """Integer keys, as decimal text of any length.

    Only the canonical form is read: ``007``, ``+7``, ``7.0`` or `` 7`` are refused (ValueError), since they would be the same
    key as ``7`` in other partitions; such a topic is read with ``key=str``. `decode` gives an int64 array where all keys are
    there and fit, else a list with None for null.

    >>> IntKey().decode([b"7", b"-12"])
    array([  7, -12])
    >>> IntKey().decode([b"7", None]), IntKey().encode_one(2**70)
    ([7, None], b'1180591620717411303424')
    >>> IntKey().decode_one(b"007")
    Traceback (most recent call last):
    ValueError: key b'007' is not an integer in canonical decimal text
    """

    name = "int"
    type = int

    def decode(self, data: Sequence[bytes | None]) -> Keys:
        if COLUMNS is not None and isinstance(data, list):
            read = np.empty(len(data), np.int64)
            if COLUMNS.integers(data, read):
                return read
        return self._decode_as_json(data)

    def decode_joined(self, data: Joined) -> Keys | None:
        """`JoinedKeySerde`"""
        if COLUMNS is None:
            return None
        read = np.empty(len(data[1]) // 4, np.int64)
        return read if COLUMNS.integers(data, read) else None

    def _decode_as_json(self, data: Sequence[bytes | None]) -> Keys:
        try:
            joined = b"[" + b",".join(data) + b"]"  # type: ignore[arg-type] # a null raises TypeError
            keys = np.fromiter(_decode_ints(joined), np.int64)
        except (TypeError, ValueError, OverflowError):
            return list(map(self.decode_one, data))
        # JSON refuses leading zeros and plus signs; what else is not canonical (spaces, "1,2", "-0") does not add up.
        if len(keys) != len(data) or len(joined) != _text_length(keys) + len(data) + (1 if len(data) else 2):
            return list(map(self.decode_one, data))
        return keys

    def decode_one(self, data: bytes | None) -> int | None:
        if data is None:
            return None
        try:
            key = int(data)
        except ValueError:
            key = None
        if key is None or b"%d" % key != data:
            raise ValueError(f"key {data[:60]!r} is not an integer in canonical decimal text")
        return key

    def encode(self, keys: Keys) -> Sequence[bytes | None]:
        if isinstance(keys, list) and not set(map(type, keys)) <= {int}:
            return list(map(self.encode_one, keys))
        if COLUMNS is not None and not isinstance(keys, list):
            return JoinedBytes(COLUMNS.splice(((b"", "q", np.ascontiguousarray(keys)),), b"", len(keys), _encode_json))
        return list(map(_encode_json, keys if isinstance(keys, list) else keys.tolist()))

    def encode_one(self, key: Any) -> bytes | None:
        if key is None:
            return None
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return b"%d" % key
        raise wrong_type(key, "int")


@dataclass(frozen=True, slots=True)
class NullKey:
    """The key of `globally`: null for every record. ValueError for a record that has a key."""

    name = "null"
    type = None

    def decode(self, data: Sequence[bytes | None]) -> list[Any]:
        if data.count(None) == len(data):
            return list(data)
        return list(map(self.decode_one, data))

    def decode_one(self, data: bytes | None) -> None:
        if data is not None:
            raise ValueError(f"key {data[:60]!r} where every key must be null")

    def encode(self, keys: Keys) -> list[bytes | None]:
        plain: list[Any] = keys if isinstance(keys, list) else keys.tolist()
        if plain.count(None) == len(plain):
            return plain
        return list(map(self.encode_one, plain))

    def encode_one(self, key: Any) -> None:
        if key is not None:
            raise wrong_type(key, "None")


def _text_length(keys: npt.NDArray[np.int64]) -> int:
    """Characters of these integers in decimal text."""
    # The magnitude of -2**63 has no int64: as uint64 it has.
    magnitude = np.where(keys < 0, -keys, keys).view(np.uint64)
    return int(np.searchsorted(_POWERS, magnitude, side="right").sum()) + len(keys) + int(np.count_nonzero(keys < 0))
