"""The short form of `make chaos`: some kinds of faults, once each; nothing may be lost, doubled, wrong or stuck."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.chaos.run import Plan, report, run

SEED = int(os.environ.get("STREAMKIT_TEST_SEED", "4711"))
KINDS = (
    "worker killed",
    "worker stopped: zombie",
    "EndTxn stray",
    "group coordinator lost in send_offsets",
    "broker killed",
)


@pytest.mark.broker
@pytest.mark.timeout(600)
def test_a_service_bears_what_may_happen_to_it() -> None:
    directory = Path(tempfile.mkdtemp(prefix="streamkit-chaos-"))
    outcome = run(Plan(minutes=6, seed=SEED, kinds=KINDS, most=len(KINDS)), print, directory)
    print(report(outcome, directory))
    assert outcome.ok, report(outcome, directory)
    assert {fault.kind for fault in outcome.faults} == set(KINDS)
    assert outcome.verdict.looked_at["I1"] > 2 * outcome.events  # every event came through, and was compared
    shutil.rmtree(directory)
