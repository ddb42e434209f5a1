"""What a serde is: the protocols between bytes on the wire and the engine's rows, keys and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from streamkit.record.column import Column, Constant
from streamkit.record.joined import Joined
from streamkit.record.schema import Schema

V_co = TypeVar("V_co", covariant=True)
K_co = TypeVar("K_co", covariant=True)

# A column of keys: int64 where every key is an int, else a list of Python objects (None for a null key).
Keys = npt.NDArray[np.int64] | list[Any]

# What a decoder raises for bytes that do not fit: nesting deeper than Python's stack is no ValueError.
DECODE_ERRORS = (ValueError, RecursionError)
# What an encoder raises for a row that does not fit.
ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)

# Columns of the names that the encoder was made for, in that order, and the number of records.
ColumnsEncoder = Callable[[Sequence[Column | Constant], int], Sequence[bytes]]

# The columns of the fields that the decoder was made for, from the bytes of many values.
ColumnsDecoder = Callable[[Sequence[bytes]], Mapping[str, Column]]


class Serde(Protocol[V_co]):
    """Values of one type on the wire.

    ``name`` is shown in plans and errors ("json(Bid)"); ``schema`` is the schema of the rows that `decoder` gives.
    A null value (a tombstone) never reaches a serde. Serdes are values: two that are equal read and write the same bytes as
    the same types, so that what one has read may be passed on to the other's topic unchanged.
    """

    @property
    def name(self) -> str: ...
    @property
    def schema(self) -> Schema: ...
    def decoder(self, fields: frozenset[str] | None = None) -> Callable[[bytes], Any]:
        """A function from the bytes of one value to a row.

        ``fields`` is the projection: only these fields need to be there, under their own names as attributes, and only
        they are validated; datetimes in a projection may be left as text (`Batch.column` parses them as a column).
        None decodes the whole typed value. Raises one of DECODE_ERRORS for bytes that do not fit.
        """
        ...

    def encoder(self) -> Callable[[Any], bytes]:
        """A function from one row to its bytes; raises one of ENCODE_ERRORS for a row of another type."""
        ...


@runtime_checkable
class ColumnarSerde(Protocol):
    """A serde that can write rows from columns; for others rows are made first."""

    def columns_encoder(self, names: Sequence[str]) -> ColumnsEncoder:
        """A function from columns of these names to the bytes of each record: exactly what `encoder` writes for a Row of them.

        It raises one of ENCODE_ERRORS if any row does not fit; encoding them one by one then finds which.
        """
        ...


@runtime_checkable
class BlockSerde(Protocol):
    """A serde that can read many values at once as columns; with others rows are decoded first."""

    def columns_decoder(self, fields: frozenset[str]) -> ColumnsDecoder | None:
        """A function from the bytes of many values to the columns of these fields, exactly those of ``decoder(fields)``'s rows.

        It raises one of DECODE_ERRORS or a TypeError if there is any value that it does not read; decoding them one by one then
        finds which, or reads them. None where rows are as fast, or a column would not be exactly the same.
        """
        ...


@runtime_checkable
class JoinedDecoder(Protocol):
    """A `ColumnsDecoder` that can read values without a Python object for each."""

    def joined(self, values: Joined) -> Mapping[str, Column]:
        """The same for joined values."""
        ...


@runtime_checkable
class JoinedKeySerde(Protocol):
    """A serde that can read keys without a Python object for each."""

    def decode_joined(self, data: Joined) -> Keys | None:
        """What `decode` gives; None if any key is to be read by that."""
        ...


class KeySerde(Protocol[K_co]):
    """Keys of one type on the wire; a null key is null on the wire in every serde."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Any:
        """The Python type of a key: str, int, bytes, a tuple type, or Any where it is known only at run time."""
        ...

    def decode(self, data: Sequence[bytes | None]) -> Keys:
        """A column of keys. ValueError if any does not fit; `decode_one` then finds which."""
        ...

    def decode_one(self, data: bytes | None) -> Any: ...
    def encode(self, keys: Keys) -> Sequence[bytes | None]: ...
    def encode_one(self, key: Any) -> bytes | None: ...
