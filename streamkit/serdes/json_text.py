"""Python values as JSON text, the one way in which all JSON serdes write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from streamkit.record.schema import is_row_type
from streamkit.serdes.utc import in_utc, settled


def encode_object(row: Any) -> bytes:
    """A Row, dict, Struct or dataclass as a JSON object; TypeError for anything else."""
    if isinstance(row, dict):
        return encode(row if settled(row.values()) else in_utc(row))
    if not is_row_type(type(row)) or getattr(getattr(row, "__struct_config__", None), "array_like", False):
        raise TypeError(f"a {type(row).__name__} cannot be written as a JSON object; give a Row, a dict, a Model or a dataclass")
    return encode(in_utc(row))


def _foreign(value: Any) -> Any:
    """What msgspec does not know: numpy values, and subclasses of the plain types."""
    if isinstance(value, np.datetime64):
        raise TypeError("a numpy datetime64 cannot be written; give a datetime")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, datetime):
        return datetime.fromisoformat(value.isoformat())
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


encode = msgspec.json.Encoder(enc_hook=_foreign).encode
"""Any value whose datetimes are in UTC already."""
