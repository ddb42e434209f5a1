"""Slots that are given out again, and the table of int keys over them, against plain sets and dicts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamkit.state.int_entries import IntEntries
from streamkit.state.slots import SlotList, SlotPool

EXTREMES = st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1])
KEYS = st.one_of(st.integers(-20, 20), EXTREMES)
PANES = st.one_of(st.integers(-3, 3).map(lambda number: number * 10_000), st.sampled_from([2**62, 2**62 + 1]))


@given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 1)), max_size=12))
def test_a_slot_is_given_to_one_at_a_time_and_what_is_sparse_can_be_packed(steps: list[tuple[int, float]]) -> None:
    pool, used = SlotPool(), set[int]()
    for count, kept in steps:
        taken = pool.take(count).tolist()
        assert len(taken) == count
        assert used.isdisjoint(taken)
        used.update(taken)
        assert max(used, default=-1) < pool.capacity
        back = sorted(used)[round(len(used) * kept) :]
        used.difference_update(back)
        pool.give_back(np.array(back, np.int64))
        if pool.is_sparse:
            pool.packed(len(used))
            used = set(range(len(used)))
        assert pool.capacity < 1_024 or 7 * pool.capacity <= 8 * len(used) + 8


@given(st.lists(st.tuples(st.lists(st.tuples(PANES, KEYS), max_size=300), PANES, st.booleans()), max_size=10))
def test_entries_get_one_slot_each_until_their_pane_is_gone(steps: list[tuple[list[tuple[int, int]], int, bool]]) -> None:
    pool = SlotPool()
    entries, slots = IntEntries(pool), dict[tuple[int, int], int]()
    for pairs, gone, packs in steps:
        panes, keys = (np.array([pair[at] for pair in pairs], np.int64) for at in range(2))
        found, new = entries.slots(panes, keys)
        unseen = set(pairs).difference(slots)
        assert len(new) == len(unseen) == len(set(new.tolist()))
        slots |= dict(zip(pairs, found.tolist(), strict=True))
        assert set(new.tolist()) == {slots[pair] for pair in unseen}
        assert found.tolist() == [slots[pair] for pair in pairs]
        assert len(set(slots.values())) == len(slots)
        assert list(zip(entries.panes_at(found).tolist(), entries.keys_at(found).tolist(), strict=True)) == pairs
        freed = np.array([slot for (pane, _), slot in slots.items() if pane == gone], np.int64)
        entries.forget(freed)
        pool.give_back(freed)
        slots = {pair: slot for pair, slot in slots.items() if pair[0] != gone}
        if packs:
            left = np.array(list(slots.values()), np.int64)
            pool.packed(len(left))
            entries.pack(left)
            slots = dict(zip(slots, range(len(left)), strict=True))
        asked = np.array(sorted({key for _, key in pairs}), np.int64)
        for pane in {pane for pane, _ in pairs}:
            assert entries.find(pane, asked).tolist() == [slots.get((pane, key), -1) for key in asked.tolist()]


def test_a_table_that_one_batch_fills_still_ends_its_searches() -> None:
    entries = IntEntries(SlotPool())
    keys = np.arange(100_000, dtype=np.int64)
    for start in (0, 128, 256, 5_000):
        entries.slots(np.zeros(len(keys[:start]), np.int64), keys[:start])
        assert (entries.find(0, keys[start : start + 500]) == -1).all()
        assert len(set(entries.find(0, keys[:start]).tolist())) == start


@given(st.lists(st.tuples(st.lists(st.integers(0, 99), max_size=20), st.integers(0, 5)), max_size=10))
def test_slots_of_a_pane_are_kept_in_order(steps: list[tuple[list[int], int]]) -> None:
    held, expected = SlotList(), list[int]()
    for added, cut in steps:
        held.add(np.array(added, np.int64))
        expected += added
        size = max(0, len(expected) - cut)
        assert held.truncate(size).tolist() == expected[size:]
        expected = expected[:size]
        assert held.all.tolist() == expected
        assert held.at(np.arange(size)[::-1]).tolist() == expected[::-1]
        if cut == 5:
            assert held.renumber(7) == 7 + size
            expected = list(range(7, 7 + size))
            assert held.all.tolist() == expected
        assert len(held) == len(expected)
