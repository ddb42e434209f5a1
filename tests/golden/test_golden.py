"""Golden cases: each file of cases/ is an input, a pipeline and its exact output; adding a case is adding a file.

about      what the case shows
pipeline   {"id": a name in pipelines.py, its options}
partitions of every source topic (1 unless given)
input      [topic, partition, record key, value] in the order of arrival
end        whether the input ends (true unless given)
columns    of "results" to compare
output     topic -> rows: of "results" these columns, of others the whole values; by window and key
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import streamkit as sk
from tests.golden.pipelines import PIPELINES
from tests.support.golden import CASES as CASES_DIR
from tests.support.golden import drawn, to_text

CASES = {path.stem: json.loads(path.read_text()) for path in sorted(CASES_DIR.glob("*.json"))}


class Run:
    """One run of a case, on a driver that processes nothing until it is told to."""

    def __init__(self, case: dict[str, Any], *, max_records: int = 2_000) -> None:
        options = dict(case["pipeline"])
        app = PIPELINES[options.pop("id")](**options)
        settings = sk.EngineSettings(control_interval_ms=0, max_records=max_records)
        self.driver = sk.TestDriver(app, partitions=case.get("partitions", 1), settings=settings)
        self.case = case

    def append(self, record: list[Any]) -> None:
        topic, partition, key, value = record
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.driver.send_raw(topic, data, key=None if key is None else key.encode(), partition=partition, settle=False)

    def end(self) -> dict[str, list[Any]]:
        self.driver.settle()
        if self.case.get("end", True):
            self.driver.end_of_input()
        return {topic: self.rows(topic) for topic in self.case["output"]}

    def rows(self, topic: str) -> list[Any]:
        values = [json.loads(record.value or b"") for record in self.driver.cluster.read(topic)]
        if topic == "results":
            values = [[value[column] for column in self.case["columns"]] for value in values]
        return sorted(values, key=by_window)


def by_window(row: Any) -> str:
    """The order of rows in a case: by their bounds, then by all the rest."""
    values = row if isinstance(row, list) else list(row.values())
    bounds = [value for value in values if isinstance(value, str) and "T" in value]
    return json.dumps([bounds, values])


def straight(case: dict[str, Any]) -> dict[str, list[Any]]:
    run = Run(case)
    for record in case["input"]:
        run.append(record)
    return run.end()


def one_by_one(case: dict[str, Any]) -> dict[str, list[Any]]:
    run = Run(case, max_records=1)
    for record in case["input"]:
        run.append(record)
        run.driver.settle()
    return run.end()


def pairs(case: dict[str, Any]) -> dict[str, list[Any]]:
    run = Run(case, max_records=2)
    for record in case["input"]:
        run.append(record)
    return run.end()


def crashed_and_resumed(case: dict[str, Any]) -> dict[str, list[Any]]:
    """kill -9 behind every record: once with all committed, once with the record read and nothing committed."""
    run = Run(case)
    for record in case["input"]:
        run.append(record)
        run.driver.worker.step(0.0)
        run.driver.crash()
        run.driver.restart()
        run.driver.crash()
        run.driver.restart()
    return run.end()


def partition_after_partition(case: dict[str, Any]) -> dict[str, list[Any]]:
    """Another interleaving: the last partition is read to its end before the others come."""
    run = Run(case)
    for record in sorted(case["input"], key=lambda record: -record[1]):
        run.append(record)
        run.driver.settle()
    return run.end()


WAYS: tuple[Callable[[dict[str, Any]], dict[str, list[Any]]], ...] = (
    straight, one_by_one, pairs, crashed_and_resumed, partition_after_partition,
)  # fmt: skip


def expected(case: dict[str, Any]) -> dict[str, list[Any]]:
    return {topic: sorted(rows, key=by_window) for topic, rows in case["output"].items()}


def test_there_are_cases() -> None:
    assert len(CASES) >= 80


def test_drawn_cases_are_what_the_reference_gives_today() -> None:
    for name, content in drawn():
        assert (CASES_DIR / f"{name}.json").read_text() == to_text(content), f"{name}: run python -m tests.support.golden"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, way: Callable[[dict[str, Any]], dict[str, list[Any]]]) -> None:
    case = CASES[name]
    assert way(case) == expected(case), case["about"]
