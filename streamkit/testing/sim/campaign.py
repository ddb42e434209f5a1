"""Many runs: seeds one after the other, what they covered, and a failing run made as small as it goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from streamkit.errors import ConfigError
from streamkit.testing.sim.damage import run_damaged
from streamkit.testing.sim.faults import KINDS, TRANSACTION
from streamkit.testing.sim.scenario import Scenario
from streamkit.testing.sim.world import Outcome, Plan, World, draw_plan, stream

BRANCHES: Final = (
    "abort-failed", "commit", "from-earliest", "lost", "parked", "parked-dropped", "partition-idle", "producer-disturbed",
    "producer-replaced", "restored", "resumed", "revoked", "rolled-back", "running",
)  # fmt: skip
"""What the engine tells where it has decided something: each of its ways is gone."""

MUST_COVER: Final = (
    *(f"fault:{kind}" for kind in KINDS),
    *(f"kill:{when} {request}" for request in TRANSACTION for when in ("before", "after")),
    *(f"event:{name}" for name in BRANCHES),
)
"""What a campaign of `JUDGED_FROM` runs and more must have hit at least once."""

JUDGED_FROM: Final = 300


@dataclass(slots=True)
class Report:
    """What came of a campaign. ``seconds`` of one core."""

    runs: int = 0
    seconds: float = 0.0
    failures: list[Outcome] = field(default_factory=list)
    coverage: Counter[str] = field(default_factory=Counter)
    looked_at: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    records: int = 0
    longest_settling_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.coverage += outcome.trace.coverage
        self.looked_at += outcome.verdict.looked_at
        self.commits += outcome.commits
        self.records += outcome.records
        self.longest_settling_s = max(self.longest_settling_s, outcome.settled_after_s)
        if not outcome.ok:
            self.failures.append(outcome)

    def faults(self) -> dict[str, int]:
        """Those that struck, by kind."""
        found = {name.removeprefix("fault:"): count for name, count in self.coverage.items() if name.startswith("fault:")}
        return dict(sorted(found.items()))

    def not_covered(self, must: Iterable[str] = MUST_COVER) -> list[str]:
        return [name for name in must if not self.coverage[name]]

    @property
    def runs_per_s(self) -> float:
        return self.runs / self.seconds if self.seconds else 0.0


def run(scenario: Scenario, plan: Plan) -> Outcome:
    world = World(scenario, plan)
    damage = getattr(scenario, "damage", None)
    with scenario.around():
        return world.run() if damage is None else run_damaged(world, damage)


def campaign(
    scenarios: Mapping[str, Scenario],
    runs: int,
    seed: int,
    *,
    turns: Sequence[str] = (),
    stop_after: int = 1,
) -> Report:
    """Runs with seeds from `seed` on, the scenarios in turn (or as ``turns`` says); ends early after so many failures."""
    report = Report()
    names = turns or sorted(scenarios)
    begun = time.process_time()
    for number in range(seed, seed + runs):
        scenario = scenarios[names[number % len(names)]]
        outcome = run(scenario, draw_plan(scenario, number))
        report.add(outcome)
        if len(report.failures) >= stop_after:
            break
    report.seconds = time.process_time() - begun
    return report


def shrink(
    scenario: Scenario,
    plan: Plan,
    *,
    budget: int = 200,
    broken: Sequence[str] = (),
    runs: Callable[[Plan], Outcome] | None = None,
) -> Outcome:
    """The smallest run found that still breaks one of the invariants that were ``broken``: fewer faults, then fewer records."""
    go = runs or partial(run, scenario)
    best = go(plan)
    wanted = set(broken) or set(best.verdict.invariants)
    left = budget

    def still_fails(smaller: Plan) -> bool:
        nonlocal best, left
        left -= 1
        outcome = go(smaller)
        if not wanted & set(outcome.verdict.invariants):
            return False
        best = outcome
        return True

    smaller = True
    while smaller and left > 0:
        smaller = False
        for index in reversed(range(len(best.plan.faults))):
            faults = best.plan.faults
            if left > 0 and still_fails(replace(best.plan, faults=faults[:index] + faults[index + 1 :])):
                smaller = True
    numbers = sorted(one.number for one in scenario.inputs(stream(plan.seed, "input")) if not one.stays)
    size = max(len(numbers) // 2, 1)
    while left > 0:
        kept = [number for number in numbers if number not in best.plan.left_out]
        for start in range(0, len(kept), size):
            if left <= 0:
                break
            still_fails(replace(best.plan, left_out=tuple(sorted({*best.plan.left_out, *kept[start : start + size]}))))
        if size == 1:
            break
        size = max(size // 2, 1)
    return best


# ---- pinned runs


class Pinned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run that is kept: what it once found, and the plan."""

    title: str
    plan: Plan


def save(path: Path, title: str, plan: Plan) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(Pinned(title, plan)), indent=1) + b"\n")


def load(path: Path) -> Pinned:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pinned)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"'{path}' is not a pinned run: {error}") from error
