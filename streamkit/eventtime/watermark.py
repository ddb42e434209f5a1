"""The watermark of one source partition, by bounded out-of-orderness (generators.py has those that follow another rule).

After records with largest event time m the watermark is W = m - d - 1, with d the out-of-orderness: no record with a
timestamp <= W is expected any more. (Flink's bounded-out-of-orderness rule.) It never goes back, and it is a function of that
partition's log alone: neither batch cuts nor other partitions change it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

NO_TIME = -(2**62)
"""The watermark before any record: below every timestamp, with room to subtract graces without wrapping."""

END_OF_TIME = 2**62
"""The watermark that end of input stands for. It is used to close what is open and is never persisted or sent."""

MIN_TIMESTAMP = -58_979_923_200_000
"""0101-01-01T00:00Z in milliseconds, the earliest event time: a hundred years before it there are datetimes as well."""

MAX_TIMESTAMP = 250_246_627_199_999
"""9899-12-31T23:59:59.999Z in milliseconds, the latest event time: the bounds of its windows are datetimes as well."""


@dataclass(slots=True)
class PartitionWatermark:
    """Running watermark of one partition; ``max_timestamp`` is all its state."""

    out_of_orderness_ms: int
    max_timestamp: int = NO_TIME

    @property
    def watermark(self) -> int:
        if self.max_timestamp == NO_TIME:
            return NO_TIME
        return self.max_timestamp - self.out_of_orderness_ms - 1

    @property
    def kept(self) -> tuple[int, ...]:
        """What a position must hold beside ``max_timestamp`` so that the watermark can go on from there."""
        return ()

    def restore(self, max_timestamp: int, kept: tuple[int, ...]) -> None:  # noqa: ARG002 - there is nothing more to it
        """Goes on from what was stored with a position."""
        self.max_timestamp = max_timestamp

    def too_far_ahead(self, timestamps: Int64s, max_future_ms: int) -> Int64s:
        """The indices of records that are further ahead of the latest one before them than this; those do not count as before
        the next. The first record of a partition has nothing to be measured by."""
        if not len(timestamps):
            return np.empty(0, np.int64)
        latest = int(timestamps[0]) if self.max_timestamp == NO_TIME else self.max_timestamp
        if int(timestamps.max()) <= latest + max_future_ms:  # the usual case, without looking at each
            return np.empty(0, np.int64)
        found = []
        for index, timestamp in enumerate(timestamps.tolist()):
            if timestamp > latest + max_future_ms:
                found.append(index)
            else:
                latest = max(latest, timestamp)
        return np.array(found, np.int64)

    def observe(self, timestamps: Int64s) -> Int64s | None:
        """Moves the watermark over a batch; gives the watermark *before* each record, int64 milliseconds.

        None where no record of the batch is behind its watermark: then none of them can be late for any window.
        """
        if not len(timestamps):
            return None
        seen = np.empty(len(timestamps) + 1, np.int64)
        seen[0] = self.max_timestamp
        seen[1:] = timestamps
        np.maximum.accumulate(seen, out=seen)
        self.max_timestamp = int(seen[-1])
        before = seen[:-1]
        before -= np.where(before == NO_TIME, 0, self.out_of_orderness_ms + 1)
        return before if bool((timestamps <= before).any()) else None
