"""The compiled part of the serdes (native/columns.c), where there is one: JSON and decimal text from and to columns.

Everything works without it, byte for byte, with a call or an object for each record: `COLUMNS` is then None. Who uses it takes it
as an argument, so that tests hold both ways together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from streamkit import compiled
from streamkit.record.joined import Joined

Strings = list[Any] | Joined
Described = tuple[bytes, str, bool, bool, Any, Any]
"""A field: name on the wire; q int64, d float64, ? bool or s text; nullable; null if it is left out; the array or list to fill;
the mask of what is nullable."""


class Columns(Protocol):
    """What the module offers."""

    @staticmethod
    def project(values: Strings, fields: tuple[Described, ...], start: int, unescape: Callable[[bytes], str], /) -> int:
        """Reads fields of JSON objects from the value at ``start`` on, up to one that is not usual; gives where that is."""
        ...

    @staticmethod
    def integers(texts: Strings, out: Any, /) -> bool:
        """Reads canonical decimal text; False if any is something else, or beyond 64 bits."""
        ...

    @staticmethod
    def pick(joined: Joined, at: Any, /) -> list[bytes | None]:
        """Those at these positions, an int64 array that rises; IndexError if it does not."""
        ...

    @staticmethod
    def splice(parts: tuple[tuple[bytes, str, Any], ...], after: bytes, count: int, encode: Callable[[Any], bytes], /) -> Joined:
        """Text for each row: of each part (before, kind, column) what stands before and the value; then ``after``."""
        ...


COLUMNS: Final = cast("Columns | None", compiled.load("streamkit.serdes._columns"))
"""None: it was not compiled, or is not wanted."""
