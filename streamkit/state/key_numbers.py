"""Keys as dense numbers that stay the same over many batches, until those without use are forgotten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamkit.state.key_index import KeyIndex, Keys, fitting, index_for

Int64s = npt.NDArray[np.int64]


class KeyNumbers:
    """Numbers of keys, in the order of first sight (of int keys that come together in any order)."""

    def __init__(self) -> None:
        self._index: KeyIndex | None = None

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    def of(self, keys: Keys) -> Int64s:
        """The number of each key; keys that were not seen yet get new ones."""
        if self._index is None:
            self._index = index_for(keys)
        self._index = fitting(self._index, keys)
        return self._index.slots(keys)

    def keys(self, numbers: Int64s) -> Keys:
        """The keys of these numbers."""
        return [] if self._index is None else self._index.keys_at(numbers)

    def keep(self, numbers: Int64s) -> Int64s:
        """Forgets all other keys; gives what the numbers of these are now."""
        used, places = np.unique(numbers, return_inverse=True)
        keys = self.keys(used)
        self._index = None
        return self.of(keys)[places]
