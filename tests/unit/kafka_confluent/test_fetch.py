"""Positions over a consumer whose fetchers start and stop a little later than its calls return, as librdkafka's do."""

from __future__ import annotations

from collections.abc import Callable

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError, KafkaException

from streamkit.errors import LostOffsetError
from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.confluent.events import ErrorEvents
from streamkit.kafka.confluent.fetch import Fetch
from streamkit.kafka.confluent.intake import ColumnBatch, Event, Received
from tests.unit.kafka_confluent.columns import batch

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class Librdkafka:
    """A consumer and its intake in one: what they do to a partition's fetcher and to the way of its records.

    As in rd_kafka_toppar_fetch_stop and .._start: a stop cuts the forwarding of a partition's queue, and a start does not set it
    again once the partition was forwarded by the application. Both happen after the call that asked for them has returned.
    """

    follows_seeks = True

    def __init__(self) -> None:
        self.running: set[TopicPartition] = set()
        self.forwarded: set[TopicPartition] = set()
        self.resumed: set[TopicPartition] = set()
        self.offsets: dict[TopicPartition, int] = {}
        self.assigned: set[TopicPartition] = set()
        self.refuse: set[TopicPartition] = set()  # seeks of these are refused
        self.queue: list[Received] = []
        self._later: list[Callable[[], None]] = []

    def delivers(self, tp: TopicPartition) -> int | None:
        """From which offset records of it reach us, if they do."""
        self._settle()
        return self.offsets[tp] if tp in self.running & self.forwarded & self.resumed else None

    def _settle(self) -> None:
        while self._later:
            self._later.pop(0)()

    def _stop(self, tps: set[TopicPartition]) -> None:
        self.running -= tps
        self.forwarded -= tps

    def _call(self, partitions: list[ck.TopicPartition]) -> dict[TopicPartition, int]:
        return {TopicPartition(one.topic, one.partition): one.offset for one in partitions}

    def assign(self, partitions: list[ck.TopicPartition]) -> None:
        self.incremental_unassign([ck.TopicPartition(*tp) for tp in self.assigned])
        self.incremental_assign(partitions)

    def incremental_assign(self, partitions: list[ck.TopicPartition]) -> None:
        new = self._call(partitions)
        self.assigned |= set(new)
        self.offsets.update(new)
        self._later.append(lambda: self.running.update(new))

    def incremental_unassign(self, partitions: list[ck.TopicPartition]) -> None:
        old = set(self._call(partitions))
        self.assigned -= old
        self._later.append(lambda: self._stop(old))

    def unassign(self) -> None:
        self.incremental_unassign([ck.TopicPartition(*tp) for tp in self.assigned])

    def pause(self, partitions: list[ck.TopicPartition]) -> None:
        self.resumed -= set(self._call(partitions))

    def resume(self, partitions: list[ck.TopicPartition]) -> None:
        self.resumed |= set(self._call(partitions))

    def seek(self, partition: ck.TopicPartition) -> None:
        self._settle()
        (found,) = self._call([partition]).items()
        if found[0] not in self.running or found[0] in self.refuse:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.offsets[found[0]] = found[1]

    def take(self, tp: TopicPartition) -> None:
        self.forwarded.add(tp)

    def receive(self, most: int, timeout: float) -> Received:
        assert most > 0 <= timeout
        self._settle()
        return self.queue.pop(0) if self.queue else Received()

    def close(self) -> None:
        self.forwarded.clear()


@pytest.fixture
def rdk() -> Librdkafka:
    return Librdkafka()


@pytest.fixture(params=[False, True], ids=["classic", "incremental"])
def fetch(rdk: Librdkafka, request: pytest.FixtureRequest) -> Fetch:
    return over(rdk, incremental=request.param)


def over(rdk: Librdkafka, *, incremental: bool) -> Fetch:
    return Fetch(rdk, ErrorEvents("test"), about="test", intake=rdk, incremental=incremental)  # type: ignore[arg-type] # a stand-in


def start(fetch: Fetch, *tps: TopicPartition, offset: int = 3) -> None:
    fetch.assign_paused(tps)
    fetch.poll(10, 0)
    for tp in tps:
        fetch.seek(tp, offset)
    fetch.resume(tps)
    fetch.poll(10, 0)


def event(tp: TopicPartition, offset: int, code: int) -> Event:
    return Event(tp.topic, tp.partition, offset, KafkaError(code))


def rows(polled: Polled) -> list[int]:
    return [offset for of in polled.batches for offset in of.offsets().tolist()]


