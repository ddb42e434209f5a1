"""What is stored with every committed offset (R18): small, ASCII, of fixed shape.

sk2;<max timestamp of the partition>;<commit counter>;<flags>;<commit of the state>;<end>;<stores>[;<watermark>]

flags: e = the run had reached the end of its input. Then which commit of the task last wrote its changelogs, where a bounded run
ends, and whose changelogs the task has. Last, and only where the watermark does not follow from the largest timestamp, what it
goes on from: numbers with commas between. The first three were all that format sk1 had.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamkit.errors import StateError
from streamkit.eventtime.watermark import NO_TIME

FORMAT = "sk2"
_PATTERN = re.compile(rf"{FORMAT};(-?\d+);(\d+);(e?);(\d*);(\d*);([^;]*)(?:;(-?\d+(?:,-?\d+)*))?")
_OLD_PATTERN = re.compile(r"sk1;(-?\d+);(\d+);(e?)")


@dataclass(frozen=True, slots=True)
class OffsetMetadata:
    """Time of one input partition at a commit, and what state belongs to it.

    ``state_commit`` is None where it is not known (format sk1); ``end`` is None where the run was not a bounded one;
    ``watermark`` is what a generator needs to go on (eventtime/generators.py).

    >>> OffsetMetadata(1_586_937_900_000, 7, state_commit=5, stores=("totals",)).encode()
    'sk2;1586937900000;7;;5;;totals'
    >>> OffsetMetadata.decode('sk2;1586937900000;7;e;5;1841;totals').end
    1841
    """

    max_timestamp: int = NO_TIME
    commits: int = 0
    ended: bool = False
    state_commit: int | None = None
    end: int | None = None
    stores: tuple[str, ...] = ()
    watermark: tuple[int, ...] = ()

    def encode(self) -> str:
        flags = "e" if self.ended else ""
        state, end = ("" if number is None else str(number) for number in (self.state_commit, self.end))
        text = f"{FORMAT};{self.max_timestamp};{self.commits};{flags};{state};{end};{','.join(self.stores)}"
        return f"{text};{','.join(map(str, self.watermark))}" if self.watermark else text

    @staticmethod
    def decode(text: str) -> OffsetMetadata | None:
        """None for empty metadata; StateError for what streamkit has not written."""
        if not text:
            return None
        found = _PATTERN.fullmatch(text)
        if found is not None:
            state, end = (int(part) if part else None for part in (found[4], found[5]))
            stores = tuple(found[6].split(",")) if found[6] else ()
            watermark = tuple(map(int, found[7].split(","))) if found[7] else ()
            return OffsetMetadata(int(found[1]), int(found[2]), found[3] == "e", state, end, stores, watermark)
        found = _OLD_PATTERN.fullmatch(text)
        if found is None:
            raise StateError(
                f"a committed offset carries the metadata {text!r}, which this version of streamkit did not write: "
                "another program commits for this group, or a newer version did"
            )
        return OffsetMetadata(int(found[1]), int(found[2]), found[3] == "e")
