"""Sliding and rolling windows under drawn faults."""

from __future__ import annotations

import pytest

from streamkit.testing.sim.campaign import campaign
from tests.sim.sliding_kinds import KINDS
from tests.sim.test_simulator import told
from tests.support.examples import seeds


@pytest.mark.parametrize("name", KINDS)
def test_no_invariant_breaks_under_drawn_faults(name: str) -> None:
    report = campaign(KINDS, seeds(20), 900_000, turns=(name,))
    assert not report.failures, told(report)
