"""Sequence numbers of idempotent producers, as a partition checks them."""

from __future__ import annotations

from array import array

import pytest

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import MAX_SEQUENCE, Marker, PartitionLog, ProducerId

ME = ProducerId(1, 0)


@pytest.fixture
def log() -> PartitionLog:
    return PartitionLog(TopicPartition("t", 0))


def batch(records: int) -> Columns:
    return Columns([b"v"] * records, [b"k"] * records, array("q", [1]) * records)


def append(log: PartitionLog, first: int, records: int = 1, producer: ProducerId = ME) -> int:
    return log.append(batch(records), producer, first)


def test_numbers_go_on_record_by_record(log: PartitionLog):
    assert [append(log, 0, 3), append(log, 3, 2), append(log, 5)] == [0, 3, 5]


@pytest.mark.parametrize("number", [0, 2, 4, 100])
def test_any_but_the_next_number_is_refused(log: PartitionLog, number: int):
    append(log, 0, 3)
    with pytest.raises(BrokerError, match=f"sequence number {number}, the next one is 3") as caught:
        append(log, number)
    assert caught.value.code == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert log.high_watermark == 3


def test_the_last_five_batches_are_recognised(log: PartitionLog):
    places = [append(log, 2 * i, 2) for i in range(6)]
    found = [log.repetition(ME, 2 * i, 2) for i in range(6)]
    assert found == [None, *places[1:]]


def test_a_batch_of_another_length_is_no_repetition(log: PartitionLog):
    append(log, 0, 2)
    assert log.repetition(ME, 0, 1) is None
    assert log.repetition(ProducerId(2, 0), 0, 2) is None
    assert log.repetition(ProducerId(1, 1), 0, 2) is None


def test_a_new_epoch_starts_at_0_and_fences_the_old_one(log: PartitionLog):
    append(log, 0, 3)
    new = ProducerId(1, 1)
    with pytest.raises(BrokerError, match="OUT_OF_ORDER"):
        append(log, 3, producer=new)
    append(log, 0, producer=new)
    with pytest.raises(BrokerError, match="INVALID_PRODUCER_EPOCH"):
        append(log, 3)


def test_a_marker_of_a_new_epoch_fences_too(log: PartitionLog):
    """A coordinator that aborts over the owner's head writes the marker with the next epoch."""
    append(log, 0)
    log.end_transaction(ProducerId(1, 1), Marker.ABORT, 0)
    with pytest.raises(BrokerError, match="INVALID_PRODUCER_EPOCH"):
        append(log, 1)


def test_numbers_outlive_transactions(log: PartitionLog):
    append(log, 0, 2)
    log.end_transaction(ME, Marker.COMMIT, 0)
    with pytest.raises(BrokerError, match="OUT_OF_ORDER"):
        append(log, 0)
    append(log, 2)


def test_an_unknown_producer_may_start_anywhere(log: PartitionLog):
    """Its records may have been deleted, and what the partition knew of it with them."""
    assert append(log, 17) == 0
    with pytest.raises(BrokerError, match="OUT_OF_ORDER"):
        append(log, 0)


def test_numbers_start_again_behind_the_largest(log: PartitionLog):
    append(log, MAX_SEQUENCE - 1, 2)
    assert append(log, 0) == 2


def test_without_numbers_nothing_is_checked(log: PartitionLog):
    assert [log.append(batch(1), ME), log.append(batch(1), ME)] == [0, 1]
