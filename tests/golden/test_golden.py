"""Golden cases: each file of cases/ is an input, a pipeline and its exact output; adding a case is adding a file.

about      what the case shows
pipeline   {"id": a name in pipelines.py, its options}
partitions of every source topic (1 unless given)
input      [topic, partition, record key, value] in the order of arrival
end        whether the input ends (true unless given)
columns    of "results" and "updates" to compare
tolerance  {column of "results": the relative error that its aggregator is allowed}
output     topic -> rows: of "results" and "updates" these columns, of others the whole values; by window and key. Of "updates"
           what is left of them: the last one of each key and window that was not withdrawn
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

import streamkit as sk
from tests.driver.rig import Rig
from tests.golden.pipelines import PIPELINES
from tests.support.examples import everything
from tests.support.golden import CASES as CASES_DIR
from tests.support.golden import drawn, to_text

CASES = {path.stem: json.loads(path.read_text()) for path in sorted(CASES_DIR.glob("*.json"))}
Output = dict[str, list[Any]]


def make_app(case: dict[str, Any], *, rows: bool = False) -> sk.App:
    options = dict(case["pipeline"])
    return PIPELINES[options.pop("id")](**options, rows=rows)


def on_the_wire(record: list[Any]) -> tuple[str, bytes, bytes | None, int]:
    topic, partition, key, value = record
    data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    return topic, data, None if key is None else key.encode(), partition


class Run:
    """One run of a case, on a driver that processes nothing until it is told to."""

    def __init__(self, case: dict[str, Any], *, max_records: int = 2_000, rows: bool = False) -> None:
        settings = sk.EngineSettings(control_interval_ms=0, max_records=max_records)
        self.driver = sk.TestDriver(make_app(case, rows=rows), partitions=case.get("partitions", 1), settings=settings)
        self.case = case

    def append(self, record: list[Any]) -> None:
        topic, data, key, partition = on_the_wire(record)
        self.driver.send_raw(topic, data, key=key, partition=partition, settle=False)

    def end(self) -> Output:
        self.driver.settle()
        if self.case.get("end", True):
            self.driver.end_of_input()
        return output(self.case, self.driver.cluster)


def output(case: dict[str, Any], cluster: Any) -> Output:
    """What is committed in the topics of the case, as the case has it."""
    return {topic: sorted(_rows(case, topic, cluster.read(topic)), key=by_window) for topic in case["output"]}


def _rows(case: dict[str, Any], topic: str, records: list[Any]) -> list[Any]:
    values = [json.loads(record.value or b"") for record in records]
    if topic == "updates":
        values = _left(case, records, values)
    if topic in ("results", "updates"):
        values = [[value[column] for column in case["columns"]] for value in values]
    return values


def _left(case: dict[str, Any], records: list[Any], values: list[Any]) -> list[Any]:
    """Of updates the last of each key and window, without those that were withdrawn; a session is known by its start."""
    bounds = ["window_start"] if case["pipeline"]["window"]["kind"] == "session" else ["window_start", "window_end"]
    left: dict[Any, Any] = {}
    for record, value in zip(records, values, strict=True):
        window = tuple(value.get(name) for name in ("key", *bounds))
        if dict(record.headers)["streamkit-result"] == b"withdrawn":
            del left[window]
        else:
            left[window] = value
    return list(left.values())


def by_window(row: Any) -> str:
    """The order of rows in a case: by their bounds, then by all the rest."""
    values = row if isinstance(row, list) else list(row.values())
    bounds = [value for value in values if isinstance(value, str) and "T" in value]
    return json.dumps([bounds, values])


# ---- the ways


def straight(case: dict[str, Any]) -> Output:
    """All at once, as a backlog."""
    run = Run(case)
    for record in case["input"]:
        run.append(record)
    return run.end()


def rows(case: dict[str, Any]) -> Output:
    """Through a Python function, so that windows are fed with rows, not with columns."""
    run = Run(case, rows=True)
    for record in case["input"]:
        run.append(record)
    return run.end()


def one_by_one(case: dict[str, Any]) -> Output:
    run = Run(case, max_records=1)
    for record in case["input"]:
        run.append(record)
        run.driver.settle()
    return run.end()


def interleaved(case: dict[str, Any]) -> Output:
    """The last partition is read to its end before the others come, two records at a time."""
    run = Run(case, max_records=2)
    before = None
    for record in sorted(case["input"], key=lambda record: -record[1]):
        if record[1] != before:
            run.driver.settle()
        before = record[1]
        run.append(record)
    return run.end()


def crashed_and_resumed(case: dict[str, Any]) -> Output:
    """kill -9 behind every third record: once with all committed, once with the records read and nothing committed."""
    run = Run(case)
    for number, record in enumerate(case["input"]):
        run.append(record)
        run.driver.worker.step(0.0)
        if number % 3 == 2:
            if number % 2:
                run.driver.settle()
            run.driver.crash()
            run.driver.restart()
    run.driver.crash()
    run.driver.restart()
    return run.end()


def rescaled(case: dict[str, Any]) -> Output:
    """One worker, then three, then two; they come and go with records on their way."""
    rig = rescaling(case)
    if case.get("end", True):
        rig.end_of_input()
    found = output(case, rig.cluster)
    for process in rig.processes.values():
        process.worker.close()
    return found


def rescaling(case: dict[str, Any]) -> Rig:
    """The workers that are left, with all records processed."""
    rig = Rig(make_app(case), case.get("partitions", 1))
    rig.join("one")
    records = case["input"]
    for number, record in enumerate(records):
        topic, data, key, partition = on_the_wire(record)
        rig.cluster.append(topic, data, key=key, partition=partition, timestamp=rig.clock.now_ms(), headers=None)
        if number == len(records) // 3:
            rig.join("two")
            rig.join("three")
        if number == 2 * len(records) // 3:
            rig.leave("one")
        if number % 2:
            for name in sorted(rig.processes):
                rig.step(name)
    rig.settle()
    return rig


WAYS: tuple[Callable[[dict[str, Any]], Output], ...] = (straight, rows, one_by_one, interleaved, crashed_and_resumed, rescaled)


def expected(case: dict[str, Any]) -> Output:
    return {topic: sorted(rows, key=by_window) for topic, rows in case["output"].items()}


def run(way: Callable[[dict[str, Any]], Output], case: dict[str, Any]) -> Output:
    """What a way gives; a value that is within the error that its column is allowed is written as the case has it."""
    found = way(case)
    for column, error in case.get("tolerance", {}).items():
        at = case["columns"].index(column)
        for row, wanted in zip(found["results"], expected(case)["results"], strict=False):
            if None not in (row[at], wanted[at]) and math.isclose(row[at], wanted[at], rel_tol=error):
                row[at] = wanted[at]
    return found


def test_there_are_cases() -> None:
    assert len(CASES) >= 150


def test_drawn_cases_are_what_the_reference_gives_today() -> None:
    for name, content in drawn():
        assert (CASES_DIR / f"{name}.json").read_text() == to_text(content), f"{name}: run python -m tests.support.golden"


def ways_of(number: int) -> tuple[Callable[[dict[str, Any]], Output], ...]:
    """All in a run of all tests; in one of the fast tests straight and two of the others, so that each of them has its cases."""
    first, *others = WAYS
    return WAYS if everything() else (first, *(others[(number + step) % len(others)] for step in (0, 2)))


@pytest.mark.parametrize("number,name", list(enumerate(CASES)), ids=CASES)
def test_case(number: int, name: str) -> None:
    case = CASES[name]
    for way in ways_of(number):
        assert run(way, case) == expected(case), f"{way.__name__}: {case['about']}"


def test_rescaling_moves_tasks_that_have_state() -> None:
    """Else that way would show nothing."""
    case = CASES["backlog"]
    rig = rescaling(case)
    restored = [event for event in rig.events.events if event[0] == "restored" and event[1]["rows"]]
    assert len(restored) >= 2
    assert sorted(rig.processes) == ["three", "two"]
