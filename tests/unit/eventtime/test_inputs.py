"""The time of a task: the minimum of its active inputs, monotone, and held while nothing is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.eventtime import inputs
from streamkit.eventtime.inputs import TRANSITIONS, InputState, InputTime, TaskTime
from streamkit.eventtime.watermark import END_OF_TIME, NO_TIME
from tests.support.drawn import drawn_transitions

ACTIVE, IDLE, ENDED = InputState


def test_the_drawn_states_are_those_of_the_table() -> None:
    assert drawn_transitions(inputs.__doc__) == {(a.name, b.name) for a, b in TRANSITIONS}


@pytest.mark.parametrize("start", InputState)
@pytest.mark.parametrize("end", InputState)
def test_only_the_transitions_of_the_table_are_possible(start: InputState, end: InputState) -> None:
    one = InputTime(state=start)
    if start is end or (start, end) in TRANSITIONS:
        one.become(end)
        assert one.state is end
    else:
        with pytest.raises(ValueError, match=f"{start.value} cannot become {end.value}"):
            one.become(end)


def test_an_input_that_said_nothing_holds_time() -> None:
    time = TaskTime(["a", "b"])
    time.advance("a", 10)
    assert time.watermark() == NO_TIME
    time.set_state("b", IDLE)
    assert time.watermark() == 10


def test_time_does_not_go_back_when_an_idle_input_speaks_again() -> None:
    time = TaskTime(["a", "b"])
    time.advance("a", 10)
    time.set_state("b", IDLE)
    assert time.watermark() == 10
    time.set_state("b", ACTIVE)
    time.advance("b", 3)
    assert time.watermark() == 10
    time.advance("b", 12)
    assert time.watermark() == 10
    time.advance("a", 20)
    assert time.watermark() == 12


@pytest.mark.parametrize("order", ["ab", "ba", "together"])
def test_while_all_are_idle_time_stands_at_the_furthest_in_whatever_order_they_fell_silent(order: str) -> None:
    time = TaskTime(["a", "b", "never-spoke"])
    time.advance("a", 10)
    time.advance("b", 7)
    time.set_state("never-spoke", IDLE)
    for name in order if order != "together" else "ab":
        time.set_state(name, IDLE)
        if order != "together":
            time.watermark()
    assert time.watermark() == 10
    assert time.state is IDLE
    time.set_state("b", ACTIVE)
    assert time.watermark() == 10


def test_the_end_is_the_end_of_all_and_is_not_remembered() -> None:
    time = TaskTime(["a", "b"])
    time.advance("a", 10)
    time.set_state("a", ENDED)
    assert time.watermark() == NO_TIME  # b holds
    time.advance("b", 20)
    assert (time.watermark(), time.state) == (20, ACTIVE)
    time.set_state("b", ENDED)
    assert (time.watermark(), time.state, time.furthest) == (END_OF_TIME, ENDED, 20)
    time.inputs["b"].state = ACTIVE  # as after a restart
    assert time.watermark() == 20


def test_ended_and_idle_inputs_leave_time_to_the_idle() -> None:
    time = TaskTime(["a", "b"])
    time.advance("a", 10)
    time.advance("b", 5)
    time.set_state("a", ENDED)
    time.set_state("b", IDLE)
    assert (time.watermark(), time.state) == (5, IDLE)


def test_restored_time_stands() -> None:
    time = TaskTime(["a"])
    time.restore(50)
    time.advance("a", 10)
    assert time.watermark() == 50


def test_unknown_inputs_are_dropped() -> None:
    time = TaskTime(["a"])
    time.advance("gone", 10)
    time.set_state("gone", ENDED)
    assert time.watermark() == NO_TIME


@given(st.lists(st.one_of(
    st.tuples(st.just("advance"), st.sampled_from("abc"), st.integers(-20, 20)),
    st.tuples(st.just("state"), st.sampled_from("abc"), st.sampled_from([ACTIVE, IDLE])),
)))  # fmt: skip
def test_time_is_monotone_and_never_ahead_of_an_active_input_that_was_always_active(steps: list[tuple[str, str, object]]) -> None:
    time = TaskTime("abc")
    always_active, reached = set("abc"), NO_TIME
    for kind, name, value in steps:
        if kind == "advance":
            time.advance(name, value)
        else:
            time.set_state(name, value)
            always_active.discard(name)
        now = time.watermark()
        assert now >= reached
        assert all(now <= time.inputs[one].watermark for one in always_active)
        reached = now
