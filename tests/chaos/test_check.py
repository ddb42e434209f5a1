"""What the checker of the chaos runs finds: nothing in what the reference gives, and every single thing that is put wrong."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

import pytest

from tests.chaos import check, topics
from tests.chaos.load import LoadError, events
from tests.chaos.run import Injected, Outcome, Plan
from tests.chaos.standstill import Standstill
from tests.support.workload import payload

PARTITIONS = 3
REFERENCE = check.Reference("r", list(itertools.islice(events(1, PARTITIONS), 4_000)), PARTITIONS)


def entry(topic: str, number: int, value: object) -> topics.Entry:
    return topics.Entry(topic, 0, number, None, value if isinstance(value, bytes) else json.dumps(value).encode())


def window(key: str, start: int, row: tuple[int, int, int]) -> dict[str, object]:
    at = datetime.fromtimestamp(start / 1000, UTC).isoformat()
    return {"key": key, "window_start": at, "n": row[0], "total": row[1], "high": row[2]}


@pytest.fixture
def there() -> dict[str, list[topics.Entry]]:
    """The outputs as a run without faults leaves them; tests change them."""
    passed = [entry("passed-r", n, payload(e)) for n, e in enumerate(REFERENCE.events)]
    late = {one.identity[1:] for one in REFERENCE.late()}
    rows = sorted(REFERENCE.rows.items(), key=lambda item: item[0][1])
    return {
        "passed-r": passed,
        "late-r": [entry("late-r", n, payload(e)) for n, e in enumerate(REFERENCE.events) if (e.partition, e.number) in late],
        "own-r": [entry("own-r", n, window(*at, row)) for n, (at, row) in enumerate(rows)],
        "totals-r": [entry("totals-r", n, window(*at, row)) for n, (at, row) in enumerate(rows)],
    }


def test_the_reference_itself_is_right(there):
    verdict = check.outputs(there.__getitem__, REFERENCE)
    assert verdict.ok, str(verdict)
    assert len(there["late-r"]) > 20
    assert len(there["own-r"]) > 150


@pytest.mark.parametrize("topic", ["passed-r", "late-r", "own-r", "totals-r"])
def test_a_record_that_is_missing_is_lost(there, topic):
    del there[topic][5]
    assert (check.outputs(there.__getitem__, REFERENCE).lost, check.outputs(there.__getitem__, REFERENCE).duplicated) == (1, 0)


@pytest.mark.parametrize("topic", ["passed-r", "late-r", "own-r", "totals-r"])
def test_a_record_that_is_there_twice_is_duplicated(there, topic):
    there[topic].append(there[topic][5])
    verdict = check.outputs(there.__getitem__, REFERENCE)
    assert verdict.lost == 0
    assert verdict.duplicated >= 1


def test_a_result_that_differs_is_wrong(there):
    value = json.loads(there["totals-r"][7].value)
    there["totals-r"][7] = entry("totals-r", 7, value | {"total": value["total"] + 1})
    assert not check.outputs(there.__getitem__, REFERENCE).ok


def test_events_of_a_key_that_change_places_are_out_of_order(there):
    one, other = [n for n, event in enumerate(REFERENCE.events) if event.key == "k7"][:2]
    passed = there["passed-r"]
    passed[one], passed[other] = passed[other], passed[one]
    assert not check.outputs(there.__getitem__, REFERENCE).ok


def test_an_input_that_is_not_where_its_number_says_proves_nothing():
    log = [topics.Entry("events-r", e.partition, e.number, None, payload(e)) for e in REFERENCE.events]
    log.sort(key=lambda one: (one.partition, one.offset))
    check.inputs(lambda _: log, REFERENCE)
    log.pop()
    with pytest.raises(LoadError):
        check.inputs(lambda _: log, REFERENCE)


def test_offsets_that_go_back_are_found():
    taken = [topics.CommittedOffset("events-r", 0, offset) for offset in (3, 9, 7)]
    assert check.offsets(taken).invariants == ("I5",)


def test_the_last_line_and_the_table():
    faults = [Injected("broker killed", "...", 10, 12, 15), Injected("worker killed", "...", 20, 21, 24)]
    outcome = Outcome(Plan(5, 1), 300, 1000, faults, [Standstill(("events", 0), 9.5, 14.5), Standstill(("events", 1), 21, 23)])
    assert outcome.last_line() == "chaos: 5 min, 2 faults of 2 kinds, 0 lost, 0 duplicated"
    assert outcome.ok
    assert outcome.longest_s == 5.0
    lines = outcome.table().splitlines()
    assert lines[1].split() == ["broker", "killed", "1", "5.0", "s", "3.0", "s"]
    assert lines[2].split() == ["worker", "killed", "1", "2.0", "s", "3.0", "s"]
    outcome.error = "StuckError: no progress"
    assert not outcome.ok
    assert outcome.last_line().endswith("0 lost, 0 duplicated: StuckError: no progress")


def test_a_seed_gives_the_same_faults_again():
    def first(seed: int) -> list[tuple[str, int]]:
        return list(itertools.islice(Plan(5, seed).faults(), 60))

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert {kind for kind, _ in first(1)} == set(Plan(5, 1).kinds)
