"""The totals of overlapping windows from their panes, at a cost per pane that does not grow with the overlap.

Time is cut into blocks as long as a window (van Herk, Gil and Werman): a window of n panes is the end of one block and the
beginning of the next. The beginnings are added up as panes come, the ends once per block, from its last pane back. So every
pane is merged about twice, however many windows hold it. The order of merging depends on the grid alone, so a restart changes no
bit of a sum of floats.

Rows that were late for the first windows of their pane (`PaneId.since`) lie in panes of their own and are added per window.
All of this is derived from the panes, which alone are in the changelog.
"""

from __future__ import annotations

from bisect import bisect_left

from streamkit.state.window_store import Entries, PaneId, Total, WindowStore


class OverlappingTotals:
    """Gives the rows of window after window, oldest first, of a store whose panes are final once their first window closes.

    ``size_ms`` is that of a window, ``offset_ms`` where the grid of its panes begins.
    """

    def __init__(self, store: WindowStore, size_ms: int, offset_ms: int) -> None:
        self._store = store
        self._size_ms = size_ms
        self._offset_ms = offset_ms
        self._block: int | None = None
        self._begun: Total | None = None  # the panes of the block so far ...
        self._begun_through = 0  # ... up to this pane end
        self._ends: dict[int, Entries] = {}  # of the block before: pane end -> rows from it to the block's end, oldest first

    def window(self, window_end: int) -> Entries | None:
        """The rows of the window that ends there; None if there are none. Windows must come in order."""
        block = self._block_of(window_end)
        if block != self._block:
            self._move_to(block)
        self._add_up(window_end)
        return self._total(window_end, self._parts(window_end))

    def peek(self, window_end: int) -> Entries | None:
        """The rows that the window would have if it closed now; for looking at, in any order."""
        start = window_end - self._size_ms
        held = [pane for pane in self._store.panes if start < pane.end and pane.since <= window_end]
        return self._total(window_end, [self._store.get(pane) for pane in held])

    def _parts(self, window_end: int) -> list[Entries]:
        start = window_end - self._size_ms
        tail = next((rows for end, rows in self._ends.items() if end > start), None)
        parts = [] if tail is None else [tail]
        if self._begun is not None:
            parts.append(self._begun.entries(PaneId(window_end, window_end)))
        return parts + [self._store.get(p) for p in self._store.extra_panes if start < p.end and p.since <= window_end]

    def _total(self, window_end: int, parts: list[Entries]) -> Entries | None:
        if not parts:
            return None
        total = Total(self._store.accumulators, parts[0].keys, max(map(len, parts)))
        for part in parts:
            total.merge(part)
        return total.entries(PaneId(window_end, window_end))

    def _block_of(self, pane_end: int) -> int:
        return (pane_end - 1 - self._offset_ms) // self._size_ms

    def _move_to(self, block: int) -> None:
        """Adds the panes of the block before up from its end, and begins this one."""
        self._block, self._begun = block, None
        self._begun_through = self._offset_ms + block * self._size_ms
        ends: list[tuple[int, Entries]] = []
        for rows in reversed(self._regular(self._begun_through - self._size_ms, self._begun_through)):
            total = Total(self._store.accumulators, rows.keys, len(ends[-1][1]) if ends else 0)
            total.merge(rows)
            if ends:
                total.merge(ends[-1][1])
            ends.append((rows.pane.end, total.entries(rows.pane)))
        self._ends = dict(reversed(ends))

    def _add_up(self, through: int) -> None:
        for rows in self._regular(self._begun_through, through):
            if self._begun is None:
                self._begun = Total(self._store.accumulators, rows.keys, len(rows))
            self._begun.merge(rows)
        self._begun_through = through

    def _regular(self, after: int, through: int) -> list[Entries]:
        """The panes in (after, through] that count from their first window on, oldest first."""
        panes, extra = self._store.panes, set(self._store.extra_panes)
        chosen = panes[bisect_left(panes, (after + 1,)) : bisect_left(panes, (through + 1,))]
        return [self._store.get(pane) for pane in chosen if pane not in extra]
