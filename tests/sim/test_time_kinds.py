"""Rules for watermarks, and partitions that wait for others, under drawn faults."""

from __future__ import annotations

import pytest

from streamkit.testing.sim.campaign import campaign, run
from streamkit.testing.sim.world import draw_plan
from tests.sim.test_simulator import told
from tests.sim.time_kinds import KINDS
from tests.support.examples import seeds


@pytest.mark.parametrize("name", KINDS)
def test_no_invariant_breaks_under_drawn_faults(name: str) -> None:
    report = campaign(KINDS, seeds(30), 800_000, turns=(name,))
    assert not report.failures, told(report)


def test_partitions_that_run_ahead_do_wait() -> None:
    scenario = KINDS["drifting"]
    texts = [run(scenario, draw_plan(scenario, seed)).trace.text() for seed in range(10)]
    assert sum("partition-held" in text for text in texts) >= 5
