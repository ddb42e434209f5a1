"""Watermarks by another rule than bounded out-of-orderness: any cut, any restart, against a loop over the records."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import DeclarationError
from streamkit.eventtime.generators import ElementwiseWatermark, FieldWatermark, GeneratedWatermark, followed
from streamkit.eventtime.watermark import MAX_TIMESTAMP, NO_TIME

Int64s = npt.NDArray[np.int64]
records = st.lists(st.integers(-50, 50), max_size=30)
cuts = st.lists(st.integers(0, 30), max_size=6)


class MeanOfLatest(sk.WatermarkGenerator):
    """Behind the mean of the last three times: it would go back if the engine let it."""

    def start(self) -> tuple[int, ...]:
        return (self.NO_TIME, self.NO_TIME)

    def follow(self, timestamps: Int64s, state: tuple[int, ...]) -> tuple[Int64s, tuple[int, ...]]:
        older, old = state
        found = []
        for time in timestamps.tolist():
            found.append(self.NO_TIME if older == self.NO_TIME else (older + old + time) // 3 - 1)
            older, old = old, time
        return np.array(found, np.int64), (older, old)


def hours(timestamps: Int64s) -> Int64s:
    return timestamps - timestamps % 10 - 1


def naive(rule: str, times: list[int]) -> list[int]:
    """The watermark before each record, and at last the one behind all; from the whole log, without any state."""
    found = []
    for count in range(len(times) + 1):
        reached = NO_TIME
        for end in range(1, count + 1):
            if rule == "hours":
                reached = max(reached, times[end - 1] // 10 * 10 - 1)
            elif end >= 3:
                reached = max(reached, sum(times[end - 3 : end]) // 3 - 1)
        found.append(reached)
    return found


def rule_of(name: str) -> Any:
    return sk.event_time("at", watermark=MeanOfLatest() if name == "mean" else hours).watermark


@given(st.sampled_from(["mean", "hours"]), records, cuts, st.sampled_from(["goes on", "restarts"]))
def test_any_cut_and_a_restart_at_any_of_them_give_what_a_loop_gives(
    rule: str, times: list[int], at: list[int], then: str
) -> None:
    watermark = GeneratedWatermark(0, rule=rule_of(rule))
    expected = naive(rule, times)
    for start, end in pairwise(sorted({0, len(times), *(cut for cut in at if cut < len(times))})):
        before = watermark.observe(np.array(times[start:end], np.int64))
        wanted = expected[start:end]
        assert (before is not None) == any(t <= w for t, w in zip(times[start:end], wanted, strict=True))
        assert before is None or before.tolist() == wanted
        assert watermark.watermark == expected[end]
        assert watermark.max_timestamp == max(times[:end], default=NO_TIME)
        if then == "restarts":
            again = GeneratedWatermark(0, rule=rule_of(rule))
            again.restore(watermark.max_timestamp, watermark.kept)
            watermark = again
    assert watermark.watermark == expected[-1]


@given(st.lists(st.tuples(st.integers(-50, 50), st.one_of(st.none(), st.integers(-50, 50))), max_size=30), cuts)
def test_what_records_say_counts_from_the_next_record_on(found: list[tuple[int, int | None]], at: list[int]) -> None:
    watermark = GeneratedWatermark(0, rule=FieldWatermark("w"))
    before: list[int] = []
    for start, end in pairwise(sorted({0, len(found), *(cut for cut in at if cut < len(found))})):
        times = np.array([time for time, _ in found[start:end]], np.int64)
        reached = watermark.watermark
        said = watermark.observe_told(times, np.array([NO_TIME if w is None else w for _, w in found[start:end]], np.int64))
        if said is None:
            highest = np.maximum.accumulate([reached, *(NO_TIME if w is None else w for _, w in found[start:end])])[:-1]
            assert not (times <= highest).any()
            said = highest
        before += said.tolist()
    assert before == [max([NO_TIME, *(w for _, w in found[:n] if w is not None)]) for n in range(len(found))]


def test_what_another_rule_has_left_is_not_taken_up() -> None:
    mean, tens = GeneratedWatermark(0, rule=rule_of("mean")), GeneratedWatermark(0, rule=rule_of("hours"))
    tens.observe(np.array([25], np.int64))
    mean.restore(tens.max_timestamp, tens.kept)
    assert (mean.max_timestamp, mean.watermark, mean.state) == (25, NO_TIME, (NO_TIME, NO_TIME))
    mean.restore(25, ())  # bounded out-of-orderness leaves nothing
    assert mean.watermark == NO_TIME


class Bad(sk.WatermarkGenerator):
    def __init__(self, found: Any) -> None:
        self.found = found

    def follow(self, timestamps: Int64s, state: tuple[int, ...]) -> Any:
        return self.found(timestamps, state) if callable(self.found) else self.found


class Remembers(sk.WatermarkGenerator):
    """Keeps its state in itself."""

    def __init__(self) -> None:
        self.seen = 0

    def follow(self, timestamps: Int64s, state: tuple[int, ...]) -> tuple[Int64s, tuple[int, ...]]:
        self.seen += len(timestamps)
        return timestamps + self.seen, state


@pytest.mark.parametrize(
    "watermark,reason",
    [
        (
            lambda times: times - len(times),
            r"lambda\(\) gives other watermarks of the same records when they come in batches of 1",
        ),
        (Remembers(), "Remembers gives other watermarks of the same records"),
        (lambda times: times.max(), "expected a watermark after each of 24 records as an array of int64, got int64 of shape"),
        (lambda times: times / 2, "got float64"),
        (lambda _: None, "got object of shape"),
        (lambda times: times.__imul__(2), "read-only"),
        (lambda times: times + MAX_TIMESTAMP, "is behind all times"),
        (lambda _: 1 // 0, "ZeroDivisionError"),
        (Bad(None), "expected the watermarks and the state, got NoneType"),
        (Bad(lambda times, _: (times, [1])), r"the state must be a tuple of at most 16 integers of 64 bits, got \[1\]"),
        (Bad(lambda times, _: (times, (2**63,))), "integers of 64 bits"),
        (Bad(lambda times, _: (times, (0,) * 17)), "at most 16"),
        (Bad, "an object, not its class"),
        ("5s", "expected ascending"),
    ],
)
def test_a_rule_that_is_none_is_refused_where_it_is_declared(watermark: Any, reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason):
        sk.event_time("at", watermark=watermark)


def test_there_is_one_rule_for_one_watermark() -> None:
    with pytest.raises(DeclarationError, match="two rules for one watermark"):
        sk.event_time("at", out_of_orderness="5s", watermark=sk.ascending())


def test_a_watermark_below_all_event_times_says_nothing() -> None:
    """Such as a rule begins with that has a number of its own for "none yet"; it is no time that could be shown."""
    rule = ElementwiseWatermark(lambda times: np.where(times < 2_000, times - 10**17, times - 1))
    said, _ = followed(rule, np.array([1_000, 2_000]), ())
    assert said.tolist() == [NO_TIME, 1_999]
