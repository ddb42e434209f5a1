"""What `make conformance` counts: a case that passed on one side only, or did not run there, is a difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import run
from tests.conformance.run import Case, Part


def test_a_case_that_passed_on_both_sides_is_no_difference():
    assert Case({"memory": "passed", "real": "passed"}).difference is None


@pytest.mark.parametrize(
    "outcomes, difference",
    [
        ({}, "memory: did not run, real: did not run"),
        ({"memory": "passed"}, "real: did not run"),
        ({"memory": "failed in call", "real": "passed"}, "memory: failed in call"),
        ({"memory": "passed", "real": "skipped in setup"}, "real: skipped in setup"),
        ({"memory": "failed in call", "real": "failed in call"}, "memory: failed in call, real: failed in call"),
    ],
)
def test_whatever_else_happened_is_one(outcomes, difference):
    assert Case(outcomes).difference == difference


def test_parts_are_put_together():
    case = Case({"memory": "passed"}, ["b"])
    case.add(Case({"real": "passed"}, ["a", "b"]))
    assert (case.outcomes, case.explained) == ({"memory": "passed", "real": "passed"}, ["a", "b"])


class Item:
    def __init__(self, name: str, side: str) -> None:
        self.nodeid = f"{name}[x-{side}]"
        self.callspec = type("Spec", (), {"params": {"world": side}, "id": f"x-{side}"})


class Config:
    hook = type("Hook", (), {"pytest_deselected": staticmethod(lambda **_: None)})


def test_every_run_of_every_case_is_in_one_part():
    everything = [Item(f"test_{i}", side) for i in range(7) for side in ("memory", "real")]
    chosen = []
    for number in range(1 + run.REAL_PARTS):
        items = list(everything)
        part = Part(number)
        part.pytest_collection_modifyitems(Config, items)
        assert len(part.cases) == 7
        chosen += items
    assert sorted(item.nodeid for item in chosen) == sorted(item.nodeid for item in everything)


@pytest.mark.parametrize("side, code", [("real", 0), ("nobody's", 1)])
def test_the_exit_code_says_whether_all_is_equal(monkeypatch, capsys, side: str, code: int):
    class FakeBroker:
        bootstrap = "nowhere:1"

        def stop(self) -> None: ...

    class Finished:
        """A part that has written what it found."""

        def __init__(self, command: list[str], **_) -> None:
            found = {"memory": "passed"} if command[4] == "0" else {side: "passed"}
            Path(command[5]).write_text(json.dumps({"case": {"outcomes": found, "explained": []}}))

        def wait(self) -> int:
            return 0

    monkeypatch.setattr("tests.support.broker.find_broker", lambda _: FakeBroker())
    monkeypatch.setattr(run.subprocess, "Popen", Finished)
    monkeypatch.setattr(run.sys, "argv", ["run"])
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    assert run.main() == code
    assert capsys.readouterr().out.splitlines()[-1] == f"conformance: 1 cases, {code} unexplained differences"
