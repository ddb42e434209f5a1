"""How much memory state takes, found by walking it: so it holds for every store, and for what an aggregate keeps in objects.

Arrays count with what is allocated, so their room to grow counts, too. Of large containers some elements stand for all; what
belongs to others (operators, functions, the plan) counts nothing. A walk takes some ten microseconds a pane.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, Final

import numpy as np

_SAMPLE: Final = 64
_CODE: Final = (type, FunctionType, MethodType, BuiltinMethodType, partial)
_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_OPERATORS: Final = ("updates", "count_updates", "session_updates", "sliding_updates")  # those that remember keys
_OURS: Final = ("streamkit.state.", *(f"streamkit.operators.{name}" for name in _OPERATORS))


def footprint(*things: Any) -> int:
    """Bytes of these objects and all that they hold, each counted once.

    >>> footprint(np.zeros(1_000)) - footprint(np.zeros(0))
    8000
    >>> 60_000 < footprint({number: number for number in range(1_000)}) < 70_000
    True
    """
    return _Walk().all_of(things)


class _Walk:
    def __init__(self) -> None:
        self._seen: set[int] = set()

    def all_of(self, things: Iterable[Any]) -> int:
        return sum(map(self.one, things))

    def one(self, thing: Any) -> int:
        if id(thing) in self._seen or isinstance(thing, _CODE):
            return 0
        self._seen.add(id(thing))
        if isinstance(thing, (str, bytes, int, float)) or thing is None:
            return sys.getsizeof(thing)
        if isinstance(thing, np.ndarray):
            return self._array(thing)
        if isinstance(thing, dict):
            return sys.getsizeof(thing) + self._some(thing.keys()) + self._some(thing.values()) + self._attributes(thing)
        if isinstance(thing, _CONTAINERS):
            return sys.getsizeof(thing) + self._some(thing)
        if type(thing).__module__.startswith(_OURS):
            return sys.getsizeof(thing) + self._attributes(thing)
        return 0 if type(thing).__module__.startswith("streamkit.") else sys.getsizeof(thing)

    def _array(self, array: np.ndarray[Any, np.dtype[Any]]) -> int:
        if array.base is not None:  # a view holds all that it is a view of
            return sys.getsizeof(array) + self.one(array.base)
        values = self._some(array.ravel()) if array.dtype == object else 0
        return sys.getsizeof(array) + values

    def _some(self, elements: Any) -> int:
        """Of many every n-th one counts for n of them."""
        count = len(elements)
        if count <= 2 * _SAMPLE:
            return self.all_of(elements)
        every = count // _SAMPLE
        chosen = list(islice(elements, 0, None, every))
        return self.all_of(chosen) * count // len(chosen)

    def _attributes(self, thing: Any) -> int:
        slots = [name for kind in type(thing).__mro__ for name in _slots(kind)]
        values = [getattr(thing, name) for name in slots if hasattr(thing, name)]
        return self.all_of([*values, *getattr(thing, "__dict__", {}).values()])


def _slots(kind: type) -> Iterable[str]:
    found = vars(kind).get("__slots__", ())
    names = (found,) if isinstance(found, str) else found
    return [name for name in names if name not in ("__dict__", "__weakref__")]
