"""All mutants, by rule."""

from __future__ import annotations

from tests.sim.mutants import mutant, ownership, state, time, transactions

MODULES = (transactions, ownership, state, time)  # importing them registers theirs
MUTANTS = sorted(mutant.MUTANTS, key=lambda one: int(one.rule.removeprefix("R")))
