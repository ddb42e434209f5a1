"""The keys of open sessions, and which sessions each has: a number for every key, and a chain of slots for every number.

A session has its key's number and its neighbours in the chain, four bytes each, instead of a list and an object for its key. Keys
without a session are forgotten when there are as many of them as of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.state.key_index import KeyIndex, Keys, Slots, exact_keys, fitting, index_for
from streamkit.state.text_keys import with_room

Int64s = npt.NDArray[np.int64]
_SPARE_KEYS = 1_024
_FEW = 32
"""So many chains are followed one by one: a step of all of them costs as much."""


class SessionKeys:
    """Numbers hold until the next `forget_unused`."""

    __slots__ = ("_after", "_before", "_heads", "_index", "_number", "_used")

    def __init__(self) -> None:
        self._index: KeyIndex | None = None
        self._used = 0  # numbers that have a session
        self._heads = np.zeros(0, np.int32)  # by number: the slot that its chain begins with, or -1
        self._number, self._before, self._after = (np.zeros(0, np.int32) for _ in range(3))  # by slot; -1: no neighbour

    def fit(self, slots: int) -> None:
        """Makes room for so many slots."""
        self._number, self._before, self._after = (
            with_room(column, slots, -1) for column in (self._number, self._before, self._after)
        )

    # ---- keys

    def numbers(self, keys: Keys) -> Int64s:
        """The number of each key; keys that were not seen yet get new ones."""
        self._index = index_for(keys) if self._index is None else fitting(self._index, keys)
        numbers = self._index.slots(keys)
        self._heads = with_room(self._heads, len(self._index), -1)
        return numbers

    def find(self, keys: list[Any]) -> Int64s:
        """Their numbers, -1 for those that have none."""
        return np.full(len(keys), -1, np.int64) if self._index is None else self._index.find(keys)

    def keys(self, slots: Slots) -> list[Any]:
        """Whose the sessions in these slots are."""
        return self._keys(self._number[slots])

    def exact(self, numbers: Int64s) -> list[Any]:
        """The keys of these numbers as a dict knows them."""
        return exact_keys(self._keys(numbers))

    def _keys(self, numbers: npt.NDArray[Any]) -> list[Any]:
        if self._index is None:
            return []
        keys = self._index.keys_at(numbers)
        return keys if isinstance(keys, list) else keys.tolist()

    def forget_unused(self) -> None:
        """Forgets the keys without a session, if there are many; the others may get other numbers."""
        if self._index is None or len(self._index) <= 2 * self._used + _SPARE_KEYS:
            return
        used = np.flatnonzero(self._heads >= 0)
        heads, keys = self._heads[used], self._index.keys_at(used)
        becomes = np.zeros(len(self._index), np.int32)
        self._index, self._heads = None, np.zeros(0, np.int32)
        becomes[used] = now = self.numbers(keys)
        self._heads[now] = heads
        self._number = becomes[self._number]  # of slots in no chain it says nothing

    # ---- chains

    def link(self, numbers: Int64s, slots: Slots) -> None:
        """Puts slots into the chains of these numbers."""
        order = np.argsort(numbers, kind="stable")
        numbers, slots = numbers[order], slots[order]
        same = numbers[1:] == numbers[:-1]
        first, last = np.ones((2, len(slots)), bool)
        first[1:] = last[:-1] = ~same
        after = self._heads[numbers]
        after[1:][same] = slots[:-1][same]
        before = np.full(len(slots), -1, np.int32)
        before[:-1][same] = slots[1:][same]
        self._number[slots], self._before[slots], self._after[slots] = numbers, before, after
        behind = after[first]
        there = behind >= 0
        self._before[behind[there]] = slots[first][there]
        self._used += len(there) - int(np.count_nonzero(there))
        self._heads[numbers[last]] = slots[last]

    def unlink(self, slots: Slots) -> None:
        """Takes slots, each given once, out of their chains."""
        alone = (self._after[slots] < 0) & (self._before[slots] < 0)
        self._heads[self._number[slots[alone]]] = -1
        self._used -= int(np.count_nonzero(alone))
        for slot in slots[~alone].tolist():
            before, after = self._before.item(slot), self._after.item(slot)
            if before >= 0:
                self._after[before] = after
            else:
                self._heads[self._number[slot]] = after
                self._used -= after < 0
            if after >= 0:
                self._before[after] = before

    def chains(self, numbers: Int64s) -> Iterator[tuple[Int64s, Slots]]:
        """All slots in the chains of these numbers, in parts: which number (its position here), and the slot. -1 has none."""
        at = np.flatnonzero(numbers >= 0)
        slots = self._heads[numbers[at]].astype(np.int64)
        while True:
            there = slots >= 0
            at, slots = at[there], slots[there]
            if len(at) <= _FEW:
                break
            yield at, slots
            slots = self._after[slots].astype(np.int64)
        found = [
            (position, slot) for position, head in zip(at.tolist(), slots.tolist(), strict=True) for slot in self._from(head)
        ]
        if found:
            rest = np.array(found, np.int64)
            yield rest[:, 0], rest[:, 1]

    def chain(self, number: int) -> Iterator[int]:
        return self._from(self._heads.item(number))

    def linked(self) -> tuple[Int64s, Slots]:
        """Every session, as pairs: its number and its slot. By number, those of one in the order in which they came."""
        numbers, slots = joined(list(self.chains(np.arange(len(self._heads)))))
        order = np.argsort(numbers[::-1], kind="stable")  # a chain begins with what came last
        return numbers[::-1][order], slots[::-1][order]

    def _from(self, slot: int) -> Iterator[int]:
        following = self._after
        while slot >= 0:
            yield slot
            slot = following.item(slot)


def joined(pairs: list[tuple[Int64s, Slots]]) -> tuple[Int64s, Slots]:
    """The parts of what `chains` gives, one after the other."""
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([at for at, _ in pairs]), np.concatenate([slots for _, slots in pairs])
