"""`make mutants`: each mutant, caught after how many seeds, by which invariant."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.sim.mutants.catalogue import MUTANTS
from tests.sim.mutants.mutant import BUDGET, hunt


def main() -> int:
    """Exit code 0 if all are caught."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--budget", type=int, default=BUDGET, help="seeds for each")
    parser.add_argument("--only", default="", help="mutants with this in their rule or name")
    arguments = parser.parse_args()
    logging.getLogger("streamkit").addHandler(logging.NullHandler())
    chosen = [one for one in MUTANTS if arguments.only in (one.rule, "") or arguments.only in one.name]
    caught = 0
    print(f"{'rule':<5} {'seeds':>5}  {'by':<16} mutant")
    for one in chosen:
        found = hunt(one, arguments.budget)
        caught += found.outcome is not None
        print(f"{one.rule:<5} {found.seeds:>5}  {found.by:<16} {one.title}", flush=True)
    print(f"mutants: {caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
