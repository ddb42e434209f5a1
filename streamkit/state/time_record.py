"""The reserved-key record of a changelog: how far the operator's time had come in the last committed transaction.

``frontier`` is the watermark up to which every close has been fired (R25); ``closed_through`` the last window end that was
closed, whatever the grace was then: a restore drops the rows of panes up to it and never computes them anew from settings.
``max_timestamp`` is the largest event time seen by the task. ``inputs`` is the last word of each upstream task through a
repartition topic: (topic, sub-topology, partition, frontier). ``commit`` is the number of the task's commit that wrote it; the
offsets of that commit name the same. ``blocks`` is how many live blocks the changelog had with that commit: fewer found by a
restore are state that was deleted. States (idle, ended) are not stored: they are proven anew (R26).
"""

from __future__ import annotations

import msgspec

from streamkit.errors import StateError

KEY = b"time"
VERSION = 1


class TimeRecord(msgspec.Struct, frozen=True):
    fingerprint: str
    frontier: int
    closed_through: int
    max_timestamp: int
    inputs: list[tuple[str, str, int, int]] = []
    late: int = 0
    commit: int | None = None
    blocks: int | None = None
    version: int = VERSION


_decoder = msgspec.json.Decoder(TimeRecord)


def encode(record: TimeRecord) -> bytes:
    return msgspec.json.encode(record)


def decode(data: bytes, owner: str) -> TimeRecord:
    """StateError if it is not a time record of a version known here."""
    try:
        record = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StateError(f"'{owner}': the time record of its changelog cannot be read ({error})") from error
    if record.version > VERSION:
        raise StateError(f"'{owner}': time record of format {record.version}, this version reads up to {VERSION}: upgrade")
    return record
