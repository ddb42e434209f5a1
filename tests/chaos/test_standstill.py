from __future__ import annotations

from tests.chaos.standstill import Standstill, Standstills, longest_each

P, Q = ("events", 0), ("events", 1)


def fold(samples, slack=None) -> Standstills:
    """Samples of (at, committed, end) of one partition."""
    standstills = Standstills(slack or {})
    for at, committed, end in samples:
        standstills.sample(at, {P: committed}, {P: end})
    return standstills


def test_a_backlog_that_does_not_move_stands_still_until_it_moves():
    found = fold([(0, 5, 5), (1, 5, 9), (2, 5, 12), (3, 5, 12), (4, 7, 12), (5, 12, 12)]).found
    assert found == [Standstill(P, 1, 4), Standstill(P, 4, 5)]


def test_without_a_backlog_nothing_stands_still():
    assert fold([(0, 5, 5), (1, 5, 5), (9, 5, 5)]).standing(9) == {}


def test_markers_behind_the_last_record_are_no_backlog():
    assert fold([(0, 5, 8), (9, 5, 8)], slack={"events": 3}).standing(9) == {}
    assert fold([(0, 5, 9), (9, 5, 9)], slack={"events": 3}).standing(9) == {P: 9}


def test_time_in_which_nobody_could_be_asked_counts():
    assert fold([(0, 5, 9), (20, 6, 9)]).found == [Standstill(P, 0, 20)]


def test_what_stands_still_at_the_end_counts():
    standstills = fold([(0, 5, 9), (3, 5, 9)])
    standstills.close(10)
    assert standstills.found == [Standstill(P, 0, 10)]


def test_a_partition_that_never_committed_counts_from_its_first_backlog():
    standstills = Standstills()
    standstills.sample(0, {}, {P: 0, Q: 4})
    standstills.sample(2, {}, {P: 1, Q: 4})
    assert standstills.standing(5) == {P: 3, Q: 5}


def test_a_fault_answers_for_what_it_began_in_and_for_what_began_before_the_next():
    found = [Standstill(P, 0, 8), Standstill(P, 9.5, 12), Standstill(Q, 11, 16), Standstill(P, 29.5, 60), Standstill(Q, 61, 62)]
    assert longest_each(found, [10, 30, 40]) == [Standstill(Q, 11, 16), Standstill(P, 29.5, 60), Standstill(Q, 61, 62)]
    assert longest_each([Standstill(P, 0, 8)], [10]) == [None]
    assert longest_each(found, []) == []
