"""For how long a partition has stood still, as looks see it."""

from __future__ import annotations

from streamkit.kafka.client import TopicPartition
from streamkit.runtime.progress import Standstill

A, B = TopicPartition("bids", 0), TopicPartition("bids", 1)
BOUND_S, EVERY_S = 80.0, 10.0


class Looks:
    def __init__(self) -> None:
        self.standstill = Standstill(BOUND_S, EVERY_S)
        self.now = 0.0

    def at(self, places: dict[TopicPartition, int], *, times: int = 1, owned: tuple[TopicPartition, ...] = (A, B)) -> object:
        found: object = None
        for _ in range(times):
            self.now += EVERY_S
            found = self.standstill.look(self.now, places, owned)
        return found


def test_one_that_moves_now_and_then_is_nothing() -> None:
    looks = Looks()
    for place in range(50):
        assert looks.at({A: place}, times=5) == []


def test_one_that_stands_for_longer_than_the_bound_is_found_and_the_others_are_not() -> None:
    looks = Looks()
    for place in range(9):
        assert looks.at({A: 5, B: place}) == []
    assert looks.at({A: 5, B: 9}) == [A]
    assert looks.standstill.stood_s(A) == BOUND_S + EVERY_S


def test_going_back_and_coming_to_the_same_place_again_is_standing_still() -> None:
    """A worker that aborts and replays for ever."""
    looks = Looks()
    for _ in range(3):
        looks.at({A: 5})
        looks.at({A: 9})
        looks.at({A: 5})
    assert looks.at({A: 9}, times=2) == [A]


def test_time_of_a_restore_does_not_count_and_does_not_begin_the_count_anew() -> None:
    looks = Looks()
    looks.at({A: 5}, times=8)
    assert looks.at({}, times=100) == []
    assert looks.at({A: 5}, times=1) == []
    assert looks.at({A: 5}, times=2) == [A]


def test_what_went_to_another_worker_and_came_back_begins_anew() -> None:
    looks = Looks()
    looks.at({A: 5}, times=8)
    looks.at({}, owned=(B,))
    assert looks.at({A: 5}, times=8) == []


def test_a_process_that_was_stopped_has_stood_for_two_looks_at_most() -> None:
    looks = Looks()
    looks.at({A: 5}, times=2)
    looks.now += 10_000.0
    assert looks.at({A: 5}) == []


def test_what_was_excused_begins_anew() -> None:
    looks = Looks()
    assert looks.at({A: 5}, times=10) == [A]
    looks.standstill.excuse(A)
    assert looks.at({A: 5}, times=8) == []
    assert looks.at({A: 5}, times=1) == [A]
