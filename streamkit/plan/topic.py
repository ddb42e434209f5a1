"""A Kafka topic as a pipeline names it, with the types of its keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, overload

from streamkit.errors import DeclarationError
from streamkit.plan.names import checked_topic
from streamkit.record.model import Record, Row
from streamkit.serdes.json import serde_for
from streamkit.serdes.keys import key_serde_for
from streamkit.serdes.serde import KeySerde, Serde

K = TypeVar("K")
V = TypeVar("V")


class Topic(Generic[K, V]):
    """A topic and the types of its keys and values.

    ``value`` is a `Model`, dataclass or msgspec Struct (JSON objects on the wire), `Row` (any JSON object; the default),
    ``str``, ``int``, ``bytes``, or a serde. ``key`` is ``str`` (UTF-8), ``int`` (decimal text), ``bytes``, a tuple type
    (JSON array), or a key serde. Without ``key`` a topic that is read gives raw ``bytes | None`` and a topic that is
    written takes keys of any of these types.

    Null values (tombstones) never reach a pipeline's functions; null keys do, as None. Nothing is checked against Kafka
    before the app runs. `DeclarationError`: a name that Kafka refuses. `SchemaError`: a type with no serde.

    >>> import streamkit as sk
    >>> class Bid(sk.Model):
    ...     item: str
    ...     price: float
    >>> sk.Topic("bids", key=str, value=Bid)
    Topic('bids', key=str, value=json(Bid))
    >>> sk.Topic("bids of today")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: 'bids of today' cannot be a topic name: Kafka takes ASCII letters, digits, ...
    """

    __slots__ = ("key_declared", "key_serde", "name", "sampler", "value_serde")

    @overload
    def __init__(self: Topic[bytes | None, Row], name: str) -> None: ...
    @overload
    def __init__(self: Topic[bytes | None, V], name: str, *, value: type[V] | Serde[V]) -> None: ...
    @overload
    def __init__(self, name: str, *, key: type[K] | KeySerde[K], value: type[V] | Serde[V]) -> None: ...
    @overload
    def __init__(self: Topic[K, Row], name: str, *, key: type[K] | KeySerde[K]) -> None: ...
    def __init__(self, name: str, *, key: Any = None, value: Any = Row) -> None:
        self.name = checked_topic(name)
        self.key_declared = key is not None
        self.key_serde: KeySerde[K] = key if _is_serde(key) else key_serde_for(bytes if key is None else key)
        self.value_serde: Serde[V] = value if _is_serde(value) else serde_for(value)
        self.sampler: Callable[[], Iterable[V | Record[K, V]]] | None = None

    def __repr__(self) -> str:
        key = f", key={self.key_serde.name}" if self.key_declared else ""
        return f"Topic('{self.name}'{key}, value={self.value_serde.name})"

    def sample(self, generator: Callable[[], Iterable[V | Record[K, V]]]) -> Callable[[], Iterable[V | Record[K, V]]]:
        """Decorator: ``generator`` makes records of this topic for `streamkit dev`; a service never calls it.

        It is a function without arguments that gives values (their key is null, their Kafka timestamp the present), or
        `Record` objects with key, timestamp and headers, for ever or until it ends. ``dev`` takes ``--rate`` records a second,
        so it need not sleep. `DeclarationError`: the topic has a generator already.

        >>> import itertools, streamkit as sk
        >>> NUMBERS = sk.Topic("numbers", value=int)
        >>> @NUMBERS.sample
        ... def numbers():
        ...     return itertools.count()
        """
        if not callable(generator):
            raise DeclarationError(f"topic '{self.name}': sample takes a function that makes values, not {generator!r}")
        if self.sampler is not None:
            raise DeclarationError(f"topic '{self.name}' has two sample generators; keep one")
        self.sampler = generator
        return generator

    def same_types(self, other: Topic[Any, Any]) -> bool:
        """Whether both read and write the same bytes as the same types."""
        mine, theirs = self.value_serde, other.value_serde
        return (
            self.key_serde.name == other.key_serde.name
            and mine.name == theirs.name
            and mine.schema.type == theirs.schema.type
            and self.key_declared == other.key_declared
        )


def checked_topic_argument(topic: Any, *, where: str) -> Topic[Any, Any]:
    if not isinstance(topic, Topic):
        hint = f'; write sk.Topic("{topic}")' if isinstance(topic, str) else ""
        raise DeclarationError(f"{where}: expected a sk.Topic, got {topic!r}{hint}")
    return topic


def _is_serde(candidate: Any) -> bool:
    """A serde is an instance that has a name; a class is a type to find a serde for."""
    return not isinstance(candidate, type) and hasattr(candidate, "name") and not hasattr(candidate, "__origin__")
