"""What is stored with every committed offset (R18): small, ASCII, of fixed shape.

sk1;<max timestamp of the partition>;<commit counter>;<flags>       flags: e = the run had reached the end of its input
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamkit.errors import StateError
from streamkit.eventtime.watermark import NO_TIME

FORMAT = "sk1"
_PATTERN = re.compile(rf"{FORMAT};(-?\d+);(\d+);(e?)")


@dataclass(frozen=True, slots=True)
class OffsetMetadata:
    """Time of one input partition at a commit.

    >>> OffsetMetadata(1_586_937_900_000, 7).encode()
    'sk1;1586937900000;7;'
    >>> OffsetMetadata.decode('sk1;1586937900000;7;e').ended
    True
    """

    max_timestamp: int = NO_TIME
    commits: int = 0
    ended: bool = False

    def encode(self) -> str:
        return f"{FORMAT};{self.max_timestamp};{self.commits};{'e' if self.ended else ''}"

    @staticmethod
    def decode(text: str) -> OffsetMetadata | None:
        """None for empty metadata; StateError for what streamkit has not written."""
        if not text:
            return None
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise StateError(
                f"a committed offset carries the metadata {text!r}, which this version of streamkit did not write: "
                "another program commits for this group, or a newer version did"
            )
        return OffsetMetadata(int(found[1]), int(found[2]), found[3] == "e")
