"""The states of a task as they are drawn, and as they are."""

from __future__ import annotations

import pytest

import streamkit as sk
from streamkit.runtime import task
from streamkit.runtime.task import TRANSITIONS, TaskState
from tests.support.drawn import drawn_transitions


def test_the_drawn_states_are_those_of_the_table() -> None:
    assert drawn_transitions(task.__doc__) == {(a.name, b.name) for a, b in TRANSITIONS}


@pytest.mark.parametrize("start", TaskState)
@pytest.mark.parametrize("end", TaskState)
def test_only_the_transitions_of_the_table_are_possible(start: TaskState, end: TaskState) -> None:
    app = sk.App("app")
    app.stream(sk.Topic("a")).to(sk.Topic("b"))
    (one,) = sk.TestDriver(app).worker.tasks
    one.state = start
    if (start, end) in TRANSITIONS:
        one.become(end)
        assert one.state is end
    else:
        with pytest.raises(ValueError, match=f"task a/0: {start.value} cannot become {end.value}"):
            one.become(end)