def test_assigned_placed_and_resumed(fetch, rdk):
    start(fetch, A, B)
    assert (rdk.delivers(A), rdk.delivers(B)) == (3, 3)


def test_nothing_is_delivered_before_it_is_placed(fetch, rdk):
    fetch.assign_paused([A])
    fetch.poll(10, 0)
    assert rdk.delivers(A) is None


@pytest.mark.parametrize("also", [A, B])
def test_a_partition_that_lost_its_place_delivers_again_behind_the_seek(fetch, rdk, also):
    """Its fetcher is stopped and started anew behind our back, and the stop cuts the way of its records to us."""
    start(fetch, A, B)
    rdk.queue.append(Received(events=[event(A, 3, KafkaError._AUTO_OFFSET_RESET)]))
    with pytest.raises(LostOffsetError):
        fetch.poll(10, 0)
    fetch.seek(A, 8)
    fetch.poll(10, 0)
    fetch.poll(10, 0)
    assert rdk.delivers(A) == 8
    assert rdk.delivers(also) is not None


def test_a_revoked_partition_that_comes_back_delivers_from_where_the_engine_says(fetch, rdk):
    start(fetch, A, B)
    fetch.unassign([A, B])
    fetch.assign_paused([A, B])  # before librdkafka has stopped anything
    fetch.seek(A, 6)
    fetch.resume([A])
    rdk.queue.append(Received(batches=[batch()]))
    assert rows(fetch.poll(10, 0)) == [7, 8, 9]
    assert rdk.delivers(A) == 6
    assert rdk.delivers(B) is None


def test_at_an_assignment_of_others_what_waits_for_its_place_is_not_forgotten(rdk):
    fetch = over(rdk, incremental=True)
    start(fetch, A)
    rdk.refuse.add(A)
    fetch.seek(A, 5)
    fetch.assign_paused([B])
    rdk.refuse.clear()
    fetch.poll(10, 0)
    assert rdk.delivers(A) == 5


def test_an_end_that_came_behind_strays_is_none_and_the_strays_are_read_again(fetch, rdk):
    start(fetch, A)
    rdk.offsets[A] = 10
    rdk.queue.append(Received(events=[event(A, 10, KafkaError._PARTITION_EOF)], strays={A}))
    assert not fetch.poll(10, 0).ends
    fetch.poll(10, 0)
    assert rdk.delivers(A) == 3


def test_records_beside_a_stray_of_their_partition_wait_for_it(fetch, rdk):
    start(fetch, A)
    rdk.queue += [Received(batches=[batch()], strays={A}), Received(batches=[batch()])]
    assert rows(fetch.poll(10, 0)) == []
    assert rows(fetch.poll(10, 0)) == [3, 4, 7, 8, 9]


def test_strays_of_what_is_not_read_are_nothing(fetch, rdk):
    start(fetch, A)
    fetch.pause([A])
    rdk.queue.append(Received(strays={A, B}))
    assert not fetch.poll(10, 0).batches


def test_an_end_is_told_and_a_leftover_of_an_earlier_position_is_not(fetch, rdk):
    start(fetch, A)
    ends = [event(A, at, KafkaError._PARTITION_EOF) for at in (2, 10)]
    rdk.queue += [Received(batches=[batch()], events=ends), Received(events=ends[:1])]
    polled = fetch.poll(10, 0)
    assert rows(polled) == [3, 4, 7, 8, 9]
    assert polled.ends == {A: 10}
    assert not fetch.poll(10, 0).ends


@pytest.mark.parametrize("offset, seen", [(3, [3, 4, 7, 8, 9]), (5, [7, 8, 9]), (10, [])])
def test_records_before_the_position_are_leftovers(fetch, rdk, offset, seen):
    start(fetch, A, offset=offset)
    rdk.queue.append(Received(batches=[batch()]))
    polled = fetch.poll(10, 0)
    assert rows(polled) == seen
    assert all(isinstance(of, ColumnBatch) for of in polled.batches)


def test_a_poll_that_raises_gives_its_records_to_the_next_one(fetch, rdk):
    start(fetch, A, B)
    lost = event(B, 3, KafkaError._AUTO_OFFSET_RESET)
    rdk.queue.append(Received(batches=[batch()], events=[lost]))
    with pytest.raises(LostOffsetError):
        fetch.poll(10, 0)
    fetch.seek(B, 0)
    fetch.poll(10, 0)
    fetch.poll(10, 0)
    assert rdk.delivers(A) == 3
    rdk.queue.append(Received(batches=[batch()]))
    assert rows(fetch.poll(10, 0)) == [3, 4, 7, 8, 9]
