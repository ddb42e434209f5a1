"""`make sim`: many seeds of all scenarios, or one pinned run again."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from streamkit.testing.sim.campaign import JUDGED_FROM, Report, campaign, load, run, save, shrink
from streamkit.testing.sim.world import Outcome
from tests.sim.scenarios import ALL, TURNS

SEEDS = Path(__file__).parent / "seeds"


def main() -> int:
    """Exit code 0 if nothing was found and all kinds of faults struck."""
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", choices=sorted(ALL), help="only this one")
    parser.add_argument("--replay", type=Path, help="a pinned run, with its trace")
    parser.add_argument("--coverage", action="store_true", help="print all that was counted")
    arguments = parser.parse_args()
    logging.getLogger("streamkit").addHandler(logging.NullHandler())  # skipped records are in the trace
    if arguments.replay is not None:
        return replay(arguments.replay)
    scenarios = {arguments.scenario: ALL[arguments.scenario]} if arguments.scenario else ALL
    report = campaign(scenarios, arguments.runs, arguments.seed, turns=() if arguments.scenario else TURNS)
    tell(report, coverage=arguments.coverage)
    for outcome in report.failures:
        pin(outcome)
    missing = report.not_covered() if report.runs >= JUDGED_FROM and not arguments.scenario else []
    if missing:
        print(f"never hit: {', '.join(missing)}")
    print(f"sim: {report.runs} runs, {len(report.failures)} violations, {report.runs_per_s:.0f} runs/s")
    return 1 if report.failures or missing else 0


def replay(path: Path) -> int:
    pinned = load(path)
    outcome = run(ALL[pinned.plan.scenario], pinned.plan)
    print(pinned.title)
    tell_story(outcome)
    print(f"sim: 1 runs, {0 if outcome.ok else 1} violations")
    return 0 if outcome.ok else 1


def tell(report: Report, *, coverage: bool) -> None:
    print(f"{report.records} records, {report.commits} commits, settled {report.longest_settling_s:.1f} s after the last fault")
    print("looked at: " + ", ".join(f"{name} {count}" for name, count in sorted(report.looked_at.items())))
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in report.faults().items()))
    if coverage:
        for name, count in sorted(report.coverage.items()):
            print(f"  {count:7} {name}")


def pin(outcome: Outcome) -> None:
    """A smaller run that fails in the same way, kept and told."""
    scenario = ALL[outcome.plan.scenario]
    smallest = shrink(scenario, outcome.plan)
    path = SEEDS / f"{outcome.plan.scenario}-{outcome.plan.seed}.json"
    title = str(smallest.verdict.violations[0]) if smallest.verdict.violations else "not found again"
    save(path, title, smallest.plan)
    tell_story(smallest)
    print(f"seed {outcome.plan.seed} of '{outcome.plan.scenario}' was shrunk to {len(smallest.plan.faults)} faults; replay:")
    print(f"  python -m tests.sim --replay {path}")


def tell_story(outcome: Outcome) -> None:
    for fault in outcome.plan.faults:
        print(f"fault {fault}")
    print(outcome.trace.text())
    print(outcome.verdict)


if __name__ == "__main__":
    sys.exit(main())
