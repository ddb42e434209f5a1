"""What waits is taken out exactly when its instant has come, in whatever order it was put in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamkit.state.waiting import Waiting

moves = st.lists(st.tuples(st.lists(st.integers(-50, 50), max_size=6), st.integers(-60, 60)), max_size=12)


@given(moves=moves, width=st.integers(1, 20))
def test_slots_are_taken_with_their_instant(moves: list[tuple[list[int], int]], width: int) -> None:
    waiting = Waiting(width)
    left: dict[int, int] = {}
    number = 0
    for instants, through in moves:
        slots = list(range(number, number + len(instants)))
        number += len(instants)
        left |= dict(zip(slots, instants, strict=True))
        waiting.put(np.array(slots, np.int64), np.array(instants, np.int64))
        assert waiting.first == min(left.values(), default=None)
        due = sorted(slot for slot, instant in left.items() if instant <= through)
        assert sorted(waiting.take(through).tolist()) == due
        left = {slot: instant for slot, instant in left.items() if slot not in due}
        assert waiting.first == min(left.values(), default=None)
