"""A Kafka that does not answer: how it is told, how long the pauses are, when it is over."""

from __future__ import annotations

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import RetriableError
from streamkit.instrument import Recorder
from streamkit.runtime.outage import LONGEST_PAUSE_S, TELL_EVERY_S, Outage

FAILED = RetriableError("no leader", code="LEADER_NOT_AVAILABLE", call="poll")


class Questions:
    """An admin client that answers when it is told to."""

    def __init__(self) -> None:
        self.answers = False
        self.asked = 0

    def topic_names(self, _timeout: float) -> list[str]:
        self.asked += 1
        if not self.answers:
            raise RetriableError("Connection refused", code="_TRANSPORT", call="list_topics")
        return []


@pytest.fixture
def world():
    questions, clock, events = Questions(), ManualClock(), Recorder()
    return Outage(questions, "kafka:9092", clock, events), questions, clock, events


def test_nothing_is_asked_while_polls_succeed(world):
    outage, questions, clock, events = world
    assert outage.over()
    assert (questions.asked, clock.monotonic(), events.events) == (0, 0.0, [])


def test_a_poll_that_fails_beside_a_cluster_that_answers_is_followed_by_a_growing_pause(world):
    outage, questions, clock, events = world
    questions.answers = True
    pauses = []
    for _ in range(8):
        before = clock.monotonic()
        outage.poll_failed(FAILED)
        pauses.append(round(clock.monotonic() - before, 3))
        assert outage.over()
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert events.of("poll-retried") == [{"error": str(FAILED)}]  # once for them all
    clock.advance(TELL_EVERY_S + 1)
    before = clock.monotonic()
    outage.poll_failed(FAILED)
    assert clock.monotonic() - before == pytest.approx(0.1)  # an old failure does not count
    assert len(events.of("poll-retried")) == 2


def test_an_outage_is_told_now_and_then_with_its_length_and_cause_and_its_end(world):
    outage, questions, clock, events = world
    outage.poll_failed(FAILED)
    assert outage.away
    while clock.monotonic() < 25:
        assert not outage.over()
    questions.answers = True
    assert outage.over()
    assert not outage.away
    waiting = events.of("waiting-for-broker")
    assert [round(fields["away_s"], -1) for fields in waiting] == [0, 10, 20]
    assert all(fields["kafka"] == "kafka:9092" and "Connection refused" in fields["error"] for fields in waiting)
    (back,) = events.of("broker-back")
    assert back["away_s"] == pytest.approx(26, abs=LONGEST_PAUSE_S)
    assert questions.asked < 40  # the pauses grow


def test_a_second_outage_is_told_anew(world):
    outage, questions, _, events = world
    for _ in range(2):
        outage.poll_failed(FAILED)
        questions.answers = True
        assert outage.over()
        questions.answers = False
    assert len(events.of("waiting-for-broker")) == len(events.of("broker-back")) == 2


def test_another_call_without_an_answer_begins_an_outage_and_one_that_was_refused_does_not_ask(world):
    outage, questions, _, events = world
    outage.suspect(RetriableError("offsets are pending", code="UNSTABLE_OFFSET_COMMIT", call="committed"))
    assert (questions.asked, outage.away) == (0, False)
    unanswered = RetriableError("no answer", code="_TIMED_OUT", call="init_transactions")
    questions.answers = True
    outage.suspect(unanswered)
    assert (questions.asked, outage.away, events.events) == (1, False, [])  # Kafka is there
    questions.answers = False
    outage.suspect(unanswered)
    outage.suspect(unanswered)  # known by now
    assert (questions.asked, outage.away) == (2, True)
    assert len(events.of("waiting-for-broker")) == 1
