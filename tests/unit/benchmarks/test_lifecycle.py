"""What the benchmark of a service's life reads out of the log of a worker."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import cast

from benchmarks.lifecycle import at_work
from benchmarks.service import Service


def told(*events: tuple[str, dict[str, list[str]]]) -> Service:
    lines = [json.dumps({"event": event, **fields}) + "\n" for event, fields in events]
    return cast("Service", SimpleNamespace(lines=["no JSON, of a library\n", *lines]))


ALL = ("running", {"tasks": ["bids-of-eu/0", "bids-of-eu/1", "bids-of-eu/2"]})
REVOKED = ("revoked", {"partitions": ["bids-of-eu-0", "bids-of-eu-1", "bids-of-eu-2"]})


def test_tasks_that_were_revoked_run_no_longer() -> None:
    assert len(at_work(told(ALL))) == 3
    assert at_work(told(ALL, REVOKED)) == set()
    assert at_work(told(ALL, ("lost", {"partitions": ["bids-of-eu-1"]}))) == {("bids-of-eu", "0"), ("bids-of-eu", "2")}


def test_those_that_came_back_from_memory_and_from_the_changelog_both_run() -> None:
    resumed, restored = ("resumed", {"tasks": ["bids-of-eu/0"]}), ("running", {"tasks": ["bids-of-eu/2"]})
    assert at_work(told(ALL, REVOKED, resumed, restored)) == {("bids-of-eu", "0"), ("bids-of-eu", "2")}


def test_an_assignment_alone_is_no_running_task() -> None:
    assert at_work(told(("assigned", {"partitions": ["bids-of-eu-0"], "tasks": ["bids-of-eu/0"]}))) == set()
