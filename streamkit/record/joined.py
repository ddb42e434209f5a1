"""Many byte strings without an object of Python for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

Joined = tuple[bytes | bytearray, bytes | bytearray]
"""Many byte strings, one behind the other, and the length of each as int32; -1 is null."""


class JoinedBytes(Sequence[bytes]):
    """A sequence of byte strings, none of them null. Objects are made once one of them is asked for.

    >>> words = JoinedBytes((b"abc", np.array([1, 2], np.int32).tobytes()))
    >>> len(words), words[1], list(words)
    (2, b'bc', [b'a', b'bc'])
    """

    __slots__ = ("_split", "joined")
    __hash__ = None  # type: ignore[assignment] # it is equal to a list of the same strings

    def __init__(self, joined: Joined) -> None:
        self.joined = joined
        self._split: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.joined[1]) // 4

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if self._split is None:
            text = bytes(self.joined[0])
            ends = np.cumsum(np.frombuffer(self.joined[1], np.int32), dtype=np.int64).tolist()
            self._split = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return self._split[index]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        return self[:] == (other[:] if isinstance(other, JoinedBytes) else other)

    def __repr__(self) -> str:
        return f"JoinedBytes({self[:]!r})"
