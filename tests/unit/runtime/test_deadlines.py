"""What counts as a call that never returns: judged from outside, by a clock that the test moves."""

from __future__ import annotations

from streamkit.runtime.deadlines import Deadlines, patience

TICK_S = 0.25


class Watch:
    """Looks every tick, as the watchdog's thread does."""

    def __init__(self) -> None:
        self.deadlines = Deadlines(TICK_S)
        self.now = 1_000.0
        self.deadlines.look(self.now)

    def looks(self, seconds: float) -> str | None:
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            overdue = self.deadlines.look(self.now)
            if overdue is not None:
                return str(overdue)
        return None


def test_a_call_that_returns_in_time_is_nothing() -> None:
    watch = Watch()
    for _ in range(5):
        watch.deadlines.enter("commit", 2.0)
        assert watch.looks(2.0) is None
        watch.deadlines.leave()


def test_a_call_that_does_not_is_named_with_where_it_is_and_how_long() -> None:
    watch = Watch()
    watch.deadlines.enter("step", 300.0)
    watch.deadlines.enter("poll", 60.0)
    watch.deadlines.enter("send_offsets", 2.0)
    said = watch.looks(10.0)
    assert said == "'send_offsets' (in poll, step) has not returned for 2.2 s; it had to within 2.0 s"


def test_a_slow_function_of_the_user_counts_against_the_step_alone() -> None:
    watch = Watch()
    watch.deadlines.enter("step", 300.0)
    watch.deadlines.enter("poll", 2.0)
    watch.deadlines.leave()
    assert watch.looks(290.0) is None
    assert "'step' has not returned" in str(watch.looks(20.0))


def test_many_short_calls_in_a_row_are_not_one_long_call() -> None:
    """Each of them is entered and left between two looks, or seen by one only."""
    watch = Watch()
    watch.deadlines.enter("step", 1_000.0)
    for _ in range(100):
        watch.deadlines.enter("flush", 0.3)
        assert watch.looks(TICK_S) is None
        watch.deadlines.leave()


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """The process was stopped for ten minutes inside a call (SIGSTOP): when it goes on, the call is given its time."""
    watch = Watch()
    watch.deadlines.enter("commit", 5.0)
    assert watch.looks(1.0) is None
    watch.now += 600.0
    assert watch.looks(3.0) is None
    assert watch.looks(3.0) is not None


def test_a_clock_that_goes_on_with_nothing_entered_is_nothing() -> None:
    assert Watch().looks(10_000) is None


def test_patience_is_more_than_the_time_out_and_less_than_twice_of_a_long_one() -> None:
    for timeout in (0.05, 0.5, 2.5, 15.0, 60.0):
        assert timeout + 4.0 <= patience(timeout) <= max(timeout + 4.0, 1.5 * timeout)
