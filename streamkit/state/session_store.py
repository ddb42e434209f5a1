"""The open sessions of one aggregation in one task: per key, spans of time without a gap, each with its accumulators.

Sessions of one key never touch: a record within the gap of one joins it, within the gap of two puts them together. So no delete
ever has to be written: a row that is read back takes the place of all rows of its key that it touches, and sessions that were
closed are dropped by the time record.

Every session has a *slot* in flat arrays; its first two cells are its first and its last time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from streamkit.record.columns import Column
from streamkit.state.accumulators import Accumulator, Bounds, CannotAddError, Cells, HasCells
from streamkit.state.key_index import Keys, Slots, exact_keys, index_for, plain_key
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
        self._keys: list[Any] = []  # by slot
        self._live = np.zeros(0, bool)
        self._dirty = np.zeros(0, bool)
        self._free: list[int] = []
        self._by_key: dict[Any, list[int]] = {}
        self.watched_by: list[Watch] = []

    def __len__(self) -> int:
        return int(self._live.sum())

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
        groups = _Groups(times, keys, self._gap_ms)
        touching = [self._touching(key, low, high) for key, low, high in groups.spans()]
        together = self._together(groups, touching)
        at = np.flatnonzero(together[groups.of])
        one_by_one = np.flatnonzero(~together[groups.of])
        if len(at) and not self._add_together(groups, touching, together, at, inputs):
            one_by_one = np.arange(len(times))
        for index in one_by_one.tolist():
            self._add_one(index, groups.key(index), int(times[index]), inputs, reject)

    def _touching(self, key: Any, low: int, high: int) -> list[int]:
        held = self._by_key.get(key)
        if held is None:
            return []
        first, last, gap = self._first, self._last, self._gap_ms
        return [slot for slot in held if first[slot] - high < gap and low - last[slot] < gap]

    def _together(self, groups: _Groups, touching: list[list[int]]) -> npt.NDArray[np.bool_]:
        """Which groups go to one session that no other group has to do with, and never fall apart on the way."""
        slots = np.array([one[0] if len(one) == 1 else -1 for one in touching], np.int64)
        shared = {slot for slot, times in Counter(chain.from_iterable(touching)).items() if times > 1}
        alone = np.array([len(one) < 2 and shared.isdisjoint(one) for one in touching], bool)
        has = slots >= 0
        first, last = np.zeros((2, len(slots)), np.int64)
        first[has], last[has] = self._first[slots[has]], self._last[slots[has]]
        return alone & groups.hold_together(first, last, has)

    def _add_together(
        self,
        groups: _Groups,
        touching: list[list[int]],
        together: npt.NDArray[np.bool_],
        at: Int64s,
        inputs: Sequence[Column | None],
    ) -> bool:
        """False, and nothing done, if one of the records cannot be added."""
        made = []
        slot_of = np.full(len(touching), -1, np.int64)
        spans = list(groups.spans())
        for number in np.flatnonzero(together).tolist():
            key, low, high = spans[number]
            if touching[number]:
                slot_of[number] = touching[number][0]
            else:
                slot_of[number] = self._make(key, low, high)
                made.append(int(slot_of[number]))
        slots = slot_of[groups.of[at]]
        columns = [None if column is None else column.take(at) for column in inputs]
        try:
            for acc, cells, column in zip(self._functions, self._cells[1:], columns, strict=True):
                acc.check(cells, slots, column)
        except CannotAddError:
            for slot in made:
                self._drop(slot)
            return False
        stood = self._will_begin_earlier(np.flatnonzero(together & (slot_of >= 0)), slot_of, groups) if self.watched_by else {}
        for acc, cells, column in zip(self._functions, self._cells[1:], columns, strict=True):
            acc.add(cells, slots, column)
        chosen = slot_of[together]
        self._first[chosen] = np.minimum(self._first[chosen], groups.low[together])
        self._last[chosen] = np.maximum(self._last[chosen], groups.high[together])
        self._dirty[chosen] = True
        for number in np.flatnonzero(together).tolist() if self.watched_by else ():
            start = int(self._first[slot_of[number]])
            gone = [stood[number]] if number in stood else []
            self._tell(spans[number][0], start, bool(gone) or not touching[number], gone)
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

    def _add_one(self, index: int, key: Any, time: int, inputs: Sequence[Column | None], reject: Reject) -> None:
        """One record, with all the sessions that it touches put together; all of it or nothing."""
        touched = sorted(self._touching(key, time, time), key=lambda slot: int(self._first[slot]))
        here = np.zeros(1, np.int64)
        total: list[Cells] = []
        try:
            for acc, cells, column in zip(self._functions, self._cells[1:], inputs, strict=True):
                own = [np.full(1, initial, dtype) for dtype, initial in zip(acc.dtypes, acc.initial, strict=True)]
                for number, slot in enumerate(touched):
                    held = [cell[[slot]] for cell in cells]
                    if number:
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
        for slot in touched[1:]:
            self._drop(slot)
        target = touched[0] if touched else self._make(key, low, high)
        self._first[target], self._last[target] = low, high
        for cells, own in zip(self._cells[1:], total, strict=True):
            for cell, value in zip(cells, own, strict=True):
                cell[target] = value[0]
        self._dirty[target] = True
        self._tell(key, low, len(began_later) == len(touched), gone)

    # ---- slots

    def _make(self, key: Any, first: int, last: int) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        for acc, cells in zip(self.accumulators, self._cells, strict=True):
            for cell, initial in zip(cells, acc.initial, strict=True):
                cell[slot] = initial
        self._keys[slot] = key
        self._first[slot], self._last[slot] = first, last
        self._live[slot] = self._dirty[slot] = True
        self._by_key.setdefault(key, []).append(slot)
        return slot

    def _drop(self, slot: int) -> None:
        held = self._by_key[self._keys[slot]]
        held.remove(slot)
        if not held:
            del self._by_key[self._keys[slot]]
        self._keys[slot] = None
        self._live[slot] = self._dirty[slot] = False
        for cells in self._cells:
            for cell in cells:
                if cell.dtype == object:
                    cell[slot] = None
        self._free.append(slot)

    def _grow(self) -> None:
        size = len(self._keys)
        more = max(_FIRST_CAPACITY, size)
        self._cells = [[np.concatenate((cell, np.zeros(more, cell.dtype))) for cell in cells] for cells in self._cells]
        self._live, self._dirty = (np.concatenate((flags, np.zeros(more, bool))) for flags in (self._live, self._dirty))
        self._keys.extend([None] * more)
        self._free.extend(range(size + more - 1, size - 1, -1))

    # ---- windows

    @property
    def first_end(self) -> int | None:
        """Where the session that ends first ends: its last time + the gap."""
        lasts = self._last[self._live]
        return int(lasts.min()) + self._gap_ms if len(lasts) else None

    def take_ended(self, end: int) -> Entries:
        """Takes out the sessions that end at or before this, in the order of their ends."""
        entries = self._rows(np.flatnonzero(self._live & (self._last + self._gap_ms <= end)))
        self.drop_through(end)
        return entries

    def drop_through(self, end: int) -> None:
        for slot in np.flatnonzero(self._live & (self._last + self._gap_ms <= end)).tolist():
            self._drop(slot)

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
        first, held = self._first, self._by_key
        slots = [next(slot for slot in held[key] if first[slot] == start) for key, start in sessions]
        return np.array(slots, np.int64)

    def identities(self) -> list[tuple[Any, int]]:
        """Key (as a dict knows it) and start of every open session."""
        return [(key, int(self._first[slot])) for key, slots in self._by_key.items() for slot in slots]

    def _row(self, slot: int) -> Entries:
        return self._at(np.array([slot]))

    def _at(self, slots: Slots) -> Entries:
        end = int(self._last[slots].max()) + self._gap_ms if len(slots) else 0
        keys = [self._key_at(slot) for slot in slots.tolist()]
        return Entries(PaneId(end, end), keys, [[cell[slots] for cell in cells] for cells in self._cells])

    def _key_at(self, slot: int) -> Any:
        return plain_key(self._keys[slot])

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
        """Sets rows to absolute values (restore), each in the place of those of its key that it touches. Gives their slots."""
        keys = entries.keys if isinstance(entries.keys, list) else entries.keys.tolist()
        first, last = entries.cells[0]
        slots = []
        for row, key in enumerate(exact_keys(keys)):
            for slot in self._touching(key, int(first[row]), int(last[row])):
                self._drop(slot)
            slot = self._make(key, int(first[row]), int(last[row]))
            for cells, loaded in zip(self._cells[1:], entries.cells[1:], strict=True):
                for cell, values in zip(cells, loaded, strict=True):
                    cell[slot] = values[row]
            self._dirty[slot] = False
            slots.append(slot)
        return np.array(slots, np.int64)


class _Groups:
    """The records of a batch put together by key and gap: ``of`` is the group of each record, ``low`` and ``high`` its times."""

    def __init__(self, times: Int64s, keys: Keys, gap_ms: int) -> None:
        self._times, self._gap_ms = times, gap_ms
        index = index_for(keys)
        ids = index.slots(keys)
        distinct = index.keys()
        self._distinct = exact_keys(distinct if isinstance(distinct, list) else distinct.tolist())
        order = np.lexsort((times, ids))
        ordered, by = times[order], ids[order]
        begins = np.ones(len(times), bool)
        begins[1:] = (by[1:] != by[:-1]) | (ordered[1:] - ordered[:-1] >= gap_ms)
        starts = np.flatnonzero(begins)
        self.of = np.empty(len(times), np.int64)
        self.of[order] = np.cumsum(begins) - 1
        self.low, self.high = ordered[starts], ordered[np.r_[starts[1:] - 1, len(times) - 1]]
        self._key_of = by[starts]

    def key(self, index: int) -> Any:
        return self._distinct[self._key_of[self.of[index]]]

    def spans(self) -> Iterator[tuple[Any, int, int]]:
        for number, low, high in zip(self._key_of.tolist(), self.low.tolist(), self.high.tolist(), strict=True):
            yield self._distinct[number], low, high

    def hold_together(self, first: Int64s, last: Int64s, has: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The groups in which, in the order of arrival, every record is within the gap of what came before it: of the session
        [first, last] where the group ``has`` one, and of its own records."""
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
