"""The entries of windows that lie where the records are: per key, one for each distinct event time.

Every entry has a *slot* in flat arrays; its first two cells are its time and `since`, the end of the first window in which it
counts: time + 1, or a later one for records that were late for the windows before it, which lie apart. While `since` is still to
close, records may be added; from then on the entry is final, and `SlidingTotals` has it. An entry is dropped when the last window
that needs it has closed.

Windows that close together are computed together, whatever their keys. Nothing is done by the record in Python but to look up
and to forget its entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.state.accumulators import Accumulator, Bounds, CannotAddError, Cells, HasCells, check_columns
from streamkit.state.key_index import Keys, Slots
from streamkit.state.key_numbers import KeyNumbers
from streamkit.state.ranges import add_ranges
from streamkit.state.sliding_totals import Bools, Order, Rows, SlidingTotals
from streamkit.state.waiting import Waiting
from streamkit.state.window_store import Entries, PaneId

Int64s = npt.NDArray[np.int64]
Name = tuple[int, int, int]
Windows = tuple[Int64s, Int64s]
"""Keys and ends, each window once and in that order."""
_FIRST_CAPACITY = 64
_SPARE_KEYS = 1_024
END = 2**61
"""Behind every window."""


class SlidingStore:
    """Entries by key, time and since. ``right``: each entry also has a window that begins right after it."""

    def __init__(self, accumulators: Sequence[Accumulator], size_ms: int, *, right: bool) -> None:
        self.accumulators: tuple[HasCells, ...] = (Bounds(), *accumulators)
        self._functions = tuple(accumulators)
        self._length = size_ms + 1  # milliseconds in a window, both ends among them
        self._right = right
        self._ids = KeyNumbers()
        self._id = np.zeros(0, np.int64)  # by slot
        self._cells: list[Cells] = [[np.empty(0, dtype) for dtype in acc.dtypes] for acc in self.accumulators]
        self._live = np.zeros(0, bool)
        self._dirty = np.zeros(0, bool)
        self._free: list[int] = []
        self._begin_derived()

    def _begin_derived(self) -> None:
        self._open: dict[Name, int] = {}  # entries that may still change
        self._waiting = Waiting(max(self._length // 16, 1_000))  # their slots, by since
        self._final: deque[Slots] = deque()  # those that do not, by time ...
        self._apart = np.zeros(0, np.int64)  # ... and those of them that do not count from their own time on
        self._totals = SlidingTotals(self._functions, self._length)

    def __len__(self) -> int:
        return len(self._live) - len(self._free)

    @property
    def _time(self) -> Int64s:
        return self._cells[0][0]

    @property
    def _since(self) -> Int64s:
        return self._cells[0][1]

    def _needed(self, slots: Slots) -> Int64s:
        """The end of the last window that needs each entry."""
        return self._time[slots] + (self._length + self._right)

    # ---- records

    def update(self, times: Int64s, since: Int64s | None, keys: Keys, inputs: Sequence[Column | None]) -> tuple[Slots, Bools]:
        """Adds a batch in record order, all of it or (CannotAddError, which names the first record that cannot be added) nothing.
        ``since`` None: every record counts from its own time on. Gives the entries that changed, and which of them are new."""
        ids = self._ids.of(keys)
        since = times + 1 if since is None else since
        order = np.lexsort((since, times, ids))
        begins = np.ones(len(order), bool)
        begins[1:] = np.any([part[order[1:]] != part[order[:-1]] for part in (ids, times, since)], axis=0)
        entry_of = np.empty(len(order), np.int64)
        entry_of[order] = np.cumsum(begins) - 1
        first = order[begins]
        names = list(zip(ids[first].tolist(), times[first].tolist(), since[first].tolist(), strict=True))
        slots = np.fromiter((self._open.get(name, -1) for name in names), np.int64, len(names))
        is_new = slots < 0
        new = np.flatnonzero(is_new)
        slots[new] = self._make(ids[first[new]], times[first[new]], since[first[new]])
        of_record = slots[entry_of]
        try:
            check_columns(self._functions, self._cells[1:], of_record, inputs)
        except CannotAddError:
            self._drop(slots[new])
            raise
        for acc, cells, column in zip(self._functions, self._cells[1:], inputs, strict=True):
            acc.add(cells, of_record, column)
        self._dirty[slots] = True
        self._open.update((names[number], slot) for number, slot in zip(new.tolist(), slots[new].tolist(), strict=True))
        self._waiting.put(slots[new], since[first[new]])
        return slots, is_new

    # ---- windows

    @property
    def next_end(self) -> int | None:
        """The end of the next window to close; of those that begin behind an entry also when they are empty."""
        ends = [] if self._waiting.first is None else [self._waiting.first]
        if self._right and self._final:
            ends.append(int(self._needed(self._final[0][:1])[0]))
        if self._right and len(self._apart):
            ends.append(int(self._needed(self._apart).min()))
        return min(ends, default=None)

    @property
    def last_end(self) -> int | None:
        """Behind it nothing that is here is needed."""
        return int(self._needed(np.flatnonzero(self._live)).max()) if len(self) else None

    def close(self, through: int) -> Entries | None:
        """The rows of all windows that end at or before this and have not been closed, in the order of their ends; None if there
        are none. Forgets what only they needed."""
        entered = self._waiting.take(through)
        for name in self._names(entered):
            del self._open[name]
        in_time = self._since[entered] == self._time[entered] + 1
        regular = entered[in_time]
        if len(regular):
            self._final.append(regular[np.argsort(self._time[regular], kind="stable")])
        apart = self._apart = np.concatenate((self._apart, entered[~in_time]))
        gone = self._take_gone(through)
        ids, ends = self._windows(entered, gone)
        found = self._computed(self._totals, regular, apart, (ids, ends), through)
        self._drop(gone)
        if len(self._ids) > 2 * len(self) + _SPARE_KEYS:
            self._forget_keys(through)
        return found

    def _computed(self, totals: SlidingTotals, entered: Slots, apart: Slots, windows: Windows, through: int) -> Entries | None:
        """The rows of windows, each once and by key, of which the totals have not seen these entries yet."""
        ids, ends = windows
        there, cells = totals.step(self._rows(self._by_key(entered)), ids, ends, through)
        self._add_apart(apart, ids, ends, there, cells)
        return self._results(ids, ends, there, cells)

    def _take_gone(self, through: int) -> Slots:
        """Takes out the final entries that no window after this end needs."""
        gone = []
        while self._final:
            slots = self._final[0]
            count = int(np.searchsorted(self._needed(slots), through, side="right"))
            gone.append(slots[:count])
            if count < len(slots):
                self._final[0] = slots[count:]
                break
            self._final.popleft()
        over = self._needed(self._apart) <= through
        gone.append(self._apart[over])
        self._apart = self._apart[~over]
        return np.concatenate(gone)

    def _windows(self, ending: Slots, begun: Slots) -> Windows:
        """The windows that end where the first entries begin to count, and those that begin right behind the others."""
        ids, ends = self._id[ending], self._since[ending]
        if self._right:
            ids, ends = np.concatenate((ids, self._id[begun])), np.concatenate((ends, self._needed(begun)))
        order = np.lexsort((ends, ids))
        ids, ends = ids[order], ends[order]
        differs = np.ones(len(ids), bool)
        differs[1:] = (ids[1:] != ids[:-1]) | (ends[1:] != ends[:-1])
        return ids[differs], ends[differs]

    def _add_apart(self, apart: Slots, ids: Int64s, ends: Int64s, there: Bools, cells: list[Cells]) -> None:
        """Adds the entries that count in some of the windows that hold them only."""
        if not len(apart) or not len(ids):
            return
        apart = self._by_key(apart)
        entries = Rows(self._id[apart], self._since[apart], self._rows(apart).cells)
        there |= add_ranges(self._functions, entries, self._time[apart] + self._length, (ids, ends), cells)

    def _results(self, ids: Int64s, ends: Int64s, there: Bools, cells: list[Cells]) -> Entries | None:
        at = np.flatnonzero(there)
        if not len(at):
            return None
        at = at[np.lexsort((ids[at], ends[at]))]
        bounds = [ends[at] - self._length, ends[at]]
        last = int(ends[at[-1]])
        return Entries(PaneId(last, last), self._ids.keys(ids[at]), [bounds, *([cell[at] for cell in held] for held in cells)])

    # ---- windows that are open

    def peek(self) -> Entries | None:
        """What all open windows would give if they closed now."""
        return self.present(self._windows(self._still_open(), np.flatnonzero(self._live))) if len(self) else None

    def present(self, windows: Windows) -> Entries | None:
        """The rows of open windows as they are now, in the order of their ends."""
        if not len(windows[0]):
            return None
        still_open = self._still_open()
        in_time = self._since[still_open] == self._time[still_open] + 1
        apart = np.concatenate((self._apart, still_open[~in_time]))
        return self._computed(self._totals.fork(), still_open[in_time], apart, windows, int(windows[1].max()))

    def _still_open(self) -> Slots:
        return np.fromiter(self._open.values(), np.int64, len(self._open))

    def changed_windows(self, entries: Slots, new: Bools, told_through: Int64s) -> Windows:
        """The open windows that were changed by these entries, or that the new ones of them began; of those that end at or
        before ``told_through`` only the ones that another entry changed."""
        key, since, last = (
            self._id[entries],
            np.maximum(self._since[entries], told_through + 1),
            self._time[entries] + self._length,
        )
        of_keys = np.zeros(len(self._ids), bool)
        of_keys[key] = True
        still_open, live = self._still_open(), np.flatnonzero(self._live)
        ids, ends = self._windows(still_open[of_keys[self._id[still_open]]], live[of_keys[self._id[live]]])
        order = Order(ids, ends)
        marks = np.zeros(len(ids) + 1, np.int64)
        first = order.first_from(key, since)
        np.add.at(marks, first, 1)
        np.add.at(marks, np.maximum(order.behind(key, last), first), -1)
        if self._right:
            begun = new & (told_through <= last)
            first = order.first_from(key[begun], last[begun] + 1)
            np.add.at(marks, first, 1)
            np.add.at(marks, first + 1, -1)
        changed = np.cumsum(marks[:-1]) > 0
        return ids[changed], ends[changed]

    def needed_after(self, entries: Slots, window_end: int) -> Bools:
        """Which of these entries windows after that end may still need."""
        needed: Bools = self._needed(entries) > window_end
        return needed

    def first_ends(self, entries: Slots) -> Int64s:
        """The end of the first window in which each entry counts."""
        return self._since[entries]

    def all_entries(self) -> Slots:
        return np.flatnonzero(self._live)

    def results(self, entries: Entries) -> list[Column]:
        return [acc.result(cells) for acc, cells in zip(self._functions, entries.cells[1:], strict=True)]

    def bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        """Start and end of the window of each row of `close` or `peek`, milliseconds."""
        start, end = entries.cells[0]
        return start, end

    # ---- slots

    def _names(self, slots: Slots) -> list[Name]:
        return list(zip(self._id[slots].tolist(), self._time[slots].tolist(), self._since[slots].tolist(), strict=True))

    def _by_key(self, slots: Slots) -> Slots:
        return slots[np.lexsort((self._since[slots], self._time[slots], self._id[slots]))]

    def _rows(self, slots: Slots) -> Rows:
        return Rows(self._id[slots], self._time[slots], [[cell[slots] for cell in cells] for cells in self._cells[1:]])

    def _make(self, ids: Int64s, times: Int64s, since: Int64s) -> Slots:
        count = len(ids)
        if count > len(self._free):
            self._grow(count)
        slots = np.array(self._free[len(self._free) - count :], np.int64)
        del self._free[len(self._free) - count :]
        for acc, cells in zip(self._functions, self._cells[1:], strict=True):
            for cell, initial in zip(cells, acc.initial, strict=True):
                cell[slots] = initial
        self._id[slots], self._time[slots], self._since[slots] = ids, times, since
        self._live[slots] = True
        return slots

    def _drop(self, slots: Slots) -> None:
        self._live[slots] = self._dirty[slots] = False
        for cells in self._cells:
            for cell in cells:
                if cell.dtype == object:
                    cell[slots] = None
        self._free.extend(slots.tolist())

    def _grow(self, least: int) -> None:
        size = len(self._live)
        more = max(_FIRST_CAPACITY, size, least)
        self._cells = [[np.concatenate((cell, np.zeros(more, cell.dtype))) for cell in cells] for cells in self._cells]
        self._id = np.concatenate((self._id, np.zeros(more, np.int64)))
        self._live, self._dirty = (np.concatenate((flags, np.zeros(more, bool))) for flags in (self._live, self._dirty))
        self._free.extend(range(size + more - 1, size - 1, -1))

    def _forget_keys(self, closed_through: int) -> None:
        """Numbers the keys anew that have entries."""
        live = np.flatnonzero(self._live)
        self._id[live] = self._ids.keep(self._id[live])
        self._derive(live, closed_through)

    def _derive(self, live: Slots, closed_through: int) -> None:
        """Makes everything anew that follows from the entries and from how far windows have closed."""
        self._begin_derived()
        is_open = self._since[live] > closed_through
        waiting, final = live[is_open], live[~is_open]
        self._open = dict(zip(self._names(waiting), waiting.tolist(), strict=True))
        self._waiting.put(waiting, self._since[waiting])
        in_time = self._since[final] == self._time[final] + 1
        regular, self._apart = final[in_time], final[~in_time]
        if len(regular):
            self._final.append(regular[np.argsort(self._time[regular], kind="stable")])
            nothing = np.zeros(0, np.int64)
            self._totals.step(self._rows(self._by_key(regular)), nothing, nothing, closed_through)

    # ---- changelog

    shared_slots = True

    def drop_through(self, window_end: int) -> None:
        """After a restore: the windows up to this end had been closed."""
        live = np.flatnonzero(self._live)
        over = self._needed(live) <= window_end
        self._drop(live[over])
        self._derive(live[~over], window_end)

    def needed_through(self, pane: PaneId) -> int:
        return pane.end - 1 + self._length + self._right

    def entries(self) -> Iterator[Entries]:
        """All entries; for copying."""
        if len(self):
            yield self._section(np.flatnonzero(self._live))

    def take_dirty(self) -> Iterator[tuple[Slots, Entries]]:
        """The entries that changed since the last call, with their slots; marks are cleared."""
        slots = np.flatnonzero(self._dirty)
        self._dirty[slots] = False
        if len(slots):
            yield slots, self._section(slots)

    def _section(self, slots: Slots) -> Entries:
        end = int(self._time[slots].max()) + 1
        return Entries(PaneId(end, end), self._ids.keys(self._id[slots]), [[cell[slots] for cell in c] for c in self._cells])

    def mark_dirty(self, pane_id: PaneId, slots: Slots) -> None:  # noqa: ARG002 - entries are not in panes
        """Has what lies in these slots now written again with the next commit."""
        self._dirty[slots[self._live[slots]]] = True

    def load(self, entries: Entries) -> Slots:
        """Sets entries to absolute values (restore; `drop_through` follows). Gives their slots."""
        times, since = entries.cells[0]
        ids = self._ids.of(entries.keys)
        names = list(zip(ids.tolist(), times.tolist(), since.tolist(), strict=True))
        slots = np.fromiter((self._open.get(name, -1) for name in names), np.int64, len(names))
        new = np.flatnonzero(slots < 0)
        slots[new] = self._make(ids[new], times[new], since[new])
        for cells, loaded in zip(self._cells[1:], entries.cells[1:], strict=True):
            for cell, values in zip(cells, loaded, strict=True):
                cell[slots] = values
        self._open.update(zip(names, slots.tolist(), strict=True))
        return slots
