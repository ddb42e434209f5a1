"""Why a record is late: the header that goes with it to `late()`."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from streamkit.eventtime.windows import Window
from streamkit.kafka.client import Headers
from streamkit.record.batch import Batch
from streamkit.record.columns import repeated

Int64s = npt.NDArray[np.int64]

LATE_HEADER = "streamkit-late"
"""Header of a late record: JSON with the end of its last window, the watermark that had passed it, and for how long."""


def closed_by(late: Batch, last_ends: Int64s, window: Window, frontier: int) -> tuple[Int64s, Int64s]:
    """The watermark that had closed the last window of each late record, and its lateness: for how long, in event time, that
    window had been closed. Both int64 milliseconds.

    It is the watermark of the record's own partition; only where that had not got so far, and the window closed while the
    partition was idle, it is the task's. A lateness of 0 is a record that came right as its window closed: a grace longer by more
    than the lateness would have let it in.
    """
    complete = last_ends + window.grace_ms  # closed from a watermark of one less on
    task: Int64s = repeated(frontier, len(late))
    own = task if late.watermarks is None else late.watermarks
    watermarks = np.where(own >= complete - 1, own, task)
    return watermarks, np.maximum(watermarks + 1 - complete, 0)


def reasons(last_ends: Int64s, watermarks: Int64s, lateness_ms: Int64s) -> list[Headers]:
    """A header for each."""
    columns = (last_ends.tolist(), watermarks.tolist(), lateness_ms.tolist())
    encode = msgspec.json.encode
    return [
        [(LATE_HEADER, encode({"window_end": end, "watermark": watermark, "lateness_ms": lateness}))]
        for end, watermark, lateness in zip(*columns, strict=True)
    ]
