"""The engine under drawn faults, and the simulator itself: the same seed is the same run, and what is broken is found."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streamkit.errors import ConfigError
from streamkit.testing.checker import Kind
from streamkit.testing.sim.campaign import Report, campaign, load, run, save, shrink
from streamkit.testing.sim.faults import KINDS, Bounds, Fault, draw_faults
from streamkit.testing.sim.world import Plan, draw_plan, draw_settings, stream
from tests.sim.scenarios import ALL, DAMAGED, SCENARIOS, TURNS
from tests.support.examples import everything, seeds

ROOT = Path(__file__).resolve().parents[2]
SEEDS = sorted((ROOT / "tests" / "sim" / "seeds").glob("*.json"))
SLICES = 8
RUNS = seeds(30)  # of a slice

DIGESTS = """
from streamkit.testing.sim.campaign import run
from streamkit.testing.sim.world import draw_plan
from tests.sim.scenarios import SCENARIOS
for seed, name in enumerate(sorted(SCENARIOS), 40):
    print(run(SCENARIOS[name], draw_plan(SCENARIOS[name], seed, faults=4)).trace.digest())
"""


@pytest.mark.parametrize("part", range(SLICES))
def test_no_invariant_breaks_under_drawn_faults(part):
    report = campaign(ALL, RUNS, 100_000 + part * RUNS, turns=TURNS)
    assert not report.failures, told(report)


def told(report: Report) -> str:
    outcome = report.failures[0]
    faults = "\n".join(map(str, outcome.plan.faults))
    return f"seed {outcome.plan.seed} of '{outcome.plan.scenario}'\n{faults}\n{outcome.verdict}\n{outcome.trace.text(last=60)}"


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_once_failed_holds_now(path):
    pinned = load(path)
    outcome = run(ALL[pinned.plan.scenario], pinned.plan)
    assert outcome.ok, f"{pinned.title}\n{outcome.verdict}\n{outcome.trace.text(last=60)}"


def test_the_same_seed_is_the_same_run_however_python_hashes():
    found = [digests(hash_seed) for hash_seed in ("0", "4711")]
    assert len(found[0]) == len(SCENARIOS)
    assert len(set(found[0])) == len(SCENARIOS), "different scenarios, the same trace: nothing is hashed"
    assert found[0] == found[1]


def digests(hash_seed: str) -> tuple[str, ...]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", DIGESTS], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return tuple(done.stdout.split())


def test_another_seed_is_another_run():
    scenario = SCENARIOS["stateless"]
    assert len({run(scenario, draw_plan(scenario, seed)).trace.digest() for seed in range(3)}) == 3


def test_every_kind_of_fault_is_drawn_within_its_bounds():
    bounds = Bounds(2, 5.0, draw_settings(1))
    drawn = draw_faults(stream(1, "test"), 2_000, bounds)
    assert {fault.kind for fault in drawn} == set(KINDS)
    assert all(0.0 <= fault.at <= 5.0 and fault.worker < 2 for fault in drawn)
    assert all(fault.seconds > 3.0 for fault in drawn if fault.kind == "stop-past-session")
    assert list(drawn) == sorted(drawn, key=lambda fault: fault.at)


@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_what_nothing_can_repair_ends_in_a_named_error_and_silence(name):
    outcome = run(ALL[name], draw_plan(ALL[name], 3))
    assert outcome.ok, f"{outcome.verdict}\n{outcome.trace.text(requests=False)}"
    assert outcome.verdict.looked_at["I9"] >= 1
    assert outcome.errors


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_fault_strikes_and_is_borne(kind):
    report = Report()
    scenario = SCENARIOS["repartitioned"]
    for seed in range(3):
        report.add(run(scenario, draw_plan(scenario, seed, faults=3, kinds=[kind])))
        if report.coverage[f"fault:{kind}"] and not everything():
            break
    assert report.coverage[f"fault:{kind}"] > 0
    assert not report.failures, told(report)


class Doubling(type(SCENARIOS["stateless"])):
    """A reference that is wrong: it misses one result."""

    def reference(self, world):
        return super().reference(world)[1:]


def test_a_difference_is_found_and_shrunk_to_what_it_takes(tmp_path):
    scenario = Doubling()
    plan = draw_plan(scenario, 7, faults=3)
    outcome = run(scenario, plan)
    assert [violation.kind for violation in outcome.verdict.violations] == [Kind.WRONG]
    smallest = shrink(scenario, plan, budget=60)
    assert smallest.plan.faults == ()
    assert len(smallest.plan.left_out) > 0
    save(tmp_path / "a.json", "a title", smallest.plan)
    assert load(tmp_path / "a.json").plan == smallest.plan
    assert run(scenario, load(tmp_path / "a.json").plan).trace.digest() == smallest.trace.digest()


def test_a_file_that_is_no_pinned_run_is_named(tmp_path):
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"b\.json"):
        load(tmp_path / "b.json")


def test_a_run_that_does_not_come_to_rest_is_a_finding():
    scenario = SCENARIOS["stateless"]
    plan = replace(draw_plan(scenario, 1, faults=0), faults=(Fault("stop", 1.0, 0, seconds=1.0),))
    stuck = Plan(plan.scenario, plan.seed, 0)  # nobody works
    outcome = run(scenario, stuck)
    assert "I7" in outcome.verdict.invariants
    assert run(scenario, plan).ok


def test_the_faults_of_a_run_read_as_a_sentence():
    fault = Fault("kill-in-commit", 1.25, 1, "EndTxn", 2, 0, True, 0.5)
    assert str(fault) == "  1.250  kill-in-commit worker 1 after EndTxn (skips 2) for 0.500 s"
