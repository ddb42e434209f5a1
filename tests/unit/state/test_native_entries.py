"""The compiled table of (pane, key) against the one of numpy: each pair has one slot, and only new pairs take any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.state.int_entries import NATIVE, IntEntries
from streamkit.state.slots import SlotPool

pytestmark = pytest.mark.skipif(NATIVE is None, reason="the compiled table of entries is not built, or STREAMKIT_NATIVE=off")

KEYS = st.integers(0, 5) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 0, -1])
PAIRS = st.lists(st.tuples(st.sampled_from([10_000, 20_000, -10_000, 2**62]), KEYS), max_size=60)


def arrays(pairs):
    return np.array([pane for pane, _ in pairs], np.int64), np.array([key for _, key in pairs], np.int64)


class Both:
    """The two tables, side by side, and what must be in them."""

    def __init__(self) -> None:
        self.pools = SlotPool(), SlotPool()
        self.tables = IntEntries(self.pools[0]), IntEntries(self.pools[1], None)
        self.slots = {}, {}

    def enter(self, panes, keys):
        for entries, known in zip(self.tables, self.slots, strict=True):
            found, taken = entries.slots(panes, keys)
            new = {}
            for pane, key, slot in zip(panes.tolist(), keys.tolist(), found.tolist(), strict=True):
                if (pane, key) not in known:
                    new.setdefault((pane, key), slot)
                assert (known[pane, key] if (pane, key) in known else new[pane, key]) == slot
            assert sorted(taken.tolist()) == sorted(new.values())
            known |= new
            assert len(set(known.values())) == len(known)
            assert entries.keys_at(found).tolist() == keys.tolist()
            assert entries.panes_at(found).tolist() == panes.tolist()
        assert self.slots[0].keys() == self.slots[1].keys()

    def close(self, pane):
        for pool, entries, known in zip(self.pools, self.tables, self.slots, strict=True):
            gone = [known.pop(pair) for pair in list(known) if pair[0] == pane]
            entries.forget(np.array(gone, np.int64))
            pool.give_back(np.array(gone, np.int64))

    def pack(self):
        for pool, entries, known in zip(self.pools, self.tables, self.slots, strict=True):
            pool.packed(len(known))
            entries.pack(np.array(list(known.values()), np.int64))
            known.update(zip(list(known), range(len(known)), strict=True))

    def finds_alike(self):
        """Every key where it was put, in both tables, and one that was never put nowhere."""
        alike = True
        for entries, known in zip(self.tables, self.slots, strict=True):
            for pane in {pane for pane, _ in known} | {30_000}:
                keys = np.array([*(key for other, key in known if other == pane), 123_456], np.int64)
                expected = [*(slot for (other, _), slot in known.items() if other == pane), -1]
                alike = alike and entries.find(pane, keys).tolist() == expected
        return alike


@given(st.lists(PAIRS | st.just("close") | st.just("pack"), max_size=12))
def test_whatever_comes_and_goes(steps):
    both = Both()
    for step in steps:
        if step == "pack":
            both.pack()
        elif step == "close":
            both.close(min((pane for pane, _ in both.slots[0]), default=0))
        else:
            both.enter(*arrays(step))
        assert both.finds_alike()


@pytest.mark.parametrize("size", [1, 7, 500, 5_000])
def test_tables_grow(size):
    """Up to 20,000 entries in batches: past the small table of eight bytes a place, and past every first guess."""
    both, chance = Both(), np.random.default_rng(size)
    for start in range(0, 20_000 if size > 100 else 60 * size, size):
        pane = start // 10_000 * 10_000
        both.enter(np.full(size, pane, np.int64), chance.integers(0, 30_000, size))
    both.close(0)
    both.enter(np.full(size, 50_000, np.int64), np.arange(size) * 2**40)
    assert both.finds_alike()


def test_arrays_of_every_other():
    panes, keys = np.broadcast_to(np.int64(10_000), 10), np.arange(20)[::2]
    found, taken = IntEntries(SlotPool()).slots(panes, keys)
    assert sorted(found.tolist()) == sorted(taken.tolist()) == list(range(10))


def test_arrays_that_do_not_fit_are_refused():
    def entered(**changes):
        given = {
            "panes": np.zeros(2, np.int64), "keys": np.zeros(2, np.int64), "found": np.zeros(2, np.int64),
            "table": np.full(8, -1), "slot_panes": np.zeros(4, np.int64), "slot_keys": np.zeros(4, np.int64),
            "free": np.arange(4), "shift": 61, "start": 0,
        }  # fmt: skip
        return NATIVE.enter(*(given | changes).values())

    assert entered() == (2, 1)
    assert entered(table=np.full(8, -1, np.int32)) == (2, 1)
    assert entered(free=np.arange(0)) == (0, 0)
    for wrong in (
        {"panes": np.zeros(1, np.int64)}, {"found": np.zeros(3, np.int64)}, {"table": np.full(4, -1, np.int16)},
        {"slot_panes": np.zeros(3, np.int64)}, {"free": np.arange(5)}, {"free": np.array([4])}, {"free": np.array([-1])},
        {"shift": 0}, {"shift": 62}, {"shift": 64}, {"start": -1}, {"table": np.full(8, 4)}, {"table": np.full(8, 4, np.int32)},
        *({"shift": shift, "table": np.zeros(0, dtype)} for shift in (1, 2, 3) for dtype in (np.int64, np.int32)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="do not fit"):
            entered(**wrong)
