"""Python values as JSON text, the one way in which all JSON serdes write them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from streamkit.record.schema import is_row_type
from streamkit.serdes.utc import fields_in_utc, in_utc, names_with_instants, settled


def encode_object(row: Any) -> bytes:
    """A Row, dict, Struct or dataclass as a JSON object; TypeError for anything else.

    Of a Struct or dataclass the types of its fields tell where a datetime may be: to look for one in every value takes longer
    than all the rest.
    """
    if isinstance(row, dict):
        return encode(row if settled(row.values()) else in_utc(row))
    instants = _instants_of(row.__class__)
    return encode(fields_in_utc(row, instants) if instants else row)


@lru_cache(maxsize=256)
def _instants_of(kind: type[Any]) -> tuple[str, ...]:
    """The fields in which a datetime may be; TypeError for what is no type of rows."""
    if not is_row_type(kind) or getattr(getattr(kind, "__struct_config__", None), "array_like", False):
        raise TypeError(f"type {kind.__name__} cannot be written as a JSON object; give a Row, a dict, a Model or a dataclass")
    names = kind.__struct_fields__ if issubclass(kind, msgspec.Struct) else [field.name for field in dataclasses.fields(kind)]
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except NameError:  # a type that is known only where the class was made
        return tuple(names)
    return names_with_instants({name: hints[name] for name in names}, untyped=True)


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
