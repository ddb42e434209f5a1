"""Every rule has a mutant, every mutant is caught by the simulator, and the same runs find nothing without it."""

from __future__ import annotations

import pytest

from streamkit.testing.sim.campaign import run
from tests.sim.mutants.catalogue import MUTANTS
from tests.sim.mutants.mutant import hunt
from tests.sim.scenarios import ALL

RULES = [*range(1, 15), 17, 18, 19, 21, 25, 26, 27, 29, 30, 31]
"""All that guard something and are not for what there is not yet; R20 and R22 to R24 are configuration and reporting."""


def test_every_rule_has_a_mutant():
    assert sorted({int(one.rule.removeprefix("R")) for one in MUTANTS}) == RULES


def test_names_are_unique():
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutated", MUTANTS, ids=lambda one: f"{one.rule}-{one.name}")
def test_the_mutant_is_caught_and_the_engine_is_not(mutated):
    caught = hunt(mutated)
    assert caught.outcome is not None, f"{mutated.rule}: {mutated.title}: not caught within {caught.seeds} seeds"
    sound = run(ALL[caught.outcome.plan.scenario], caught.outcome.plan)
    assert sound.ok, f"the engine itself fails in the run that caught '{mutated.title}':\n{sound.verdict}"
