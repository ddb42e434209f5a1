"""Reads one field after the other of many Avro records at once: a cursor per record, moved by numpy.

A block is strict: whatever it cannot read to the letter (bytes that end too early, a length below zero, a branch that a union has
not, a number beyond 64 bits) raises `BlockError`, and the records are then read one by one, which either
names the bad one or reads what the specification leaves open. So it never takes what the reader of single values refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.serdes.avro_schema import Node

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MAX_ITEMS, _MAX_PIECES = 32, 4  # of a skipped array
_PADDING = bytes(16)  # more than any number or fixed part that is read before its place is checked
_ENDS = np.uint64(0x8080808080808080)
_SEVENS = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONE = np.uint64(1)
# Folds eight groups of seven bits into one number: which bits stay, which move, and by how many.
_FOLDS = tuple(
    (np.uint64(stay), np.uint64(move), np.uint64(by))
    for stay, move, by in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)


class BlockError(ValueError):
    """A block that is not read as a whole: its records must be read one by one."""

    def __init__(self) -> None:
        super().__init__("broken Avro, cut off or of another schema")


@dataclass(slots=True)
class Block:
    """The bytes of many records one behind the other, and for each the place that is read next and the place behind it."""

    data: bytes
    bytes_: npt.NDArray[np.uint8]
    at: Int64s
    end: Int64s

    @classmethod
    def of(cls, values: Sequence[bytes], start: int) -> Block:
        """``start``: bytes at the beginning of each value that are no part of it. TypeError if one is None."""
        data = b"".join((*values, _PADDING))
        end = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
        at = np.empty_like(end)
        at[:1], at[1:] = 0, end[:-1]
        block = cls(data, np.frombuffer(data, np.uint8), at + start, end)
        block._check()
        return block

    def some(self, chosen: Int64s) -> Block:
        return Block(self.data, self.bytes_, self.at[chosen], self.end[chosen])

    def __len__(self) -> int:
        return len(self.at)

    def finish(self) -> None:
        """Every record must have been read to its end, and not beyond."""
        if not np.array_equal(self.at, self.end):
            raise BlockError

    def advance(self, count: int | Int64s) -> None:
        """Over ``count`` bytes, which may be none and not negative."""
        if isinstance(count, np.ndarray) and bool(((count < 0) | (count > self.end - self.at)).any()):
            raise BlockError
        self.at = self.at + count
        self._check()

    def byte(self) -> npt.NDArray[np.uint8]:
        found: npt.NDArray[np.uint8] = self.bytes_[self.at]
        self.advance(1)
        return found

    def words(self, size: int) -> npt.NDArray[np.uint64]:
        """The next bytes as little-endian numbers, without moving."""
        kind = np.uint64 if size == 8 else np.uint32
        view = np.ndarray((len(self.data) - size + 1,), f"<u{size}", self.data, strides=(1,))
        return view[self.at].astype(kind, copy=False)

    def longs(self) -> Int64s:
        """The types int and long, which are the same on the wire; also lengths, counts, and the places of enums and unions."""
        first = self.bytes_[self.at]
        if bool((first < 0x80).all()):  # lengths, and small numbers
            self.advance(1)
            return _zigzag(first.astype(np.uint64))
        words = self.words(8)
        stops = ~words & _ENDS
        lowest = stops & (~stops + _ONE)
        value = words & (lowest - _ONE) & _SEVENS  # lowest = 0: the number goes on behind eight bytes; all of them
        for stay, move, by in _FOLDS:
            value = (value & stay) | ((value & move) >> by)
        # The exponent of a power of two is its place.
        places = (lowest.astype(np.float64).view(np.int64) >> 52) - 1023
        size = (places + 1) >> 3
        longer = np.flatnonzero(lowest == 0)
        if len(longer):
            value[longer], size[longer] = self._nine_or_ten(longer, value[longer])
        self.at = self.at + size
        self._check()
        return _zigzag(value)

    def _nine_or_ten(self, chosen: Int64s, value: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], Int64s]:
        at = self.at[chosen]
        ninth, tenth = (self.bytes_[at + place].astype(np.uint64) for place in (8, 9))
        more = ninth >= 0x80
        if bool((tenth[more] > 1).any()):  # beyond 64 bits
            raise BlockError
        value = value | ((ninth & np.uint64(0x7F)) << np.uint64(56))
        return np.where(more, value | (tenth << np.uint64(63)), value), np.where(more, 10, 9)

    def spans(self) -> tuple[Int64s, Int64s]:
        """Where the bytes of a string or of bytes start and end."""
        size = self.longs()
        start = self.at
        self.advance(size)
        return start, self.at

    def _check(self) -> None:
        if bool((self.at > self.end).any()):
            raise BlockError


def _zigzag(value: npt.NDArray[np.uint64]) -> Int64s:
    return ((value >> _ONE) ^ -(value & _ONE).view(np.int64).view(np.uint64)).view(np.int64)


def pieces(block: Block, start: Int64s, end: Int64s) -> list[bytes]:
    data = block.data
    return [data[one:other] for one, other in zip(start.tolist(), end.tolist(), strict=True)]


def texts(block: Block, start: Int64s, end: Int64s) -> list[str]:
    """UnicodeDecodeError, a ValueError, if any is not UTF-8 by itself."""
    size = end - start
    ends = np.cumsum(size)
    total = int(ends[-1]) if len(ends) else 0
    places = np.arange(total) + np.repeat(start - (ends - size), size)
    joined = block.bytes_[places].tobytes()
    if joined.isascii():
        text = joined.decode()
        return [text[one:other] for one, other in zip((ends - size).tolist(), ends.tolist(), strict=True)]
    return [piece.decode() for piece in pieces(block, start, end)]


Skip = Callable[[Block], None]

_FIXED = {"null": 0, "boolean": 1, "float": 4, "double": 8}


def skipper(node: Node, named: dict[str, Node]) -> Skip | None:
    """Moves over a value of this type; None for types that are not read in blocks.

    ``named``: the types by name that were met before; those in this node are added.
    """
    if isinstance(node, str) and node in named:
        node = named[node]
    if isinstance(node, list):
        return _skip_union([skipper(part, named) for part in node])
    kind = node if isinstance(node, str) else node["type"]
    if kind in _FIXED:
        return lambda block: block.advance(_FIXED[kind])
    if kind in ("int", "long", "enum"):
        return lambda block: _none(block.longs())
    if kind in ("string", "bytes"):
        return lambda block: _none(block.spans())
    if kind == "fixed":
        return lambda block: block.advance(int(node["size"]))
    if kind == "record":
        named[node["name"]] = node
        return _skip_record([skipper(part["type"], named) for part in node["fields"]])
    return _skip_array(skipper(node["items"], named)) if kind == "array" else None


def _none(_: object) -> None:
    """Only the move counts."""


def _skip_record(parts: list[Skip | None]) -> Skip | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None

    def skip(block: Block) -> None:
        for part in known:
            part(block)

    return skip


def branches(block: Block, count: int) -> npt.NDArray[np.uint8]:
    """Which branch of a union each record has; it must be one of ``count``."""
    chosen: npt.NDArray[np.uint8] = block.byte() // np.uint8(2)
    if bool((block.bytes_[block.at - 1] & 0x81).any()) or bool((chosen >= count).any()):
        raise BlockError
    return chosen


def _skip_union(parts: list[Skip | None]) -> Skip | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None

    def skip(block: Block) -> None:
        chosen = branches(block, len(known))
        for index, part in enumerate(known):
            there = np.flatnonzero(chosen == index)
            if len(there):
                within(block, there, part)

    return skip


def _skip_array(item: Skip | None) -> Skip | None:
    """Item after item, in all records that have one more: long arrays are better read record by record."""
    if item is None:
        return None

    def skip(block: Block) -> None:
        open_ = np.arange(len(block))
        for _ in range(_MAX_PIECES):
            part = block.some(open_)
            counts = part.longs()
            sized = np.flatnonzero(counts < 0)  # then the size in bytes follows, which nobody needs
            if len(sized):
                counts[sized] = -counts[sized]
                within(part, sized, Block.longs)
            if bool(((counts < 0) | (counts > _MAX_ITEMS)).any()):
                raise BlockError
            for left in range(int(counts.max())):
                within(part, np.flatnonzero(counts > left), item)
            block.at = block.at.copy()
            block.at[open_] = part.at
            open_ = open_[counts != 0]
            if not len(open_):
                return
        raise BlockError

    return skip


def within(block: Block, chosen: Int64s, do: Callable[[Block], Any]) -> Any:
    """Does it with some of the records only."""
    if len(chosen) == len(block):
        return do(block)
    part = block.some(chosen)
    found = do(part)
    block.at = block.at.copy()
    block.at[chosen] = part.at
    return found
