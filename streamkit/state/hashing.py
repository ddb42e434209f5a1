"""Hashes of values, 64 bits each: the same in every process, on every machine and in every version.

State that was built from them is read back by later versions, so none of this may ever change: numbers of columns by the
finalizer of SplitMix64 (Steele, Lea, Flood 2014; the constants are Stafford's Mix13), a bijection with full avalanche; all else
by XXH3, whose output its specification fixes. Python's own `hash` differs from process to process.

Values that are equal have one hash: 1, 1.0 and true; 0.0 and -0.0; a float and the Decimal that is exactly it; one instant in
two zones. NaN, which equals nothing, has one, too.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from streamkit.record.columns import Column
from streamkit.record.schema import Kind
from streamkit.state.accumulators import INT64, CannotAddError

Hashes = npt.NDArray[np.uint64]
_LONGEST = 400
"""Decimal places on either side of the point up to which a Decimal is looked at as a float or an int: more than a float has."""


def hashes_of(column: Column) -> tuple[Hashes, npt.NDArray[np.bool_] | None]:
    """One hash per value, and which values are not null (None: all). CannotAddError for the first that cannot be compared.

    >>> hashes_of(Column(np.array([1, 2]), None, Kind.INT))[0].tolist()
    [10451216379200822465, 10905525725756348110]
    >>> hashes_of(Column(["A", None], None, Kind.STR))[0].tolist()[0]
    15047818145317598341
    """
    values = column.values
    if not isinstance(values, list):
        return _mixed(_bits(values)), column.valid
    valid = np.fromiter((value is not None for value in values), bool, len(values))
    if column.kind is Kind.STR:
        found = [0 if value is None else xxh3_64_intdigest(value.encode("utf-8", "surrogatepass")) for value in values]
    elif column.kind is Kind.BYTES:
        found = [0 if value is None else xxh3_64_intdigest(value) for value in values]
    else:
        found = [0 if value is None else xxh3_64_intdigest(_canonical(value, index)) for index, value in enumerate(values)]
    return np.array(found, np.uint64), None if bool(valid.all()) else valid


def _bits(values: npt.NDArray[Any]) -> Hashes:
    if values.dtype != np.float64:
        return values.astype(np.int64).view(np.uint64)
    plain = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, and no zero with a sign
    return plain.view(np.uint64)


def _mixed(bits: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)  # or 0 would stay 0
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Hashes = bits ^ (bits >> np.uint64(31))
        return mixed


def _canonical(value: Any, index: int) -> bytes:
    """Bytes that two values share if and only if they are equal."""
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, int):
        if not INT64.min <= value <= INT64.max:
            raise CannotAddError(index, f"{value} does not fit into 64 bits")
        return b"i%d" % value
    if isinstance(value, float):
        return b"i%d" % int(value) if value.is_integer() else b"f" + repr(value).encode()
    if isinstance(value, Decimal):
        return _of_decimal(value, index)
    if isinstance(value, datetime):
        return b"t" + (value if value.tzinfo is None else value.astimezone(UTC)).isoformat().encode()
    if isinstance(value, date):
        return b"d" + value.isoformat().encode()
    if isinstance(value, bytes):
        return b"b" + value
    raise CannotAddError(index, f"{type(value).__name__} values cannot be compared, got {value!r}")


def _of_decimal(value: Decimal, index: int) -> bytes:
    if value.is_snan():
        raise CannotAddError(index, f"{value!r} is no number")
    if not value.is_finite():
        return b"f" + repr(float(value)).encode()
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - a finite one has a number there
    if exponent >= -3 * _LONGEST and value.adjusted() <= _LONGEST:
        if value == value.to_integral_value():
            return b"i%d" % int(value)
        near = float(value)
        if value == Decimal(near):
            return b"f" + repr(near).encode()
    significant = "".join(map(str, digits))
    stripped = significant.rstrip("0")
    return f"e{sign}:{stripped}:{exponent + len(significant) - len(stripped)}".encode()
