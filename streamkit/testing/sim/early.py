"""What is left of updates in the end: the rows that a consumer has that keeps a table of them (docs/concepts/time.md)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from streamkit.eventtime.timeless import CountWindow
from streamkit.eventtime.windows import SessionWindow, Window
from streamkit.kafka.memory.cluster import LogRecord
from streamkit.operators.session_updates import WITHDRAWN
from streamkit.operators.updates import ON_TIME, RESULT_HEADER


def last_rows(records: Iterable[LogRecord], window: Window) -> list[LogRecord]:
    """Of the updates of one topic, by partition in order, the last of each window; of count windows also all that were full."""
    table: dict[Hashable, LogRecord] = {}
    full: list[LogRecord] = []
    for record in records:
        kind = dict(record.headers or ()).get(RESULT_HEADER)
        identity = record.key, _identity(record.value, window)
        table.pop(identity, None)
        if isinstance(window, CountWindow) and kind == ON_TIME.encode():
            full.append(record)
        elif kind != WITHDRAWN.encode():
            table[identity] = record
    return [*full, *table.values()]


def _identity(value: bytes | None, window: Window) -> Hashable:
    if isinstance(window, CountWindow):
        return None
    try:
        row: Any = msgspec.json.decode(value or b"null")
    except msgspec.DecodeError:
        return value
    if not isinstance(row, dict):
        return msgspec.json.encode(row)
    return row.get("window_start"), None if isinstance(window, SessionWindow) else row.get("window_end")
