"""`python -m tests.conformance.run`: the conformance suite on the embedded cluster and on a real Kafka, case by case.

A case is one test with its parameters, run on both. It counts as equal if it passes on both; what is known to differ is in the
case itself (`World.differs`), with the reason, so it is explained. Anything else is a difference: a side that fails, or that
did not run. The last line says how many there were; the exit code is 0 only if there was none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SIDES = ("memory", "real")


@dataclass(slots=True)
class Case:
    """The two runs of one test. An outcome is "passed", or what went wrong."""

    outcomes: dict[str, str] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)

    @property
    def difference(self) -> str | None:
        wrong = [f"{side}: {self.outcomes.get(side, 'did not run')}" for side in SIDES if self.outcomes.get(side) != "passed"]
        return ", ".join(wrong) or None


class Pairs:
    """A pytest plugin that brings the two runs of each case together."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self._side_of: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            parameters = getattr(item, "callspec", None)
            side = parameters.params.get("world") if parameters is not None else None
            if parameters is None or side not in SIDES:
                continue
            others = [part for part in parameters.id.split("-") if part != side]
            name = f"{item.nodeid.partition('[')[0]}[{'-'.join(others)}]"
            self._side_of[item.nodeid] = (name, side)
            self.cases.setdefault(name, Case())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid not in self._side_of:
            return
        name, side = self._side_of[report.nodeid]
        case = self.cases[name]
        if report.when == "call" or report.outcome != "passed":
            case.outcomes[side] = report.outcome if report.outcome == "passed" else f"{report.outcome} in {report.when}"
        case.explained.update(str(why) for key, why in report.user_properties if key == "difference")


def main() -> int:
    pairs = Pairs()
    code = pytest.main(["-q", str(Path(__file__).parent), *sys.argv[1:]], plugins=[pairs])
    explained = {why: name for name, case in pairs.cases.items() for why in sorted(case.explained)}
    for why, name in explained.items():
        print(f"explained: {why} ({name})")
    differences = {name: case.difference for name, case in pairs.cases.items() if case.difference is not None}
    for name, difference in differences.items():
        print(f"different: {name}: {difference}")
    print(f"conformance: {len(pairs.cases)} cases, {len(differences)} unexplained differences")
    return 1 if differences or code != pytest.ExitCode.OK or not pairs.cases else 0


if __name__ == "__main__":
    sys.exit(main())
