"""What a log gives to whom, wherever a fetch starts and however little it asks for."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.columns import Columns
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Isolation, Marker, PartitionLog, ProducerId

COMMITTED, UNCOMMITTED = Isolation.READ_COMMITTED, Isolation.READ_UNCOMMITTED


def columns(*values: bytes) -> Columns:
    return Columns(list(values), [b"k"] * len(values), array("q", range(len(values))))


def new_log() -> PartitionLog:
    return PartitionLog(TopicPartition("t", 0))


def offsets(log: PartitionLog, start: int = 0, room: int = 1000, isolation: Isolation = COMMITTED) -> list[int]:
    return [
        o for span in log.fetch(start, room, isolation).spans for o in range(span.first_offset, span.first_offset + span.records)
    ]


def test_a_fetch_that_has_no_room_left_does_not_skip_over_records():
    """The rest of a batch, then a marker: the position must not move behind the marker."""
    log, producer = new_log(), ProducerId(1, 0)
    log.append(columns(b"a", b"b", b"c"), producer)
    log.end_transaction(producer, Marker.COMMIT, 0)
    assert log.fetch(0, 2, COMMITTED).next_position == 2
    assert log.fetch(2, 1, COMMITTED).next_position == 4  # now it may


def test_read_uncommitted_sees_open_and_aborted_records_but_no_markers():
    log, one, other = new_log(), ProducerId(1, 0), ProducerId(2, 0)
    log.append(columns(b"aborted"), one)
    log.end_transaction(one, Marker.ABORT, 0)
    log.append(columns(b"open"), other)
    log.append(columns(b"plain"))
    assert offsets(log, isolation=UNCOMMITTED) == [0, 2, 3]
    assert offsets(log) == []
    assert (log.last_stable_offset, log.high_watermark) == (2, 4)
    assert log.open_producers == [2]


def test_the_first_open_transaction_holds_the_last_stable_offset():
    log, one, other = new_log(), ProducerId(1, 0), ProducerId(2, 0)
    log.append(columns(b"a"), one)
    log.append(columns(b"b"), other)
    log.append(columns(b"c"), one)
    log.end_transaction(other, Marker.COMMIT, 0)
    assert log.last_stable_offset == 0
    log.end_transaction(one, Marker.COMMIT, 0)
    assert log.last_stable_offset == log.high_watermark == 5


def test_headers_of_some_records_only():
    log = new_log()
    log.append(columns(b"a"))
    log.append(Columns([b"b"], [b"k"], array("q", [0]), [[("h", b"1")]]))
    log.append(columns(b"c"))
    assert log.fetch(0, 9, COMMITTED).columns.headers == [None, [("h", b"1")], None]


def test_deleted_records_are_freed_and_out_of_range():
    log = new_log()
    for _ in range(3):
        log.append(columns(*[b"x"] * 5000))
    log.delete_before(12_000)
    assert offsets(log, 12_000, 2) == [12_000, 12_001]
    assert sum(len(batch.columns) for batch in log._batches) == 5000
    for offset in (11_999, 15_001):
        with pytest.raises(BrokerError, match="OFFSET_OUT_OF_RANGE"):
            log.fetch(offset, 1, COMMITTED)
    assert offsets(log, 15_000) == []


def test_an_older_epoch_may_not_write():
    log = new_log()
    log.append(columns(b"a"), ProducerId(1, 4))
    for write in (
        lambda: log.append(columns(b"b"), ProducerId(1, 3)),
        lambda: log.end_transaction(ProducerId(1, 3), Marker.COMMIT, 0),
    ):
        with pytest.raises(BrokerError, match="INVALID_PRODUCER_EPOCH"):
            write()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([None, 1, 2]), st.integers(1, 5)),
        st.tuples(st.sampled_from(["commit", "abort"]), st.sampled_from([1, 2]), st.just(0)),
    ),
    max_size=25,
)


@given(steps=STEPS, room=st.integers(1, 7))
def test_reading_in_pieces_gives_what_a_model_says(steps, room):
    log = new_log()
    fates: list[str] = []  # of each offset
    mine: dict[int, list[int]] = {1: [], 2: []}
    for step, producer, count in steps:
        if step == "append":
            base = log.append(columns(*[b"v"] * count), None if producer is None else ProducerId(producer, 0))
            assert base == len(fates)
            if producer is not None:
                mine[producer] += range(base, base + count)
            fates += ["seen" if producer is None else "open"] * count
        else:
            log.end_transaction(ProducerId(producer, 0), Marker(step), 0)
            for offset in mine[producer]:
                fates[offset] = "seen" if step == "commit" else "skipped"
            mine[producer].clear()
            fates.append("marker")
    stable = fates.index("open") if "open" in fates else len(fates)
    assert (log.high_watermark, log.last_stable_offset) == (len(fates), stable)

    got, position = [], 0
    while position < stable:
        fetched = log.fetch(position, room, COMMITTED)
        assert len(fetched.columns) == sum(span.records for span in fetched.spans) <= room
        assert fetched.next_position > position
        got += [o for span in fetched.spans for o in range(span.first_offset, span.first_offset + span.records)]
        position = fetched.next_position
    assert got == [offset for offset in range(stable) if fates[offset] == "seen"]
    assert position == stable
