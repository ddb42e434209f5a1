"""Results of sessions that are still open, and what is taken back of them.

A told session is known downstream by its key and its start. Where a record comes before that start, or puts two sessions
together, a start is no session's any more: then what was told of it is withdrawn, by the row as it stood before, and the session
that it went into is told with it. So whoever keeps the last row of each (key, window_start), and drops what is withdrawn, ends
with the final results.

What was told is not remembered, only what was not: starts that are new since. All that is told leaves in the transaction of the
change or of a timer, and a withdrawal never waits for the timer but leaves with the commit; so whatever a restore brings back may
have been told with the start that it has, and with no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from streamkit.kafka.client import Headers
from streamkit.operators.updates import EARLY, LATE, ON_TIME, RESULT_HEADER, Telling
from streamkit.record.batch import Batch
from streamkit.state.session_store import SessionStore
from streamkit.state.window_store import Entries

WITHDRAWN = "withdrawn"
Session = tuple[Any, int]
"""Key (as a dict knows it) and start."""


class SessionUpdates(Telling):
    """One `on_update()` over sessions. ``result_batches`` makes results of a store's rows."""

    def __init__(
        self,
        store: SessionStore,
        result_batches: Callable[[Entries], Iterator[Batch]],
        *,
        every_ms: int | None,
        per_record: bool,
    ) -> None:
        super().__init__(every_ms=every_ms, per_record=per_record)
        self._store = store
        self._result_batches = result_batches
        self._changed: dict[Session, int] = {}  # numbered in the order in which they changed first
        self._count = 0
        # By a time that is not behind their end, then by number. An end only grows: it is asked for when that time has come.
        self._soon: list[tuple[int, int, Session]] = []
        self._begun: set[Session] = set()  # of those, the ones whose start was never told
        self._gone: dict[Session, list[Entries]] = {}  # what was told and went into them, and is not withdrawn yet

    # ---- what changed

    def changed(self, key: Any, start: int, begun: bool, gone: list[Entries]) -> None:  # noqa: FBT001 - session_store.Watch
        session = key, start
        for row in gone:
            before = key, int(row.cells[0][0][0])
            self._changed.pop(before, None)
            taken_back = self._gone.pop(before, [])
            if before in self._begun:
                self._begun.remove(before)
            else:
                taken_back.append(row)
            if taken_back:
                self._gone.setdefault(session, []).extend(taken_back)
        if begun:
            self._begun.add(session)
        self._await(session)

    def _await(self, session: Session) -> None:
        if session not in self._changed:
            self._changed[session] = self._count
            heappush(self._soon, (session[1], self._count, session))
            self._count += 1

    def restored(self, first_open_end: int) -> None:  # noqa: ARG002 - what has closed is not in the store any more
        """Which rows a timer had not yet told is not known any more: all are told (again)."""
        if self.every_ms is not None:
            for session in self._store.identities():
                self._await(session)

    # ---- telling

    @property
    def waiting(self) -> bool:
        return bool(self._changed)

    def tell_all(self, watermark: int) -> None:
        self._tell(list(self._changed), watermark)

    def committing(self, watermark: int) -> None:
        """A withdrawal does not wait for a timer."""
        self._tell(list(self._changed if self.every_ms is None else self._gone), watermark)

    def passing(self, before: int, watermark: int) -> None:
        """What has changed in the sessions whose end is passed is told as it is."""
        self._tell([session for session, end in self._ended(watermark + 1) if before < end - 1], watermark, ON_TIME)

    def closing(self, through: int) -> None:
        """Sessions that end by then are about to close: what is not told yet is told."""
        self._tell([session for session, _ in self._ended(through)], through, LATE)

    def _ended(self, by: int) -> list[tuple[Session, int]]:
        """The sessions that have changed and end by then, with their ends, in the order in which they changed first. Only those
        are looked at of which that may be so."""
        due = []
        while self._soon and self._soon[0][0] <= by:
            _, number, session = heappop(self._soon)
            if self._changed.get(session) == number:  # else it was told, or went into another
                due.append((number, session))
        if not due:
            return []
        due.sort()
        found = list(zip(due, self._store.ends_of([session for _, session in due]).tolist(), strict=True))
        for (number, session), end in found:
            heappush(self._soon, (end, number, session))
        return [(session, end) for (_, session), end in found if end <= by]

    def _tell(self, sessions: Sequence[Session], watermark: int, kind: str | None = None) -> None:
        if not sessions:
            return
        gone = [row for session in sessions for row in self._gone.pop(session, ())]
        if gone:
            self._emit(_joined(gone), [WITHDRAWN] * len(gone))
        rows = self._store.rows_of(sessions)
        ends = self._store.bounds(rows)[1]
        self._emit(rows, [kind or (EARLY if watermark < end - 1 else LATE) for end in ends.tolist()])
        for session in sessions:
            del self._changed[session]
        if not self._changed:
            self._soon.clear()
        self._begun.difference_update(sessions)

    def _emit(self, rows: Entries, kinds: list[str]) -> None:
        for kind in dict.fromkeys(kinds):  # apart: a row may have no result, and is then in no batch
            header: Headers = [(RESULT_HEADER, kind.encode())]
            of_kind = np.array([at for at, one in enumerate(kinds) if one == kind], np.int64)
            for batch in self._result_batches(rows.take(of_kind)):
                self.process(batch.with_added_headers([header] * len(batch)))


def _joined(rows: list[Entries]) -> Entries:
    cells = [
        [np.concatenate(column) for column in zip(*held, strict=True)] for held in zip(*(row.cells for row in rows), strict=True)
    ]
    return Entries(rows[0].pane, [key for row in rows for key in row.keys], cells)
