"""Slots: places in the flat arrays of a store, given out, taken back, and given out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Slots = npt.NDArray[np.int64]
D = TypeVar("D", bound=np.generic)

_FIRST_CAPACITY = 64
_SPARSE_FROM = 1_024
"""Arrays below this length are not worth packing."""


class SlotPool:
    """Gives out slots below ``capacity``, which grows with them. What is kept by slot follows by `fitted`."""

    __slots__ = ("_expected", "_free", "capacity")

    def __init__(self) -> None:
        self.capacity = 0
        self._free: Slots = np.empty(0, np.int64)
        self._expected = 0

    @property
    def is_sparse(self) -> bool:
        """Whether so much is free that those in use should be put together, and `packed` told."""
        return self.capacity >= _SPARSE_FROM and 8 * len(self._free) > self.capacity

    @property
    def free(self) -> Slots:
        """Those that `take` gives next, in order, before the pool grows."""
        return self._free

    def grow(self, least: int) -> None:
        """By so many slots at least."""
        more = max(least, _FIRST_CAPACITY, self.capacity // 8, self._expected)
        self._free = np.concatenate((self._free, np.arange(self.capacity, self.capacity + more)))
        self.capacity += more

    def take(self, count: int) -> Slots:
        if count > len(self._free):
            self.grow(count - len(self._free))
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def give_back(self, slots: Slots) -> None:
        """They may be given out again at once. As many as these will likely be wanted again."""
        self._expected = len(slots)
        self._free = np.concatenate((slots, self._free))

    def packed(self, used: int) -> None:
        """The slots in use are the first ones now."""
        self.capacity = max(_FIRST_CAPACITY, used + used // 16)
        self._free = np.arange(used, self.capacity)


def fitted(array: npt.NDArray[D], capacity: int, *, initial: Any) -> npt.NDArray[D]:
    """The array with this length: without its end, or with ``initial`` behind it (None: with whatever is there)."""
    if len(array) == capacity:
        return array
    fit = np.empty(capacity, array.dtype)  # `np.full` takes three times as long for a small one
    kept = min(len(array), capacity)
    fit[:kept] = array[:kept]
    if initial is not None:
        fit[kept:] = initial
    return fit


_NONE: npt.NDArray[np.int32] = np.empty(0, np.int32)


class SlotList:
    """Slots in the order in which they were added, in four bytes each."""

    __slots__ = ("_held", "size")

    def __init__(self) -> None:
        self._held = _NONE
        self.size = 0

    def __len__(self) -> int:
        return self.size

    @property
    def all(self) -> Slots:
        return self._held[: self.size].astype(np.int64)

    @staticmethod
    def all_of(lists: Sequence[SlotList]) -> Slots:
        """Of some lists, one after the other."""
        if len(lists) == 1:
            return lists[0].all
        return np.concatenate([_NONE, *(each._held[: each.size] for each in lists)]).astype(np.int64)

    def at(self, places: Slots) -> Slots:
        return self._held[places].astype(np.int64)

    def add(self, slots: Slots) -> None:
        size = self.size + len(slots)
        if not self.size:
            self._held = slots.astype(np.int32)
        else:
            if size > len(self._held):
                self._held = fitted(self._held, max(size, len(self._held) * 9 // 8), initial=None)
            self._held[self.size : size] = slots
        self.size = size

    def truncate(self, size: int) -> Slots:
        """Takes off those from this position on, and gives them."""
        cut = self._held[size : self.size].astype(np.int64)
        self.size = size
        return cut

    def renumber(self, first: int) -> int:
        """They are those from ``first`` on now, in the same order; gives the slot behind them."""
        behind = first + self.size
        self._held = np.arange(first, behind, dtype=np.int32)
        return behind


def edges(numbers: Slots) -> list[int]:
    """Where each run of equal numbers begins, and where the last one ends; at least one number is given.

    >>> edges(np.array([7, 7, 9]))
    [0, 2, 3]
    """
    if numbers[0] == numbers[-1] and bool((numbers == numbers[0]).all()):
        return [0, len(numbers)]
    inner: list[int] = ((numbers[1:] != numbers[:-1]).nonzero()[0] + 1).tolist()
    return [0, *inner, len(numbers)]


def by_number(slots: Slots, numbers: Slots) -> tuple[Slots, list[tuple[int, int, int]]]:
    """The slots put together by number, in order within each, and for each number where its slots begin and end.

    >>> by_number(np.array([5, 6, 7]), np.array([20, 10, 20]))
    (array([6, 5, 7]), [(10, 0, 1), (20, 1, 3)])
    """
    if not len(slots):
        return slots, []
    if numbers[0] != numbers[-1] or not bool((numbers == numbers[0]).all()):
        order = numbers.argsort(kind="stable")
        slots, numbers = slots[order], numbers[order]
    bounds = edges(numbers)
    return slots, [(int(numbers[start]), start, end) for start, end in pairwise(bounds)]


def groups(numbers: Slots) -> Iterator[tuple[int, Slots | None]]:
    """(number, positions) for each number, in order; positions None if it is the only one.

    >>> [(number, at.tolist()) for number, at in groups(np.array([20, 10, 20]))]
    [(10, [1]), (20, [0, 2])]
    """
    if numbers.min() == numbers.max():
        yield int(numbers[0]), None
        return
    positions, runs = by_number(np.arange(len(numbers)), numbers)  # record order is kept within a number
    for number, start, end in runs:
        yield number, positions[start:end]
