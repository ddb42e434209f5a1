"""`python -m tests.conformance.run`: the conformance suite on the embedded cluster and on a real Kafka, case by case.

A case is one test with its parameters, run on both. It counts as equal if it passes on both; what is known to differ is in the
case itself (`World.differs`), with the reason, so it is explained. Anything else is a difference: a side that fails, or that
did not run. The last line says how many there were; the exit code is 0 only if there was none.

The real side mostly waits for time-outs, so it is shared out to several processes that run beside the embedded one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

SIDES = ("memory", "real")
REAL_PARTS = 3


@dataclass(slots=True)
class Case:
    """The two runs of one test. An outcome is "passed", or what went wrong."""

    outcomes: dict[str, str] = field(default_factory=dict)
    explained: list[str] = field(default_factory=list)

    @property
    def difference(self) -> str | None:
        wrong = [f"{side}: {self.outcomes.get(side, 'did not run')}" for side in SIDES if self.outcomes.get(side) != "passed"]
        return ", ".join(wrong) or None

    def add(self, other: Case) -> None:
        self.outcomes |= other.outcomes
        self.explained = sorted({*self.explained, *other.explained})


class Part:
    """A pytest plugin that runs part 0, the embedded side, or one of the parts of the real side, and keeps its outcomes."""

    def __init__(self, number: int) -> None:
        self.cases: dict[str, Case] = {}
        self._number = number
        self._side_of: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        chosen = []
        for item in items:
            parameters = getattr(item, "callspec", None)
            side = parameters.params.get("world") if parameters is not None else None
            if parameters is None or side not in SIDES:
                continue
            others = [part for part in parameters.id.split("-") if part != side]
            name = f"{item.nodeid.partition('[')[0]}[{'-'.join(others)}]"
            self.cases.setdefault(name, Case())
            if self._number == (0 if side == "memory" else 1 + list(self.cases).index(name) % REAL_PARTS):
                self._side_of[item.nodeid] = (name, side)
                chosen.append(item)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid not in self._side_of:
            return
        name, side = self._side_of[report.nodeid]
        case = self.cases[name]
        if report.when == "call" or report.outcome != "passed":
            case.outcomes[side] = report.outcome if report.outcome == "passed" else f"{report.outcome} in {report.when}"
        case.explained += [str(why) for key, why in report.user_properties if key == "difference" and report.when == "teardown"]


def run_part(number: int, results: Path, arguments: list[str]) -> int:
    part = Part(number)
    code = pytest.main(["-q", str(Path(__file__).parent), *arguments], plugins=[part])
    results.write_text(json.dumps({name: asdict(case) for name, case in part.cases.items()}))
    return int(code)


def run_all(arguments: list[str], directory: Path) -> tuple[dict[str, Case], bool]:
    """The cases of all parts, and whether each part ended well. Says what a part that did not had to say."""
    running = []
    for number in range(1 + REAL_PARTS):
        results, said = directory / f"{number}.json", (directory / f"{number}.txt").open("w+")
        command = [sys.executable, "-m", "tests.conformance.run", "--part", str(number), str(results), *arguments]
        running.append((subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT), results, said))
    cases: dict[str, Case] = {}
    well = True
    for process, results, said in running:
        code = process.wait()
        if code != 0:
            well = False
            said.seek(0)
            print(said.read())
        said.close()
        for name, found in json.loads(results.read_text()).items() if results.exists() else ():
            cases.setdefault(name, Case()).add(Case(**found))
    return cases, well


def main() -> int:
    if sys.argv[1:2] == ["--part"]:
        return run_part(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    from tests.support.broker import NoBrokerError, find_broker  # not in a part, whose imports are pytest's to rewrite

    started = time.monotonic()
    try:
        broker = find_broker(lambda line: print(f"kafka: {line}", flush=True))
    except NoBrokerError as error:
        print(error)
        print("conformance: 0 cases, there is no real Kafka to compare with")
        return 1
    os.environ["KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap
    try:
        with tempfile.TemporaryDirectory() as directory:
            cases, well = run_all(sys.argv[1:], Path(directory))
    finally:
        broker.stop()
    for name, case in cases.items():
        for why in case.explained:
            print(f"explained: {why} ({name})")
    differences = {name: case.difference for name, case in cases.items() if case.difference is not None}
    for name, difference in differences.items():
        print(f"different: {name}: {difference}")
    print(f"both sides of all cases took {time.monotonic() - started:.0f} s")
    print(f"conformance: {len(cases)} cases, {len(differences)} unexplained differences")
    return 0 if well and cases and not differences else 1


if __name__ == "__main__":
    sys.exit(main())
