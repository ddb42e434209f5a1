"""A mutant: a patch that breaks one rule, and where in the simulator it must show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from streamkit.testing.sim.campaign import run
from streamkit.testing.sim.faults import KINDS
from streamkit.testing.sim.world import Outcome, Plan, draw_plan
from tests.sim.scenarios import ALL

BUDGET = 150
"""Seeds within which every mutant is caught."""

Patch = tuple[Any, str, Any]
"""Where, which attribute, and what stands there instead."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """``scenarios`` and ``kinds`` say where the rule counts: drawing anything would catch it too, only later."""

    rule: str
    title: str
    patches: Callable[[], Sequence[Patch]]
    scenarios: tuple[str, ...]
    kinds: tuple[str, ...]
    faults: int = 3
    workers: int = 2
    request: str = ""  # where the faults strike, if it has to be there
    seconds: float = 0.0  # how long they last, if it has to be so long

    @property
    def name(self) -> str:
        return self.patches.__name__

    @contextmanager
    def applied(self) -> Iterator[None]:
        with ExitStack() as stack:
            for where, name, instead in self.patches():
                stack.enter_context(patch.object(where, name, instead))
            yield

    def plan(self, seed: int) -> Plan:
        scenario = ALL[self.scenarios[seed % len(self.scenarios)]]
        plan = draw_plan(scenario, seed, faults=self.faults, kinds=self.kinds or tuple(KINDS))
        if self.request:
            there = (replace(fault, request=self.request, skip=0, then=0, worker=-1) for fault in plan.faults)
            plan = replace(plan, faults=tuple(there))
        if self.seconds:
            plan = replace(plan, faults=tuple(replace(fault, seconds=self.seconds) for fault in plan.faults))
        return replace(plan, workers=self.workers)


MUTANTS: list[Mutant] = []


def mutant(
    rule: str,
    title: str,
    *,
    scenarios: Sequence[str],
    kinds: Sequence[str] = (),
    faults: int = 3,
    workers: int = 2,
    request: str = "",
    seconds: float = 0.0,
) -> Callable[[Callable[[], Sequence[Patch]]], Callable[[], Sequence[Patch]]]:
    """Registers the function that gives the patches."""

    def register(patches: Callable[[], Sequence[Patch]]) -> Callable[[], Sequence[Patch]]:
        MUTANTS.append(Mutant(rule, title, patches, tuple(scenarios), tuple(kinds), faults, workers, request, seconds))
        return patches

    return register


@dataclass(frozen=True, slots=True)
class Caught:
    mutant: Mutant
    seeds: int
    outcome: Outcome | None

    @property
    def by(self) -> str:
        return ", ".join(self.outcome.verdict.invariants) if self.outcome is not None else "not caught"


def hunt(mutated: Mutant, budget: int = BUDGET) -> Caught:
    """Runs seeds with the mutant until one of them finds something."""
    with mutated.applied():
        for seed in range(1, budget + 1):
            outcome = run(ALL[mutated.plan(seed).scenario], mutated.plan(seed))
            if not outcome.ok:
                return Caught(mutated, seed, outcome)
    return Caught(mutated, budget, None)
