"""Keys as dense numbers that stay the same over many batches, until those without use are forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.state.key_index import KeyIndex, Keys, fitting, index_for

Int64s = npt.NDArray[np.int64]


class KeyNumbers:
    """Numbers of keys, in the order of first sight (of int keys that come together in any order)."""

    def __init__(self) -> None:
        self._index: KeyIndex | None = None
        self._keys: list[Any] | None = None  # by number, where they are no ints

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    def of(self, keys: Keys) -> Int64s:
        """The number of each key; keys that were not seen yet get new ones."""
        if self._index is None:
            self._index = index_for(keys)
            self._keys = [] if isinstance(keys, list) else None
        index = self._index = fitting(self._index, keys)
        numbers = index.slots(keys)
        if self._keys is None and isinstance(found := index.keys(), list):  # ints so far, a null among them now
            self._keys = found
        if self._keys is not None and len(self._keys) < len(index):
            column = keys if isinstance(keys, list) else keys.tolist()
            for at in np.flatnonzero(numbers >= len(self._keys)).tolist():
                if numbers[at] == len(self._keys):
                    self._keys.append(column[at])
        return numbers

    def keys(self, numbers: Int64s) -> Keys:
        """The keys of these numbers."""
        if self._keys is not None:
            return [self._keys[number] for number in numbers.tolist()]
        if self._index is None:
            return []
        keys = self._index.keys()
        assert not isinstance(keys, list)  # noqa: S101 - then they are kept by number
        return keys[numbers]

    def keep(self, numbers: Int64s) -> Int64s:
        """Forgets all other keys; gives what the numbers of these are now."""
        used, places = np.unique(numbers, return_inverse=True)
        keys = self.keys(used)
        self._index, self._keys = None, None
        return self.of(keys)[places]
