"""Keys to slots: dense numbers 0, 1, 2, ... for one pane. (Of int keys that come together the order is that of the table.)

`IntKeys` is a vectorised open-addressing table for int64 columns (9-65 ns a key from 100 to 1 M keys, where a dict costs
53-500 ns in cache misses); `ObjectKeys` is a dict for everything else, and where there are many texts a table, too
(`text_keys.py`). A pane starts with the one that fits its first keys; an int column with a null key in it turns `IntKeys` into
`ObjectKeys`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamkit.state.text_keys import Texts, TextTable, empty_slots

Int64s = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int64]
Keys = Int64s | list[Any]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Fibonacci hashing, the high bits are the hash
_FIRST_BITS = 8


class _SlotDict(dict[Any, int]):
    """Gives an unseen key the next slot, so that a whole column is looked up by one `map`."""

    __slots__ = ()

    def __missing__(self, key: Any) -> int:
        slot = self[key] = len(self)
        return slot


class _Exact(NamedTuple):
    """A float or bool key: to a dict they equal the int of the same value, but on the wire and so to users they do not."""

    type: type
    value: Any


_INEXACT = {bool, float, tuple}
_MADE_EXACT = {tuple, _Exact}
_NAN = float("nan")  # one key, though it does not equal itself


MANY_TEXTS = 8_192
"""From so many on a table of texts is faster than a dict, in batches of a thousand and more, and its memory counts."""


class ObjectKeys:
    """Slots of hashable Python keys, in the order of first sight. 1, 1.0 and True are three keys, NaN is one.

    Many texts move from the dict to a table, and back for good as soon as something else comes: a null, or a very long text.
    """

    __slots__ = ("_by_slot", "_may_move", "_slots", "_texts")

    def __init__(self, keys: Iterable[Any] = ()) -> None:
        self._slots = _SlotDict()
        self._by_slot: list[Any] = []  # of the first slots; the others are looked up when they are asked for
        self._texts: TextTable | None = None
        self._may_move = True
        for key in exact_keys(list(keys)):
            self._slots[key]

    def __len__(self) -> int:
        return len(self._slots) if self._texts is None else len(self._texts)

    def slots(self, keys: Keys) -> Slots:
        column = keys if isinstance(keys, list) else keys.tolist()
        if self._texts is not None:
            texts = Texts.of(column)
            if texts is not None:
                return _slots_of(self._texts, texts, column)
            self._move_back(self._texts)
        found = np.fromiter(map(self._slots.__getitem__, exact_keys(column)), np.int64, len(column))
        if self._may_move and len(self._slots) >= MANY_TEXTS:
            self._move()
        return found

    def find(self, keys: Keys) -> Slots:
        """Slots of these keys, -1 for those that are not there."""
        column = keys if isinstance(keys, list) else keys.tolist()
        if self._texts is not None:
            return _find_texts(self._texts, column)
        return np.fromiter((self._slots.get(key, -1) for key in exact_keys(column)), np.int64, len(column))

    def keys(self) -> list[Any]:
        """In slot order."""
        return plain_keys(list(self._slots)) if self._texts is None else self._texts.texts(np.arange(len(self._texts)))

    def keys_at(self, slots: Slots) -> list[Any]:
        """The keys of these slots, at a cost that does not grow with the others: a pane may hold millions, and stay for ever."""
        if self._texts is not None:
            return self._texts.texts(slots)
        new = list(islice(reversed(self._slots), len(self._slots) - len(self._by_slot)))
        self._by_slot.extend(reversed(new))
        return plain_keys([self._by_slot[slot] for slot in slots.tolist()])

    def truncate(self, size: int) -> None:
        """Forgets the keys from this slot on."""
        if self._texts is not None:
            self._texts.truncate(size)
            return
        for key in list(self._slots)[size:]:
            del self._slots[key]
        del self._by_slot[size:]

    def _move(self) -> None:
        texts = Texts.of(list(self._slots))
        self._may_move = False
        if texts is not None:
            self._texts = TextTable()
            self._texts.enter(texts)
            self._slots, self._by_slot = _SlotDict(), []

    def _move_back(self, texts: TextTable) -> None:
        self._slots.update({text: slot for slot, text in enumerate(texts.texts(np.arange(len(texts))))})
        self._texts = None


def _slots_of(table: TextTable, texts: Texts, column: list[Any]) -> Slots:
    found = table.find(texts)
    unseen = np.flatnonzero(found < 0)
    if len(unseen):
        numbers = _SlotDict()
        new = np.fromiter((numbers[column[at]] for at in unseen.tolist()), np.int64, len(unseen))
        first = np.empty(len(numbers), np.int64)
        first[new[::-1]] = unseen[::-1]
        found[unseen] = len(table) + new
        table.enter(texts.take(first))
    return found


def _find_texts(table: TextTable, column: list[Any]) -> Slots:
    texts = Texts.of(column)
    if texts is not None:
        return table.find(texts)
    found = np.full(len(column), -1, np.int64)
    for at, key in enumerate(column):  # nulls among them, or what is not in the table for its length
        if isinstance(key, str) and (texts := Texts.of([str.__str__(key)])) is not None:
            found[at] = table.find(texts)[0]
    return found


def exact_keys(keys: list[Any]) -> list[Any]:
    """Keys as a dict can tell them apart, also inside tuples."""
    types = set(map(type, keys))
    if types == {tuple}:
        types = set(map(type, chain.from_iterable(keys)))
    return keys if types.isdisjoint(_INEXACT) else list(map(_exact, keys))


def _exact(key: Any) -> Any:
    if type(key) is tuple:
        return tuple(map(_exact, key))
    if type(key) in (bool, float):
        return _Exact(type(key), key if key == key else _NAN)  # noqa: PLR0124 - NaN
    return key


def plain_keys(keys: list[Any]) -> list[Any]:
    """The keys behind those of `exact_keys`; the same list where they are the same."""
    return keys if _MADE_EXACT.isdisjoint(map(type, keys)) else list(map(plain_key, keys))


def plain_key(key: Any) -> Any:
    """The key behind one of `exact_keys`."""
    if type(key) is tuple:
        return tuple(map(plain_key, key))
    return key.value if type(key) is _Exact else key


class IntKeys:
    """Slots of int64 keys: linear probing at a load of at most one half. The table has slots only, four bytes each: the key is
    where all keys are, by its slot."""

    __slots__ = ("_bits", "_by_slot", "_mask", "_size", "_table")

    def __init__(self, expected: int = 0) -> None:
        """``expected``: how many keys there may be, so that the table need not grow on the way there."""
        bits = max(_FIRST_BITS, (2 * expected).bit_length())
        self._size = 0
        self._by_slot = np.zeros(1 << (bits - 1), np.int64)
        self._make_table(bits)

    def __len__(self) -> int:
        return self._size

    def keys(self) -> Int64s:
        """In slot order."""
        return self._by_slot[: self._size]

    def keys_at(self, slots: Slots) -> Int64s:
        """The keys of these slots."""
        return self._by_slot[slots]

    def slots(self, keys: Keys) -> Slots:
        keys = np.asarray(keys, np.int64)
        places = self._hash(keys)
        found = self._table[places].astype(np.int64, copy=False)
        todo = np.flatnonzero((found < 0) | (self._by_slot[found] != keys))
        if len(todo):  # collisions and new keys only
            self._probe(keys, places, found, todo)
        return found

    def find(self, keys: Keys) -> Slots:
        """Slots of these keys, -1 for those that are not there."""
        if isinstance(keys, list):  # nulls among them
            found = np.full(len(keys), -1, np.int64)
            ints = [index for index, key in enumerate(keys) if type(key) is int]
            found[ints] = self.find(np.array([keys[index] for index in ints], np.int64))
            return found
        places = self._hash(keys)
        found = self._table[places].astype(np.int64, copy=False)
        todo = np.flatnonzero((found >= 0) & (self._by_slot[found] != keys))
        while len(todo):
            places[todo] = (places[todo] + 1) & self._mask
            found[todo] = self._table[places[todo]]
            todo = todo[(found[todo] >= 0) & (self._by_slot[found[todo]] != keys[todo])]
        return found

    def truncate(self, size: int) -> None:
        """Forgets the keys from this slot on."""
        self._size = size
        self._enter_all(self._bits)

    def _probe(self, keys: Int64s, places: Int64s, found: Slots, todo: Int64s) -> None:
        while len(todo):
            self._claim(keys[todo], places[todo])
            here = self._table[places[todo]]
            hit = self._by_slot[here] == keys[todo]
            hit &= here >= 0
            found[todo[hit]] = here[hit]
            todo = todo[~hit]
            places[todo] = (places[todo] + 1) & self._mask
            if self._size * 2 > self._mask:
                self._enter_all(self._bits + 2)
                places[todo] = self._hash(keys[todo])

    def _claim(self, keys: Int64s, places: Int64s) -> None:
        """Enters keys at places that are empty. Of several keys that want one place the last written wins it; equal keys
        share it, so each new key gets exactly one slot."""
        empty = np.flatnonzero(self._table[places] < 0)
        if not len(empty):
            return
        self._table[places[empty]] = empty
        winners = empty[self._table[places[empty]] == empty]
        new = np.arange(self._size, self._size + len(winners), dtype=np.int64)
        self._size += len(winners)
        if self._size > len(self._by_slot):
            self._by_slot = np.concatenate((self._by_slot, np.zeros(max(len(self._by_slot) // 2, len(winners)), np.int64)))
        self._by_slot[new] = keys[winners]
        self._table[places[winners]] = new

    def _make_table(self, bits: int) -> None:
        self._bits, self._mask = bits, (1 << bits) - 1
        self._table = empty_slots(1 << bits)

    def _hash(self, keys: Int64s) -> Int64s:
        return ((keys.view(np.uint64) * _MULTIPLIER) >> np.uint64(64 - self._bits)).view(np.int64)

    def _enter_all(self, bits: int) -> None:
        """Enters all keys anew, each with its slot, into an empty table of this size."""
        self._make_table(bits)
        places, todo = self._hash(self.keys()), np.arange(self._size)
        while len(todo):
            free = todo[self._table[places[todo]] < 0]
            self._table[places[free]] = free
            todo = todo[self._table[places[todo]] != todo]
            places[todo] = (places[todo] + 1) & self._mask


KeyIndex = IntKeys | ObjectKeys


class KeySet:
    """Keys that were seen, each once, in the order of first sight."""

    __slots__ = ("_index",)

    def __init__(self) -> None:
        self._index: KeyIndex | None = None

    def add(self, keys: Keys) -> None:
        if self._index is None:
            self._index = index_for(keys)
        self._index = fitting(self._index, keys)
        self._index.slots(keys)

    def keys(self) -> Keys:
        return [] if self._index is None else self._index.keys()


def fitting(index: KeyIndex, keys: Keys) -> KeyIndex:
    """The index itself, or one with the same slots that can also take these keys: a null among int keys needs a dict."""
    if isinstance(index, IntKeys) and isinstance(keys, list):
        return ObjectKeys(index.keys().tolist())
    return index


def index_for(keys: Keys, expected: int = 0) -> KeyIndex:
    """An empty index of the kind that fits these keys."""
    return ObjectKeys() if isinstance(keys, list) else IntKeys(expected)
