"""Sorted sets of numbers, one per slot, side by side in one array: how sketches take a whole batch at once.

A sketch keeps the set of a slot as the bytes of a sorted array, which is compact, is written to changelogs as it is and is never
changed in place: what was handed out stays as it was. To add to the sets of many slots, they are laid one after the other, all
new members are looked up by one binary search in step, and what was missing is put in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]


def joined(sets: Sequence[bytes | None], dtype: npt.DTypeLike) -> tuple[Array, Int64s]:
    """The members of all sets, one set after the other, and where each set begins (and the last ends)."""
    parts = [part or b"" for part in sets]
    members = np.frombuffer(b"".join(parts), np.dtype(dtype).newbyteorder("<"))
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return members, starts // members.itemsize


def cut(members: Array, starts: Int64s) -> list[bytes]:
    """The bytes of each set: what `joined` takes."""
    data = members.astype(members.dtype.newbyteorder("<"), copy=False).tobytes()
    at = (starts * members.itemsize).tolist()
    return [data[start:end] for start, end in pairwise(at)]


def places(members: Array, starts: Int64s, sets: Int64s, wanted: Array) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """For each wanted number where it is in its set, or belongs; and whether it is there.

    >>> members, starts = np.array([2, 5, 9, 1, 5]), np.array([0, 3, 5])
    >>> at, there = places(members, starts, np.array([0, 0, 1]), np.array([5, 10, 0]))
    >>> at.tolist(), there.tolist()
    ([1, 3, 3], [True, False, False])
    """
    low, high = starts[sets], starts[sets + 1]
    end = high
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        searching = low < high
        middle = (low + high) // 2
        below = np.zeros(len(wanted), bool)
        below[searching] = members[middle[searching]] < wanted[searching]
        low = np.where(searching & below, middle + 1, low)
        high = np.where(searching & ~below, middle, high)
    there = low < end
    there[there] = members[low[there]] == wanted[there]
    return low, there


def groups_of(slots: Int64s, numbers: Array) -> tuple[Int64s, Array, Int64s]:
    """The different (slot, number) pairs in order: slots, numbers, and how often each occurs."""
    order = np.lexsort((numbers, slots))
    slots, numbers = slots[order], numbers[order]
    begins = np.ones(len(slots), bool)
    begins[1:] = (slots[1:] != slots[:-1]) | (numbers[1:] != numbers[:-1])
    starts = np.flatnonzero(begins)
    return slots[starts], numbers[starts], np.diff(starts, append=len(slots))


def starts_with(starts: Int64s, sets: Int64s) -> Int64s:
    """Where sets begin once each of these has one member more (a set may be named several times)."""
    more = np.zeros(len(starts), np.int64)
    np.add.at(more, sets + 1, 1)
    return starts + np.cumsum(more)
