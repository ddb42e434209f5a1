"""Text keys to slots where there are many: all texts in one array, and a table of their slots, both without an object per key.

A text lies in the *arena* as 64-bit words: its UTF-8 bytes, then one byte 0xFF (which UTF-8 never has) and zeros up to the end of
the word. So texts are equal exactly if the words of the one are the first words of the other: nothing has to be known of their
lengths. Words are compared for every key that is looked up; the hash only says where to look first.

Beside a dict of `str` this takes a third of the memory (about 40 bytes for a key of 15 characters instead of 130), and from some
thousand keys on less time, for the places of a whole batch are fetched at once. Below that a dict is faster.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Small = npt.NDArray[np.signedinteger[Any]]
"""Slots or positions in four bytes each, where they fit."""

LONGEST: Final = 511
"""Bytes of the longest text that is taken: the words of a batch are walked in step, as often as the longest has some."""
_MOST_WORDS: Final = LONGEST // 8 + 1
_FIRST_BITS: Final = 8
_AT_ONCE: Final = 65_536
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_END: Final = 0xFF
_INT32: Final = 2**31 - 1
_SMALL: Final = 4_096
# by the number of bytes that a text has from where a word begins; the last are for -1: it has ended before
_KEPT: Final = np.array([*((1 << (8 * rest)) - 1 for rest in range(9)), 0], np.uint64)
_ENDS: Final = np.array([*(_END << (8 * rest) for rest in range(8)), 0, 0], np.uint64)
_BEFORE_PADDING: Final = np.tri(8, dtype=bool)


class Texts:
    """A column of texts as words: the first words of all, the second of all, ..., and how many each has; what is behind its last
    is 0."""

    __slots__ = ("least", "widths", "words")

    def __init__(self, words: list[Words], widths: Int64s, least: int) -> None:
        """``least``: each has so many words, or more."""
        self.words, self.widths, self.least = words, widths, least

    @classmethod
    def of(cls, column: list[Any]) -> Texts | None:
        """None if one of them is no text or is too long."""
        if not set(map(type, column)) <= {str}:
            return None
        if not column:
            return cls([], np.zeros(0, np.int64), 0)
        joined: str = "".join(column)
        parts: list[Any] = column if joined.isascii() else [text.encode("utf-8", "surrogatepass") for text in column]
        data = joined.encode() if parts is column else b"".join(parts)
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        shortest, longest = int(lengths.min()), int(lengths.max())
        if longest > LONGEST:
            return None
        begins = np.cumsum(lengths)
        begins -= lengths
        from_any_byte = np.ndarray((len(data) + longest + 1,), "<u8", data + bytes(longest + 8), strides=(1,))
        words = []
        for start in range(0, longest + 1, 8):
            word = from_any_byte[begins + start].astype(np.uint64, copy=False)
            if start + 8 > shortest:
                here = np.maximum(np.minimum(lengths - start, 8), -1)
                word &= _KEPT[here]
                word |= _ENDS[here]
            words.append(word)
        return cls(words, (lengths >> 3) + 1, (shortest >> 3) + 1)

    def __len__(self) -> int:
        return len(self.widths)

    def hashes(self, multipliers: Words) -> Words:
        """Vector multiply-shift (Dietzfelbinger), and once more mixed, for texts that differ in their last places only."""
        found: Words = np.zeros(len(self), np.uint64)
        for word, multiplier in zip(self.words, multipliers, strict=False):
            found += word * multiplier
        found ^= found >> np.uint64(32)
        found *= _MIX
        return found

    def take(self, at: Int64s) -> Texts:
        """Those at these positions."""
        return Texts([word[at] for word in self.words], self.widths[at], self.least)

    def in_a_row(self) -> Words:
        """All words of the first, all of the second, ..."""
        if not self.words:
            return np.zeros(0, np.uint64)
        there = np.arange(len(self.words)) < self.widths[:, None]
        return np.stack(self.words, axis=1)[there]


class TextTable:
    """Slots of different texts: 0, 1, 2, ... in the order in which they were entered.

    Open addressing with triangular steps, at a load of at most a quarter: of a batch a few keys need more steps than the others,
    and each step costs as much for one as for hundreds.
    """

    __slots__ = ("_arena", "_begins", "_bits", "_multipliers", "_size", "_slots")

    def __init__(self) -> None:
        self._size = 0
        self._arena = np.zeros(1 << _FIRST_BITS, np.uint64)
        # of the texts by slot, and behind them where the arena ends
        self._begins: Small = np.zeros(1 << _FIRST_BITS, np.int32)
        # Python's own hash is seeded by process, so nobody outside can choose keys that collide
        seeds = np.array([hash(f"multiplier {number}") | 1 for number in range(_MOST_WORDS)], np.int64)
        self._multipliers = seeds.view(np.uint64)
        self._make_table(_FIRST_BITS)

    def __len__(self) -> int:
        return self._size

    def find(self, texts: Texts) -> Int64s:
        """Slots of these texts, -1 for those that are not there."""
        places = self._places(texts)
        found = self._slots[places].astype(np.int64, copy=False)
        todo = np.flatnonzero(self._differ(texts, found))
        left, at, step = texts, places[todo], 0
        while len(todo):
            step += 1
            left = texts.take(todo)
            at = (at + step) & (len(self._slots) - 1)
            slots = found[todo] = self._slots[at]
            others = np.flatnonzero(self._differ(left, slots))
            todo, at = todo[others], at[others]
        return found

    def _differ(self, texts: Texts, slots: Small) -> npt.NDArray[np.bool_]:
        """Whether there is another text in the slot; in slot -1 there is none."""
        here = self._begins[slots]
        same = np.ones(len(texts), bool)
        for number, word in enumerate(texts.words):
            equal = self._arena[here + number] == word
            same &= equal if number < texts.least else equal | (texts.widths <= number)
        differ: npt.NDArray[np.bool_] = ~same & (slots >= 0)
        return differ

    def enter(self, texts: Texts) -> None:
        """Gives the next slots to texts that are not there, each given once."""
        used, size = int(self._begins[self._size]), self._size + len(texts)
        words, end = texts.in_a_row(), used + int(texts.widths.sum())
        self._arena = with_room(self._arena, end + _MOST_WORDS)
        self._arena[used:end] = words
        if end > _INT32 - _MOST_WORDS:  # texts are compared up to so far behind where they begin
            self._begins = self._begins.astype(np.int64)
        self._begins = with_room(self._begins, size + 1)
        self._begins[self._size + 1 : size + 1] = used + np.cumsum(texts.widths)
        first, self._size = self._size, size
        if 4 * size > len(self._slots):
            self._enter_all((4 * size - 1).bit_length())
        else:
            self._claim(self._places(texts), np.arange(first, size))

    def truncate(self, size: int) -> None:
        """Forgets the texts from this slot on."""
        self._size = size
        self._enter_all(self._bits)

    def texts(self, slots: Int64s) -> list[str]:
        """Those of these slots."""
        begins = self._begins[slots].astype(np.int64)
        widths = self._begins[slots + 1] - begins
        octets = self._arena[_ragged(begins, widths)].astype("<u8", copy=False).view(np.uint8)
        ends = np.flatnonzero(octets == _END)
        kept = np.ones((len(octets) // 8, 8), bool)
        kept[ends >> 3] = _BEFORE_PADDING[ends & 7]
        data = octets[kept.ravel()].tobytes()
        if np.count_nonzero(octets & 0x80) == len(slots):
            return data.decode("latin-1").split("\xff")[:-1]
        return [piece.decode("utf-8", "surrogatepass") for piece in data.split(b"\xff")[:-1]]

    def _places(self, texts: Texts) -> Int64s:
        hashes: Words = texts.hashes(self._multipliers)
        hashes >>= np.uint64(64 - self._bits)
        places: Int64s = hashes.view(np.int64)
        return places

    def _make_table(self, bits: int) -> None:
        self._bits = bits
        self._slots = empty_slots(1 << bits)

    def _enter_all(self, bits: int) -> None:
        """Enters all texts anew, each with its slot, into an empty table of this size."""
        self._make_table(bits)
        for start in range(0, self._size, _AT_ONCE):
            slots = np.arange(start, min(start + _AT_ONCE, self._size))
            self._claim(self._places(self._at(slots)), slots)

    def _at(self, slots: Int64s) -> Texts:
        begins = self._begins[slots].astype(np.int64)
        widths = self._begins[slots + 1] - begins
        words = []
        for number in range(int(widths.max(initial=0))):
            word = self._arena[begins + number]
            word[widths <= number] = 0
            words.append(word)
        return Texts(words, widths, 1)

    def _claim(self, places: Int64s, slots: Int64s) -> None:
        """Enters slots of different texts: of several that want one place the last written wins it."""
        todo = np.arange(len(slots))
        step = 0
        while len(todo):
            free = todo[self._slots[places[todo]] < 0]
            self._slots[places[free]] = slots[free]
            todo = todo[self._slots[places[todo]] != slots[todo]]
            step += 1
            places[todo] = (places[todo] + step) & (len(self._slots) - 1)


def empty_slots(size: int) -> Small:
    """A table of this size, -1 everywhere. A small one takes eight bytes a place, so that nothing has to be converted."""
    return np.full(size, -1, np.int32) if _SMALL < size <= _INT32 else np.full(size, -1, np.int64)


def _ragged(begins: Int64s, widths: Int64s) -> Int64s:
    """begin, begin + 1, ... of each: as many as its width."""
    ends = np.cumsum(widths)
    at = np.repeat(begins - (ends - widths), widths)
    at += np.arange(len(at))
    return at


def with_room(array: npt.NDArray[Any], size: int, fill: int = 0) -> npt.NDArray[Any]:
    """The array itself, or a longer one, with this behind it."""
    if size <= len(array):
        return array
    grown = np.empty(max(size, len(array) * 5 // 4), array.dtype)
    grown[: len(array)] = array
    grown[len(array) :] = fill
    return grown
