"""Values that are one scalar: text, an integer, a float, or raw bytes. Text is what Kafka's tools show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from streamkit.record.schema import Schema
from streamkit.serdes.serde import Serde

_encode_number = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class StringSerde:
    """Text in UTF-8; ValueError for bytes that are not.

    >>> StringSerde().encoder()("küla")
    b'k\\xc3\\xbcla'
    """

    name = "str"
    schema = Schema({}, open=True, type=str)

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], str]:  # noqa: ARG002 - a scalar has none
        return bytes.decode

    def encoder(self) -> Callable[[Any], bytes]:
        return lambda value: _checked(value, str, "text").encode()


@dataclass(frozen=True, slots=True)
class BytesSerde:
    """Bytes as they are."""

    name = "bytes"
    schema = Schema({}, open=True, type=bytes)

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], bytes]:  # noqa: ARG002 - a scalar has none
        return bytes

    def encoder(self) -> Callable[[Any], bytes]:
        return lambda value: bytes(_checked(value, bytes, "bytes"))


@dataclass(frozen=True, slots=True)
class IntSerde:
    """Integers of any size as decimal text (a JSON number).

    >>> IntSerde().encoder()(2**70), IntSerde().decoder()(b"-7")
    (b'1180591620717411303424', -7)
    """

    name = "int"
    schema = Schema({}, open=True, type=int)

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], int]:  # noqa: ARG002 - a scalar has none
        return msgspec.json.Decoder(int).decode

    def encoder(self) -> Callable[[Any], bytes]:
        return lambda value: _encode_number(int(_checked(value, (int, np.integer), "an integer")))


@dataclass(frozen=True, slots=True)
class FloatSerde:
    """Floats as a JSON number; an int is taken as a float. ValueError for NaN and infinity, which JSON has not."""

    name = "float"
    schema = Schema({}, open=True, type=float)

    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], float]:  # noqa: ARG002 - a scalar has none
        return msgspec.json.Decoder(float).decode

    def encoder(self) -> Callable[[Any], bytes]:
        return _encode_float


def _encode_float(value: Any) -> bytes:
    number = float(_checked(value, (int, float, np.integer, np.floating), "a number"))
    if not math.isfinite(number):
        raise ValueError(f"{number} cannot be written: JSON has no such number")
    return _encode_number(number)


def _checked(value: Any, types: type | tuple[type, ...], wanted: str) -> Any:
    if isinstance(value, types) and not isinstance(value, bool):
        return value
    raise TypeError(f"a value of type {type(value).__name__} is not {wanted}")


SCALARS: dict[type, Callable[[], Serde[Any]]] = {str: StringSerde, bytes: BytesSerde, int: IntSerde, float: FloatSerde}
