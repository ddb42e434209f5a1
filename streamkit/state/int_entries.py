"""Slots of the int keys of all panes of a store: one vectorised open-addressing table of (pane, key).

So a batch is looked up at once, however many panes its records fall into, and a pane of few keys costs nothing by itself (a table
for each took 50 us to make, fill and close). The compiled native/entries.c does it key by key: 6 ns each, 150 with numpy.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from streamkit import compiled
from streamkit.state.slots import SlotPool, Slots, fitted

Int64s = npt.NDArray[np.int64]

_KEY_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Fibonacci hashing, the high bits are the hash
_PANE_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_FIRST_BITS = 8
_SMALL_BITS = 12
"""Tables that are larger take four bytes a place; small ones eight, so that nothing has to be converted."""
_NOWHERE = -(2**63)
"""The pane of a slot that nothing is in."""


class Native(Protocol):
    """The compiled module."""

    @staticmethod
    def enter(
        panes: Int64s,
        keys: Int64s,
        found: Slots,
        table: Any,
        slot_panes: Int64s,
        slot_keys: Int64s,
        free: Slots,
        shift: int,
        start: int,
        /,
    ) -> tuple[int, int]:
        """Looks pairs up from ``start`` on, and enters those that are not there into free slots, while there are any.

        Gives where it came to, and how many it took.
        """
        ...


NATIVE: Final = cast("Native | None", compiled.load("streamkit.state._entries"))


class IntEntries:
    """Linear probing at a load of at most one half.

    A place of the table holds a slot, or -1. What is there may be out of date, for nothing is taken out: the slot itself says of
    which pane and key it is now, if of any. Whoever looks for that pair is right to find it; all others go on. When half of the
    places are taken, the table is made anew from the slots in use.
    """

    __slots__ = ("_bits", "_keys", "_native", "_panes", "_places", "_pool", "_table", "_used")

    def __init__(self, pool: SlotPool, native: Native | None = NATIVE) -> None:
        self._pool = pool
        self._native = native
        self._keys = fitted(np.empty(0, np.int64), max(pool.capacity, 1), initial=None)
        self._panes = fitted(np.empty(0, np.int64), max(pool.capacity, 1), initial=_NOWHERE)
        self._places = np.empty(max(pool.capacity, 1), np.int32)
        self._make_table(_FIRST_BITS)

    def keys_at(self, slots: Slots) -> Int64s:
        return self._keys[slots]

    def panes_at(self, slots: Slots) -> Int64s:
        return self._panes[slots]

    def places_at(self, slots: Slots) -> Int64s:
        """Where they are within their panes."""
        return self._places[slots].astype(np.int64)

    def set_places(self, slots: Slots, places: Int64s) -> None:
        self._places[slots] = places

    def slots(self, panes: Int64s, keys: Int64s) -> tuple[Slots, Slots]:
        """The slot of each pair, and the slots that were taken for those that were not there."""
        if self._native is not None:
            return self._entered(self._native, np.ascontiguousarray(panes), np.ascontiguousarray(keys))
        places = self._hash(panes, keys)
        found = self._table[places].astype(np.int64, copy=False)
        todo = np.flatnonzero(~self._are(found, panes, keys))
        return found, self._probe(panes, keys, places, found, todo) if len(todo) else todo

    def find(self, pane: int, keys: Int64s) -> Slots:
        """Slots of these keys in one pane, -1 for those that are not there."""
        panes = np.full(len(keys), pane, np.int64)
        places = self._hash(panes, keys)
        found = self._table[places].astype(np.int64, copy=False)
        todo = np.flatnonzero((found >= 0) & ~self._are(found, panes, keys))
        while len(todo):
            places[todo] = (places[todo] + 1) & self._mask
            found[todo] = self._table[places[todo]]
            todo = todo[(found[todo] >= 0) & ~self._are(found[todo], panes[todo], keys[todo])]
        return found

    def forget(self, slots: Slots) -> None:
        """Nothing is in these any more; to be called before they are given back."""
        self._panes[slots] = _NOWHERE

    def pack(self, slots: Slots) -> None:
        """These are the first ones of the pool now, in this order, and the only ones in use."""
        self._keys, self._panes, self._places = self._keys[slots], self._panes[slots], self._places[slots]
        self._follow_pool()
        self._enter_all(2)

    @property
    def _mask(self) -> int:
        return len(self._table) - 1

    def _are(self, slots: Slots, panes: Int64s, keys: Int64s) -> npt.NDArray[np.bool_]:
        same: npt.NDArray[np.bool_] = self._keys[slots] == keys
        same &= self._panes[slots] == panes
        same &= slots >= 0
        return same

    def _entered(self, native: Native, panes: Int64s, keys: Int64s) -> tuple[Slots, Slots]:
        found = np.empty(len(keys), np.int64)
        taken: list[Slots] = []
        done = 0
        while True:
            room = max(len(self._table) // 2 - self._used, 0)
            done, count = native.enter(
                panes, keys, found, self._table, self._panes, self._keys, self._pool.free[:room], int(self._bits), done
            )
            self._used += count
            taken.append(self._pool.take(count))
            if done == len(keys):
                return found, taken[0] if len(taken) == 1 else np.concatenate(taken)
            if count == room:
                self._enter_all(3)
            else:
                self._pool.grow(1)
                self._follow_pool()

    def _probe(self, panes: Int64s, keys: Int64s, places: Int64s, found: Slots, todo: Int64s) -> Slots:
        taken: list[Slots] = []
        while True:
            left_panes, left_keys, left_places = panes[todo], keys[todo], places[todo]
            self._claim(left_panes, left_keys, left_places, taken)
            here = self._table[left_places].astype(np.int64, copy=False)
            hit = self._are(here, left_panes, left_keys)
            found[todo[hit]] = here[hit]
            todo = todo[~hit]
            if self._used * 2 > self._mask:
                self._enter_all(3)
                places[todo] = self._hash(panes[todo], keys[todo])
            else:
                places[todo] = (places[todo] + 1) & self._mask
            if not len(todo):
                return np.concatenate(taken) if taken else todo

    def _claim(self, panes: Int64s, keys: Int64s, places: Int64s, taken: list[Slots]) -> None:
        """Enters pairs at places that are empty. Of several pairs that want one place the last written wins it; equal pairs share
        it, so each new pair gets exactly one slot."""
        empty = np.flatnonzero(self._table[places] < 0)
        if not len(empty):
            return
        wanted = places[empty]
        self._table[wanted] = empty
        winners = empty[self._table[wanted] == empty]
        new = self._pool.take(len(winners))
        if self._pool.capacity > len(self._keys):
            self._follow_pool()
        self._keys[new] = keys[winners]
        self._panes[new] = panes[winners]
        self._table[places[winners]] = new
        self._used += len(winners)
        taken.append(new)

    def _follow_pool(self) -> None:
        self._keys = fitted(self._keys, self._pool.capacity, initial=None)
        self._panes = fitted(self._panes, self._pool.capacity, initial=_NOWHERE)
        self._places = fitted(self._places, self._pool.capacity, initial=None)

    def _make_table(self, bits: int) -> None:
        self._bits, self._used = np.uint64(64 - bits), 0
        self._table: npt.NDArray[np.signedinteger[Any]] = np.full(1 << bits, -1, np.int64 if bits <= _SMALL_BITS else np.int32)

    def _hash(self, panes: Int64s, keys: Int64s) -> Int64s:
        mixed = panes.view(np.uint64) * _PANE_MULTIPLIER
        mixed ^= mixed >> _HALF  # keys of a pane are spread as they would be alone, from a place of its own
        mixed += keys.view(np.uint64)
        mixed *= _KEY_MULTIPLIER
        mixed >>= self._bits
        return mixed.view(np.int64)

    def _enter_all(self, room: int) -> None:
        """Makes the table anew, with so many places for each entry, and two for each slot that the pool has."""
        todo = np.flatnonzero(self._panes != _NOWHERE)
        self._make_table(max(_FIRST_BITS, (max(room * len(todo), 2 * self._pool.capacity) - 1).bit_length()))
        self._used = len(todo)
        places = self._hash(self._panes[todo], self._keys[todo])
        while len(todo):
            free = self._table[places] < 0
            self._table[places[free]] = todo[free]
            left = self._table[places] != todo
            todo, places = todo[left], (places[left] + 1) & self._mask
