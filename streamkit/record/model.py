"""The values that users meet: typed models, untyped rows, records with their metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")


class Model(msgspec.Struct):
    """Base class of typed record values: a `msgspec.Struct` whose annotations are the fields.

    A field without a default is required; ``X | None`` may be null. Datetimes are instants in UTC; a naive datetime is
    taken as UTC. Fields of the bytes that the model does not name are ignored.

    >>> import streamkit as sk
    >>> class Bid(sk.Model):
    ...     item: str
    ...     price: float
    >>> Bid("A", 2.0)
    Bid(item='A', price=2.0)
    """


class Row(dict[str, Any]):
    """An untyped record value, or a result: a dict whose fields can be read as attributes.

    >>> import streamkit as sk
    >>> row = sk.Row(item="A", price=2.0)
    >>> row.price, row["item"]
    (2.0, 'A')
    >>> row.prise
    Traceback (most recent call last):
    AttributeError: this row has no field 'prise'; it has: item, price
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this row has no field '{name}'; it has: {', '.join(self) or 'none'}") from None


@dataclass(frozen=True, slots=True)
class Record(Generic[K, V]):
    """A value with its Kafka metadata, as `Stream.records()` and `TestDriver.read()` give it.

    ``timestamp`` is the event time in UTC; ``headers`` maps each name to its last value.
    """

    key: K
    value: V
    timestamp: datetime
    headers: dict[str, bytes | None] = field(default_factory=dict)
    topic: str = ""
    partition: int = -1
    offset: int = -1
