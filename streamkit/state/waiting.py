"""Slots that wait for time: taken out when it has come to their instant."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from streamkit.state.key_index import Slots

Int64s = npt.NDArray[np.int64]


class Waiting:
    """In buckets of ``width`` milliseconds: what is far ahead is not looked at."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._buckets: dict[int, list[tuple[Slots, Int64s]]] = {}
        self._numbers: list[int] = []  # a heap
        self.first: int | None = None
        """The first instant that is waited for."""

    def put(self, slots: Slots, instants: Int64s) -> None:
        if not len(slots):
            return
        first = int(instants.min())
        self.first = first if self.first is None else min(self.first, first)
        numbers = instants // self._width
        if numbers.min() == numbers.max():
            self._bucket(int(numbers[0])).append((slots, instants))
            return
        order = np.argsort(numbers, kind="stable")
        for at in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            self._bucket(int(numbers[at[0]])).append((slots[at], instants[at]))

    def _bucket(self, number: int) -> list[tuple[Slots, Int64s]]:
        if number not in self._buckets:
            heapq.heappush(self._numbers, number)
            self._buckets[number] = []
        return self._buckets[number]

    def take(self, through: int) -> Slots:
        """Takes out the slots whose instant is at or before this."""
        taken = [np.zeros(0, np.int64)]
        while self._numbers and self.first is not None and self.first <= through:
            number = heapq.heappop(self._numbers)
            parts = self._buckets.pop(number)
            slots, instants = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
            come = instants <= through
            taken.append(slots[come])
            self.first = None
            if not come.all():
                self.put(slots[~come], instants[~come])
                break
            if self._numbers:
                self.first = min(int(instants.min()) for _, instants in self._buckets[self._numbers[0]])
        return np.concatenate(taken)
