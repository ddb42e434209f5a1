"""Which sessions are looked at as time moves: those that may have ended, not all that are untold."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamkit.operators.session_updates import Session, SessionUpdates

KEYS = 1_000


class Told(SessionUpdates):
    """Keeps what it would tell."""

    def __init__(self, store: Any) -> None:
        super().__init__(store, lambda _: iter(()), every_ms=60_000, per_record=False)
        self.told: list[tuple[Session, str | None]] = []

    def _tell(self, sessions: Any, watermark: int, kind: str | None = None) -> None:  # noqa: ARG002 - as in the class
        self.told += [(session, kind) for session in sessions]
        for session in sessions:
            del self._changed[session]


class Ends:
    """A store that knows only where sessions end, and counts what it is asked for."""

    def __init__(self) -> None:
        self.ends: dict[Session, int] = {}
        self.looked_at = 0

    def ends_of(self, sessions: Any) -> Any:
        self.looked_at += len(sessions)
        return np.array([self.ends[session] for session in sessions], np.int64)


def filled() -> tuple[Told, Ends]:
    store = Ends()
    updates = Told(store)
    for key in range(KEYS):
        session = (f"k{key}", key)
        store.ends[session] = 10_000 + 10 * key
        updates.changed(*session, True, [])
    return updates, store


def test_sessions_that_are_far_from_their_end_are_looked_at_once() -> None:
    updates, store = filled()
    for watermark in range(0, 9_000, 10):
        updates.passing(watermark - 10, watermark)
        updates.closing(watermark - 500)
    assert updates.told == []
    assert store.looked_at <= KEYS


def test_each_is_told_as_its_end_is_passed_wherever_that_is_by_then() -> None:
    updates, store = filled()
    store.ends["k0", 0] = 15_005  # it grew
    before = 0
    for watermark in range(10, 21_000, 10):
        updates.passing(before, watermark)
        before = watermark
    ordered = sorted(store.ends, key=lambda session: (-(-(store.ends[session] - 1) // 10), session[1]))
    assert updates.told == [(session, "on-time") for session in ordered]
    assert store.looked_at <= 3 * KEYS


def test_what_changes_behind_its_end_is_told_as_it_closes() -> None:
    updates, store = filled()
    updates.passing(0, 30_000)
    assert len(updates.told) == KEYS
    updates.told.clear()
    for key in (7, 3):
        updates.changed(f"k{key}", key, False, [])
    updates.passing(30_000, 30_010)
    assert updates.told == []
    updates.closing(10_050)
    assert updates.told == [(("k3", 3), "late")]
    store.ends["k7", 7] = 30_050  # a late record makes it longer: its new end has not been passed yet
    updates.passing(30_010, 30_060)
    assert updates.told[1:] == [(("k7", 7), "on-time")]
