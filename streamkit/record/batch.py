"""The batch that operators hand on: records of one source partition in offset order, with two views of the same values.

*Rows* are Python objects (a Model, a dataclass, a Row, whatever a function returned); *columns* are numpy arrays or lists
(`columns.Column`). Each view is made when it is first asked for. What comes from Kafka (keys, headers, original bytes, offsets)
stays with the fetched batch and is looked up through ``at``, the positions that are left of it: a filter costs one index array,
and what nobody reads is never extracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column, column_of, rows_from_columns
from streamkit.record.schema import ANY_FIELD, Schema

Int64s = npt.NDArray[np.int64]
Keys = Int64s | list[Any]
Headers = list[tuple[str, bytes | None]]


class Origin(Protocol):
    """Where the records of a batch came from (kafka.client.RecordBatch is one)."""

    @property
    def tp(self) -> tuple[str, int]: ...
    def values(self) -> list[bytes | None]: ...
    def keys(self) -> list[bytes | None]: ...
    def headers(self, at: Int64s | None = None, /) -> list[Headers | None]: ...
    def offsets(self) -> Int64s: ...
    @property
    def next_offset(self) -> int: ...


class Batch:
    """Records with their event times (int64 milliseconds).

    ``watermarks``: the own source partition's watermark before each record, or None if no record can be late.
    ``at``: position of each record in ``origin``; None stands for all of them in order.
    ``original``: whether values are still those of ``origin``'s bytes. ``late_of``: headers to add, see WindowAggregate.
    """

    __slots__ = (
        "_columns",
        "_decode_keys",
        "_full_rows",
        "_keys",
        "_rows",
        "_wire_keys",
        "added_headers",
        "at",
        "n",
        "origin",
        "original",
        "schema",
        "timestamps",
        "watermarks",
    )

    def __init__(
        self,
        origin: Origin,
        schema: Schema,
        timestamps: Int64s,
        *,
        at: Int64s | None = None,
        watermarks: Int64s | None = None,
        rows: list[Any] | None = None,
        columns: Mapping[str, Column] | None = None,
        keys: Keys | None = None,
        decode_keys: Callable[[Sequence[bytes | None]], Keys] | None = None,
        full_rows: Callable[[list[Any]], list[Any]] | None = None,
        original: bool = False,
    ) -> None:
        self.origin = origin
        self.schema = schema
        self.timestamps = timestamps
        self.n = len(timestamps)
        self.at = at
        self.watermarks = watermarks
        self._rows = rows
        self._columns: dict[str, Column] = dict(columns or {})
        self._keys = keys
        self._wire_keys: list[bytes | None] | None = None
        self._decode_keys = decode_keys
        self._full_rows = full_rows
        self.original = original
        self.added_headers: list[Headers] | None = None

    def __len__(self) -> int:
        return self.n

    # ---- the two views

    def rows(self) -> list[Any]:
        """One Python object per record."""
        if self._full_rows is not None:  # a projection was decoded so far: now the whole value is wanted
            self._rows, self._full_rows = self._full_rows(self.wire_values()), None
        if self._rows is None:
            self._rows = rows_from_columns({name: self.column(name) for name in self.schema.names}, self.n)
        return self._rows

    def column(self, name: str) -> Column:
        """One field of every record. ValueError/OverflowError if a row holds what its column cannot."""
        found = self._columns.get(name)
        if found is None:
            assert self._rows is not None, f"no column {name!r} and no rows to take it from"  # noqa: S101 - a bug here
            found = self._columns[name] = column_of(self._rows, name, self.schema.field(name) or ANY_FIELD)
        return found

    def has_column(self, name: str) -> bool:
        """Whether `column` gives it: a projection leaves out what nobody reads."""
        return name in self._columns or self._rows is not None

    @property
    def columnar(self) -> bool:
        """Whether the values exist as columns only."""
        return self._rows is None and self._full_rows is None

    # ---- what came from Kafka

    @property
    def keys(self) -> Keys:
        if self._keys is None:
            assert self._decode_keys is not None  # noqa: S101 - a batch has keys or a way to decode them
            self._keys = self._decode_keys(self.wire_keys())
        return self._keys

    @property
    def has_wire_keys(self) -> bool:
        """Whether the keys are still those of ``origin``'s bytes."""
        return self._decode_keys is not None

    def wire_keys(self) -> list[bytes | None]:
        if self._wire_keys is None:
            self._wire_keys = pick(self.origin.keys(), self.at)
        return self._wire_keys

    def wire_values(self) -> list[Any]:
        return pick(self.origin.values(), self.at)

    def headers(self) -> list[Headers | None]:
        found = self.origin.headers(self.at)
        if self.added_headers is None:
            return found
        return [(old or []) + new for old, new in zip(found, self.added_headers, strict=True)]

    def offset(self, index: int) -> int:
        """Offset of record ``index`` in its source partition."""
        return int(self.origin.offsets()[index if self.at is None else self.at[index]])

    def offsets(self) -> Int64s:
        offsets = self.origin.offsets()
        return offsets if self.at is None else offsets[self.at]

    # ---- deriving

    def take(self, at: Int64s) -> Batch:
        """The records at these positions, in this order; a position may occur several times."""
        out = Batch.__new__(Batch)
        out.origin, out.schema, out.n = self.origin, self.schema, len(at)
        out.timestamps = self.timestamps[at]
        out.watermarks = None if self.watermarks is None else self.watermarks[at]
        out.at = at if self.at is None else self.at[at]
        positions = at.tolist() if self._rows is not None or isinstance(self._keys, list) or self.added_headers else []
        out._rows = None if self._rows is None else [self._rows[i] for i in positions]
        out._columns = {name: column.take(at) for name, column in self._columns.items()}
        out._wire_keys = None
        out._decode_keys, out._full_rows, out.original = self._decode_keys, self._full_rows, self.original
        out._keys = (
            [self._keys[i] for i in positions]
            if isinstance(self._keys, list)
            else (None if self._keys is None else self._keys[at])
        )
        out.added_headers = None if self.added_headers is None else [self.added_headers[i] for i in positions]
        return out

    def keep(self, mask: npt.NDArray[np.bool_]) -> Batch:
        """The records where the mask is true; this batch itself if that is all of them."""
        return self if bool(mask.all()) else self.take(np.flatnonzero(mask))

    def with_rows(self, rows: list[Any], schema: Schema) -> Batch:
        """Other values, as rows."""
        return self._with_values(schema, rows, {})

    def with_columns(self, columns: Mapping[str, Column], schema: Schema) -> Batch:
        """Other values, as columns."""
        return self._with_values(schema, None, dict(columns))

    def with_keys(self, keys: Keys) -> Batch:
        out = self.take_all()
        out._keys, out._decode_keys, out._wire_keys = keys, None, None
        return out

    def with_added_headers(self, headers: list[Headers]) -> Batch:
        out = self.take_all()
        old = self.added_headers
        out.added_headers = headers if old is None else [a + b for a, b in zip(old, headers, strict=True)]
        return out

    def take_all(self) -> Batch:
        """A second batch over the same records, for changing one thing about them."""
        out = Batch.__new__(Batch)
        for name in Batch.__slots__:
            setattr(out, name, getattr(self, name))
        out._columns = dict(self._columns)
        return out

    def _with_values(self, schema: Schema, rows: list[Any] | None, columns: dict[str, Column]) -> Batch:
        out = self.take_all()
        out.schema, out._rows, out._columns = schema, rows, columns
        out._full_rows, out.original = None, False
        return out


@overload
def pick(column: list[Any], at: Int64s | None) -> list[Any]: ...
@overload
def pick(column: Sequence[Any], at: Int64s | None) -> Sequence[Any]: ...
def pick(column: Sequence[Any], at: Int64s | None) -> Sequence[Any]:
    """The values at these positions; all of them for None."""
    return column if at is None else [column[i] for i in at.tolist()]


class DerivedOrigin:
    """The origin of results: they have no offset of their own, so errors name the record after which they were released."""

    __slots__ = ("_count", "_offset", "tp")

    def __init__(self, tp: tuple[str, int], offset: int, count: int) -> None:
        self.tp = tp
        self._offset = offset
        self._count = count

    def values(self) -> list[bytes | None]:
        return [None] * self._count

    def keys(self) -> list[bytes | None]:
        return [None] * self._count

    def headers(self, at: Int64s | None = None) -> list[Headers | None]:
        return [None] * (self._count if at is None else len(at))

    def offsets(self) -> Int64s:
        return np.full(self._count, self._offset, np.int64)

    @property
    def next_offset(self) -> int:
        return self._offset + 1
