"""What of this process's memory is in use: its anonymous memory less what malloc has free. Linux, glibc 2.33 or later.

What a backlog took, librdkafka frees when it is worked off; but malloc keeps most of it for the next one, so the resident memory
stays at the level of the longest backlog so far. Only what is in use tells whether something leaks.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any

TOLD = "heap"
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Heap:
    """MB, of the whole process. Files that it maps are in neither."""

    anonymous: float
    free: float

    @property
    def in_use(self) -> float:
        return self.anonymous - self.free


class _Mallinfo2(ctypes.Structure):
    """As in malloc.h: ten numbers, the ninth of what is free in all arenas."""

    _fields_ = [("before", ctypes.c_size_t * 8), ("fordblks", ctypes.c_size_t), ("keepcost", ctypes.c_size_t)]


def _mallinfo2() -> Any:
    library = ctypes.CDLL(None)
    try:
        function = library.mallinfo2
    except AttributeError:
        raise RuntimeError("malloc does not say what is free: wanted is glibc 2.33 or later") from None
    function.restype = _Mallinfo2
    return function


def anonymous_mb() -> float:
    """Memory that no file is behind, what was swapped out included."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - as lines
        found = dict(line.split(":", 1) for line in status)
    return sum(int(found[name].split()[0]) for name in ("RssAnon", "VmSwap")) / 1024


class Heaps:
    """Looks at the heap of this process."""

    def __init__(self) -> None:
        self._mallinfo2 = _mallinfo2()

    def look(self) -> Heap:
        """Other threads go on. The lesser of two looks at what is free: what came free in between is in no look at the whole."""
        before = self._mallinfo2().fordblks
        anonymous = anonymous_mb()
        return Heap(anonymous, min(before, self._mallinfo2().fordblks) / _MB)


def tell(every_s: float) -> None:
    """From now on, as a line in the log of a service: event `heap`. By a thread that does not keep the process."""
    heaps, never = Heaps(), threading.Event()

    def run() -> None:
        while not never.wait(every_s):
            heap = {name: round(value, 2) for name, value in asdict(heaps.look()).items()}
            sys.stderr.write(json.dumps({"event": TOLD, **heap}) + "\n")
            sys.stderr.flush()

    threading.Thread(target=run, daemon=True, name="heap").start()
