"""What is walked to find how much memory state takes."""

from __future__ import annotations

import numpy as np
import pytest

from streamkit.operators import count_updates, session_updates, sliding_updates, updates
from streamkit.operators.updates import Telling
from streamkit.state.footprint import footprint
from streamkit.state.sliding_store import SlidingStore

MODULES = (updates, count_updates, session_updates, sliding_updates)


@pytest.mark.parametrize("kind", Telling.__subclasses__(), ids=lambda kind: kind.__name__)
def test_what_an_update_remembers_counts(kind: type[Telling]) -> None:
    """Those of sliding windows were left out."""
    assert kind.__module__ in {module.__name__ for module in MODULES}
    remembers = object.__new__(kind)
    vars(remembers)["_changed"] = np.zeros(10_000)
    assert footprint(remembers) > 80_000


def test_entries_that_wait_to_be_told_count() -> None:
    told = sliding_updates.SlidingUpdates(SlidingStore([], 5, right=True), lambda *_: iter(()), every_ms=1000, per_record=False)
    before = footprint(told)
    told.changed(np.arange(1_000), np.ones(1_000, bool))
    assert footprint(told) - before >= 17_000
