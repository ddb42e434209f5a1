"""The way to the extension in native/: records between librdkafka and Python by columns. Optional; see native/README.md.

`streamkit.compiled` says when it is taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import confluent_kafka as ck
from confluent_kafka import cimpl

from streamkit import compiled
from streamkit.errors import ConfigError
from streamkit.kafka.client import Headers, Int64s
from streamkit.kafka.confluent.events import logger
from streamkit.record.joined import Joined

_PLUGINS: Final = "plugin.library.paths"
_CLIENT: Final = "streamkit.client"
_numbers = itertools.count(1)  # of the process, as the extension's own list of clients is: two with one number are one to it

_Made = TypeVar("_Made")
_Over = TypeVar("_Over")
Run = tuple[str, int, Joined, Joined | None, "Kept", bytearray, bytearray, int]
"""topic, partition, values, keys (None: all are null), messages, offsets and timestamps (int64), last leader epoch (-1: none)"""
Told = tuple[str | None, int, int, int, str]
"""topic, partition, offset, error code, words"""
Failed = tuple[int, str, int, bytes | None, int, int]
"""error code, topic, partition, key of the first, how many, how many of them without a key"""


class Kept(Protocol):
    """The messages of a run. They are destroyed with it, and when the reader is closed."""

    def headers(self, positions: Int64s | None, /) -> list[Headers | None] | None:
        """Of these records, or of all. None if none of them has any; ValueError if the messages are gone."""
        ...


class Reader(Protocol):
    """The records of a consumer's partitions, until it is closed."""

    def take(self, topic: str, partition: int, /) -> None:
        """From now on the partition delivers here, until its fetcher is stopped."""
        ...

    def read(self, most: int, timeout_ms: int, /) -> tuple[list[Run], list[Told]]:
        """What is there, else waits for the first record only."""
        ...

    def close(self) -> None: ...


class Sender(Protocol):
    """The queues of a producer. `close` comes before it is dropped."""

    def produce(
        self,
        topic: str,
        partition: int,
        values: list[bytes | None] | Joined,
        keys: list[bytes | None] | Joined,
        timestamps: int | Int64s,
        headers: list[Headers | None] | None,
        start: int,
        stop: int,
        /,
    ) -> tuple[int, int]:
        """The records from start to stop; how far it came, and the code of the error that stopped it there (0: none did)."""
        ...

    def failures(self) -> list[Failed]:
        """What could not be delivered since it was last asked."""
        ...

    def close(self) -> None: ...


class Native(Protocol):
    """The extension."""

    __file__: str

    def load(self, path: str, /) -> int: ...
    def split(self, joined: Joined, /) -> list[bytes | None]: ...

    Kept: type[Any]

    def Reader(self, number: int, kept: type[Any], /) -> Reader: ...  # noqa: N802 - a class
    def Sender(self, number: int, /) -> Sender: ...  # noqa: N802 - a class


class Extension:
    """The extension of this process, looked for when a client is first made. ``native`` is None where there is none."""

    def __init__(self, load: Callable[[str], Any | None] = compiled.load) -> None:
        """``load`` gives a compiled module by its name, or None."""
        self.native: Native | None = None
        self._load = load
        self._looked = False

    def reader(self, make: Callable[[dict[str, Any]], _Made], config: dict[str, Any]) -> tuple[_Made, Reader | None]:
        """A consumer, and the reader over it."""
        return self._plugged(make, config, lambda native, number: native.Reader(number, native.Kept))

    def sender(self, make: Callable[[dict[str, Any]], _Made], config: dict[str, Any]) -> tuple[_Made, Sender | None]:
        """A producer, and the sender over it."""
        return self._plugged(make, config, lambda native, number: native.Sender(number))

    def _plugged(
        self, make: Callable[[dict[str, Any]], _Made], config: dict[str, Any], over: Callable[[Native, int], _Over]
    ) -> tuple[_Made, _Over | None]:
        native = self._find()
        if native is None:
            return make(config), None
        number = next(_numbers)
        others = [config[_PLUGINS]] if _PLUGINS in config else []
        plugged = {**config, _PLUGINS: ";".join([*others, native.__file__]), _CLIENT: str(number)}
        try:
            made = make(plugged)
        except ck.KafkaException as refused:
            made = make(config)  # raises the same if it is not for the plugin
            self._give_up(f"librdkafka does not load it as a plugin: {refused}")
            return made, None
        return made, over(native, number)

    def _find(self) -> Native | None:
        if not self._looked:
            self.native = self._load("streamkit.kafka.confluent._native")
            if self.native is not None:
                try:
                    self.native.load(cimpl.__file__)
                except ImportError as error:
                    self._give_up(str(error))
            self._looked = True  # not where it is required and was not found: then every client is refused
        return self.native

    def _give_up(self, why: str) -> None:
        if compiled.required():
            raise ConfigError(f"{compiled.VARIABLE}=require, but records cannot be moved by columns: {why}")
        logger.warning("records are read and written one by one: %s", why)
        self.native = None


extension: Final = Extension()
