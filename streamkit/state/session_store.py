"""The open sessions of one aggregation in one task: per key, spans of time without a gap, each with its accumulators.

Sessions of one key never touch: a record within the gap of one joins it, within the gap of two puts them together. So no delete
ever has to be written: a row that is read back takes the place of all rows of its key that it touches, and sessions that were
closed are dropped by the time record.

Every session has a *slot* in flat arrays; its first two cells are its first and its last time. Which slots a key has is in
`session_keys.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.state.accumulators import Accumulator, Bounds, CannotAddError, Cells, HasCells
from streamkit.state.key_index import Keys, Slots
from streamkit.state.session_keys import SessionKeys, joined
from streamkit.state.text_keys import with_room
from streamkit.state.window_store import Entries, PaneId

Int64s = npt.NDArray[np.int64]
Reject = Callable[[int, str], None]
Watch = Callable[[Any, int, bool, "list[Entries]"], None]
"""Told of each session that changes: its key (as a dict knows it), its start, whether there was none of that start before, and
what was put into it and is now no session of its own any more: each row as it stood."""
_FIRST_CAPACITY = 64
_NEVER = -(2**62)  # before all times


class SessionStore:
    """Sessions by key. ``gap_ms``: two times that are less than this apart belong together."""

    def __init__(self, accumulators: Sequence[Accumulator], gap_ms: int) -> None:
        self.accumulators: tuple[HasCells, ...] = (Bounds(), *accumulators)
        self._functions = tuple(accumulators)
        self._gap_ms = gap_ms
        self._cells: list[Cells] = [[np.empty(0, dtype) for dtype in acc.dtypes] for acc in self.accumulators]
        self._keys = SessionKeys()
        self._live = np.zeros(0, bool)
        self._dirty = np.zeros(0, bool)
        self._end = 0  # no slot from here on was ever used
        self._free = array("i")  # before that
        self.watched_by: list[Watch] = []

    def __len__(self) -> int:
        return self._end - len(self._free)

    @property
    def _first(self) -> Int64s:
        return self._cells[0][0]

    @property
    def _last(self) -> Int64s:
        return self._cells[0][1]

    # ---- records

    def update(self, times: Int64s, keys: Keys, inputs: Sequence[Column | None], reject: Reject) -> None:
        """Adds a batch in record order; ``reject`` is called with the index of a record that cannot be added, and why.

        Records of one key that are less than the gap apart are added together, as long as that comes to the same, to the last
        bit of a float, as one after the other.
        """
        if not len(times):
            return
        self._keys.forget_unused()
        groups = _Groups(times, self._keys.numbers(keys), self._gap_ms)
        slot_of, alone = self._own(groups)
        together = alone & groups.hold_together(self._first, self._last, slot_of)
        at = np.flatnonzero(together[groups.of])
        one_by_one = np.flatnonzero(~together[groups.of])
        if len(at) and not self._add_together(groups, slot_of, together, at, inputs):
            one_by_one = np.arange(len(times))
        for index in one_by_one.tolist():
            self._add_one(index, int(groups.number[groups.of[index]]), int(times[index]), inputs, reject)

    def _touching(self, numbers: Int64s, low: Int64s, high: Int64s) -> tuple[Int64s, Slots]:
        """Sessions of these keys that are within the gap of [low, high], as pairs: the position of a key here, and a slot."""
        first, last, gap = self._first, self._last, self._gap_ms
        found = []
        for at, slots in self._keys.chains(numbers):
            touches = (first[slots] - high[at] < gap) & (low[at] - last[slots] < gap)
            found.append((at[touches], slots[touches]))
        return joined(found)

    def _own(self, groups: _Groups) -> tuple[Slots, npt.NDArray[np.bool_]]:
        """The session that each group touches, where it is one (else -1); and whether it touches at most one, which no other
        group has to do with."""
        at, slots = self._touching(groups.number, groups.low, groups.high)
        count = np.bincount(at, minlength=len(groups.number))
        own = np.full(len(count), -1, np.int64)
        own[at] = slots
        own[count != 1] = -1
        alone = count < 2
        ordered = np.sort(slots)
        shared = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(shared):
            alone[at[np.isin(slots, shared)]] = False
        return own, alone

    def _add_together(
        self,
        groups: _Groups,
        own: Slots,
        together: npt.NDArray[np.bool_],
        at: Int64s,
        inputs: Sequence[Column | None],
    ) -> bool:
        """False, and nothing done, if one of the records cannot be added."""
        new = np.flatnonzero(together & (own < 0))
        made = self._make(groups.number[new], groups.low[new], groups.high[new])
        slot_of = own.copy()
        slot_of[new] = made
        slots = slot_of[groups.of[at]]
        columns = [None if column is None else column.take(at) for column in inputs]
        try:
            for acc, cells, column in zip(self._functions, self._cells[1:], columns, strict=True):
                acc.check(cells, slots, column)
        except CannotAddError:
            self._drop(made)
            return False
        stood = self._will_begin_earlier(np.flatnonzero(together), slot_of, groups) if self.watched_by else {}
        for acc, cells, column in zip(self._functions, self._cells[1:], columns, strict=True):
            acc.add(cells, slots, column)
        chosen = slot_of[together]
        self._first[chosen] = np.minimum(self._first[chosen], groups.low[together])
        self._last[chosen] = np.maximum(self._last[chosen], groups.high[together])
        self._dirty[chosen] = True
        if self.watched_by:
            told = np.flatnonzero(together)
            starts = self._first[slot_of[told]].tolist()
            for number, key, start in zip(told.tolist(), self._keys.exact(groups.number[told]), starts, strict=True):
                gone = [stood[number]] if number in stood else []
                self._tell(key, start, bool(gone) or bool(own[number] < 0), gone)
        return True

    def _tell(self, key: Any, start: int, begun: bool, gone: list[Entries]) -> None:  # noqa: FBT001 - as in Watch
        for watch in self.watched_by:
            watch(key, start, begun, gone)

    def _will_begin_earlier(self, numbers: Int64s, slot_of: Int64s, groups: _Groups) -> dict[int, Entries]:
        """Those groups whose session begins later than they do, each with the row as it stands."""
        slots = slot_of[numbers]
        return {
            int(number): self._row(int(slot))
            for number, slot in zip(numbers, slots, strict=True)
            if groups.low[number] < self._first[slot]
        }

    def _add_one(self, index: int, number: int, time: int, inputs: Sequence[Column | None], reject: Reject) -> None:
        """One record, with all the sessions that it touches put together; all of it or nothing."""
        first, last, gap = self._first, self._last, self._gap_ms
        near = (slot for slot in self._keys.chain(number) if first.item(slot) - time < gap and time - last.item(slot) < gap)
        touched = sorted(near, key=first.item)
        here = np.zeros(1, np.int64)
        total: list[Cells] = []
        try:
            for acc, cells, column in zip(self._functions, self._cells[1:], inputs, strict=True):
                own = [np.full(1, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
                for place, slot in enumerate(touched):
                    held = [cell[[slot]] for cell in cells]
                    if place:
                        acc.merge(own, here, held)
                    else:
                        own = held
                one = None if column is None else column.take(np.array([index]))
                acc.check(own, here, one)
                acc.add(own, here, one)
                total.append(own)
        except CannotAddError as error:
            reject(index, error.reason)
            return
        low = min([time, *(int(self._first[slot]) for slot in touched)])
        high = max([time, *(int(self._last[slot]) for slot in touched)])
        began_later = [slot for slot in touched if int(self._first[slot]) != low]
        gone = [self._row(slot) for slot in began_later] if self.watched_by else []
        self._drop(np.array(touched[1:], np.int64))
        target = touched[0] if touched else int(self._make(*(np.array([value]) for value in (number, low, high)))[0])
        self._first[target], self._last[target] = low, high
        for cells, own in zip(self._cells[1:], total, strict=True):
            for cell, value in zip(cells, own, strict=True):
                cell[target] = value[0]
        self._dirty[target] = True
        if self.watched_by:
            self._tell(self._keys.exact(np.array([number]))[0], low, len(began_later) == len(touched), gone)

    # ---- slots

    def _make(self, numbers: Int64s, first: Int64s, last: Int64s) -> Slots:
        """New sessions of the keys of these numbers, with initial cells; gives their slots."""
        slots = self._take(len(numbers))
        for acc, cells in zip(self.accumulators, self._cells, strict=True):
            for cell, initial in zip(cells, acc.initial, strict=True):
                cell[slots] = initial
        self._first[slots], self._last[slots] = first, last
        self._live[slots] = self._dirty[slots] = True
        self._keys.link(numbers, slots)
        return slots

    def _take(self, count: int) -> Slots:
        """Free slots: those that were given back last come first."""
        again = min(count, len(self._free))
        slots = np.empty(count, np.int64)
        slots[:again] = self._free[len(self._free) - again :][::-1]
        del self._free[len(self._free) - again :]
        slots[again:] = np.arange(self._end, self._end + count - again)
        self._end += count - again
        if self._end > len(self._live):
            self._grow()
        return slots

    def _drop(self, slots: Slots) -> None:
        if not len(slots):
            return
        self._keys.unlink(slots)
        self._live[slots] = self._dirty[slots] = False
        for cells in self._cells:
            for cell in cells:
                if cell.dtype == object:
                    cell[slots] = None
        self._free.extend(slots.tolist())

    def _grow(self) -> None:
        size = max(_FIRST_CAPACITY, self._end, len(self._live) * 3 // 2)
        self._cells = [[with_room(cell, size) for cell in cells] for cells in self._cells]
        self._live, self._dirty = with_room(self._live, size), with_room(self._dirty, size)
        self._keys.fit(size)

    # ---- windows

    @property
    def first_end(self) -> int | None:
        """Where the session that ends first ends: its last time + the gap."""
        lasts = self._last[: self._end][self._live[: self._end]]
        return int(lasts.min()) + self._gap_ms if len(lasts) else None

    def take_ended(self, end: int) -> Entries:
        """Takes out the sessions that end at or before this, in the order of their ends."""
        ended = self._ended(end)
        entries = self._rows(ended)
        self._drop(ended)
        return entries

    def drop_through(self, end: int) -> None:
        self._drop(self._ended(end))

    def _ended(self, end: int) -> Slots:
        return np.flatnonzero(self._live & (self._last + self._gap_ms <= end))

    def entries(self) -> Iterator[Entries]:
        """All open sessions, in the order of their ends."""
        if len(self):
            yield self._rows(np.flatnonzero(self._live))

    def _rows(self, slots: Slots) -> Entries:
        return self._at(slots[np.lexsort((self._first[slots], self._last[slots]))])

    def rows_of(self, sessions: Sequence[tuple[Any, int]]) -> Entries:
        """The sessions of these keys (as a dict knows them) and starts, in this order."""
        return self._at(self._slots_of(sessions))

    def ends_of(self, sessions: Sequence[tuple[Any, int]]) -> Int64s:
        """Where they end by now."""
        return self._last[self._slots_of(sessions)] + self._gap_ms

    def _slots_of(self, sessions: Sequence[tuple[Any, int]]) -> Slots:
        starts = np.array([start for _, start in sessions], np.int64)
        found = np.full(len(starts), -1, np.int64)
        for at, slots in self._keys.chains(self._keys.find([key for key, _ in sessions])):
            hit = self._first[slots] == starts[at]
            found[at[hit]] = slots[hit]
        assert (found >= 0).all()  # noqa: S101 - who asks has been told of every session that has gone
        return found

    def identities(self) -> list[tuple[Any, int]]:
        """Key (as a dict knows it) and start of every open session."""
        numbers, slots = self._keys.linked()
        return list(zip(self._keys.exact(numbers), self._first[slots].tolist(), strict=True))

    def _row(self, slot: int) -> Entries:
        return self._at(np.array([slot]))

    def _at(self, slots: Slots) -> Entries:
        end = int(self._last[slots].max()) + self._gap_ms if len(slots) else 0
        return Entries(PaneId(end, end), self._keys.keys(slots), [[cell[slots] for cell in cells] for cells in self._cells])

    def results(self, entries: Entries) -> list[Column]:
        return [acc.result(cells) for acc, cells in zip(self._functions, entries.cells[1:], strict=True)]

    def bounds(self, entries: Entries) -> tuple[Int64s, Int64s]:
        """Start and end of each session, milliseconds."""
        first, last = entries.cells[0]
        return first, last + self._gap_ms

    # ---- changelog (what BlockChangelog needs)

    shared_slots = True

    def needed_through(self, pane: PaneId) -> int:
        return pane.end

    def take_dirty(self) -> Iterator[tuple[Slots, Entries]]:
        """The rows that changed since the last call, with their slots; marks are cleared."""
        slots = np.flatnonzero(self._dirty & self._live)
        self._dirty[:] = False
        if len(slots):
            yield slots, self._at(slots)

    def mark_dirty(self, pane_id: PaneId, slots: Slots) -> None:  # noqa: ARG002 - sessions are not in panes
        """Has what lies in these slots now written again with the next commit."""
        self._dirty[slots[self._live[slots]]] = True

    def load(self, entries: Entries) -> Slots:
        """Sets rows to absolute values (restore), each in the place of those of its key that it touches; rows that come together
        do not touch each other. Gives their slots."""
        self._keys.forget_unused()
        first, last = entries.cells[0]
        numbers = self._keys.numbers(entries.keys)
        self._drop(np.unique(self._touching(numbers, first, last)[1]))
        slots = self._make(numbers, first, last)
        for cells, loaded in zip(self._cells[1:], entries.cells[1:], strict=True):
            for cell, values in zip(cells, loaded, strict=True):
                cell[slots] = values
        self._dirty[slots] = False
        return slots


class _Groups:
    """The records of a batch put together by key and gap: ``of`` is the group of each record; each has the ``number`` of its key
    and its first and last time, ``low`` and ``high``."""

    def __init__(self, times: Int64s, numbers: Int64s, gap_ms: int) -> None:
        self._times, self._gap_ms = times, gap_ms
        order = np.lexsort((times, numbers))
        ordered, by = times[order], numbers[order]
        begins = np.ones(len(times), bool)
        begins[1:] = (by[1:] != by[:-1]) | (ordered[1:] - ordered[:-1] >= gap_ms)
        starts = np.flatnonzero(begins)
        self.of = np.empty(len(times), np.int64)
        self.of[order] = np.cumsum(begins) - 1
        self.low, self.high = ordered[starts], ordered[np.r_[starts[1:] - 1, len(times) - 1]]
        self.number = by[starts]

    def hold_together(self, firsts: Int64s, lasts: Int64s, slot_of: Slots) -> npt.NDArray[np.bool_]:
        """The groups in which, in the order of arrival, every record is within the gap of what came before it: of its session,
        where it has one, and of its own records. ``firsts`` and ``lasts`` are the times of sessions, by slot."""
        has = slot_of >= 0
        first, last = np.zeros((2, len(slot_of)), np.int64)
        first[has], last[has] = firsts[slot_of[has]], lasts[slot_of[has]]
        order = np.argsort(self.of, kind="stable")
        group = self.of[order]
        base = int(self._times.min())
        times = self._times[order] - base
        begins = np.r_[True, group[1:] != group[:-1]]
        reach = int(times.max()) + 1
        # running extremes within each group, by lifting (lowering) every group above (below) all earlier ones
        highest = np.maximum.accumulate(times + group * reach) - group * reach
        lowest = np.minimum.accumulate(times - group * reach) + group * reach
        own = has[group]
        before_high = np.where(begins, _NEVER, np.r_[0, highest[:-1]])
        before_low = np.where(begins, -_NEVER, np.r_[0, lowest[:-1]])
        before_high[own] = np.maximum(before_high[own], last[group[own]] - base)
        before_low[own] = np.minimum(before_low[own], first[group[own]] - base)
        new = begins & ~own  # nothing is before it
        before_high[new] = before_low[new] = times[new]
        apart = (times - before_high >= self._gap_ms) | (before_low - times >= self._gap_ms)
        held = np.ones(len(self.low), bool)
        held[group[apart]] = False
        return held
