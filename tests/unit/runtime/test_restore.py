"""What a restore asks of the cluster before it reads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import RetriableError
from streamkit.instrument import Recorder
from streamkit.runtime.restore import Restore
from streamkit.runtime.task import TaskId


class SilentAdmin:
    """A cluster whose leader has just died: no answer within the time allowed."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def start_offsets(self, _, timeout: float):
        self.waited.append(timeout)
        raise RetriableError("no answer in time", code="_TIMED_OUT", call="list_offsets")

    end_offsets = start_offsets


def test_the_bounds_are_asked_for_shortly_whatever_the_deadline_of_the_restore():
    # One request that waited for a dead leader held a take-over up for eleven seconds, on three brokers of which one was killed.
    task, admin = SimpleNamespace(id=TaskId("bids", 0), changelog_topics=lambda: ["changelog"]), SilentAdmin()
    client = SimpleNamespace(describe=lambda: "nowhere")
    with pytest.raises(RetriableError):
        Restore([task], client, admin, ManualClock(), 120.0, Recorder())
    assert admin.waited
    assert max(admin.waited) <= 2
