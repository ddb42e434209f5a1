"""What is stored with every committed offset (R18): small, ASCII, of fixed shape.

sk1;<max timestamp of the partition>;<commit counter>;<flags>       flags: e = the run had reached the end of its input
"""

from __future__ import annotations

from dataclasses import dataclass

from streamkit.errors import StateError
from streamkit.eventtime.watermark import NO_TIME

FORMAT = "sk1"


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
        parts = text.split(";")
        if parts[0] != FORMAT or len(parts) != 4:
            raise StateError(
                f"a committed offset carries the metadata {text!r}, which this version of streamkit did not write: "
                "another program commits for this group, or a newer version did"
            )
        return OffsetMetadata(int(parts[1]), int(parts[2]), "e" in parts[3])
