"""What the log cleaner and retention take out of a log, and what readers notice of it."""

from __future__ import annotations

import pytest

from streamkit.clock import ManualClock
from streamkit.errors import LostOffsetError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient

TP = TopicPartition("t", 0)
HOUR_S = 3600.0
COMPACT = {"cleanup.policy": "compact", "segment.ms": "1000", "delete.retention.ms": "60000"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster(clock: ManualClock) -> Cluster:
    return Cluster(clock)


def offsets(cluster: Cluster) -> list[int]:
    return [record.offset for record in cluster.read("t")]


def fill(cluster: Cluster, keys: str, values: str | None = None) -> None:
    """One record per letter; in `values` a dash stands for a tombstone."""
    for key, value in zip(keys, values or keys, strict=True):
        cluster.append("t", None if value == "-" else value.encode(), key.encode(), 0)


def roll(cluster: Cluster, clock: ManualClock, key: str = "z") -> None:
    """Makes what is there old enough for a new segment, and begins it with a record."""
    clock.advance(2)
    fill(cluster, key)


def test_the_latest_record_of_each_key_stays(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, COMPACT)
    fill(cluster, "abacab")
    roll(cluster, clock)
    cluster.clean()
    assert offsets(cluster) == [3, 4, 5, 6]
    assert [record.key for record in cluster.read("t")] == [b"c", b"a", b"b", b"z"]


def test_the_active_segment_is_left_alone(cluster: Cluster):
    cluster.create_topic("t", 1, COMPACT)
    fill(cluster, "aaa")
    cluster.clean()
    assert offsets(cluster) == [0, 1, 2]


def test_compacting_twice_changes_nothing_more(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, COMPACT)
    fill(cluster, "abab")
    roll(cluster, clock)
    cluster.clean()
    first = cluster.read("t")
    cluster.clean()
    assert cluster.read("t") == first


def test_a_tombstone_goes_when_its_time_is_over(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, COMPACT)
    fill(cluster, "aba", "ab-")
    roll(cluster, clock)
    cluster.clean()
    assert offsets(cluster) == [1, 2, 3]  # the tombstone is there for those who have read the value
    clock.advance(59)
    cluster.clean()
    assert offsets(cluster) == [1, 2, 3]
    clock.advance(2)
    cluster.clean()
    assert offsets(cluster) == [1, 3]


def test_readers_pass_gaps_from_anywhere(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, COMPACT)
    fill(cluster, "aabbab")
    roll(cluster, clock)
    cluster.clean()
    for start in range(8):
        reader = MemoryClient(cluster).reader()
        reader.assign({TP: start})
        polled = reader.poll(100, 0)
        got = [offset for batch in polled.batches for offset in batch.offsets().tolist()]
        assert got == [offset for offset in (4, 5, 6) if offset >= start]
        assert polled.ends == {TP: 7}


def test_a_gap_at_the_end_of_a_batch_does_not_hide_the_end(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, COMPACT)
    producer = MemoryClient(cluster).producer("id")
    producer.init_transactions(1)
    for keys in (b"ab", b"b"):
        producer.begin()
        for key in keys:
            producer.produce("t", b"v", bytes([key]), 0)
        producer.commit(1)
    roll(cluster, clock)
    cluster.clean()
    assert offsets(cluster) == [0, 3, 5]  # 1 was compacted away; 2 and 4 are markers
    reader = MemoryClient(cluster).reader()
    reader.assign({TP: 1})
    polled = reader.poll(1, 0)
    assert [batch.next_offset for batch in polled.batches] == [4]


def test_nothing_behind_the_last_stable_offset_is_compacted(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, COMPACT)
    fill(cluster, "a")
    producer = MemoryClient(cluster).producer("id")
    producer.init_transactions(1)
    producer.begin()
    producer.produce("t", b"open", b"a", 0)
    producer.flush(1)
    fill(cluster, "aa")
    roll(cluster, clock)
    cluster.clean()
    assert [record.offset for record in cluster.read("t", "read_uncommitted")] == [0, 1, 2, 3, 4]
    producer.abort(1)
    roll(cluster, clock)
    cluster.clean()
    assert [record.offset for record in cluster.read("t", "read_uncommitted")] == [3, 4, 6]  # 5 is the marker


def test_retention_by_time_drops_whole_old_batches(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, {"retention.ms": "3600000", "segment.ms": "1000"})
    producer = MemoryClient(cluster).producer("id")
    producer.init_transactions(1)
    for _ in range(2):
        producer.begin()
        producer.produce("t", b"v", b"k", 0)
        producer.commit(1)
        clock.advance(HOUR_S / 2 + 10)
    fill(cluster, "a")
    cluster.clean()
    assert offsets(cluster) == [2, 4]
    with pytest.raises(LostOffsetError):
        reader = MemoryClient(cluster).reader()
        reader.assign({TP: 1})
        reader.poll(1, 0)


def test_records_of_long_ago_are_gone_at_once_under_default_retention(cluster: Cluster, clock: ManualClock):
    """Why internal topics keep everything (R23): retention goes by the records' own timestamps."""
    cluster.create_topic("t", 1, {"segment.ms": "1000"})
    cluster.append("t", b"v", b"k", 0, timestamp=1_000)
    roll(cluster, clock)
    cluster.clean()
    assert offsets(cluster) == [1]


def test_retention_by_size_keeps_the_newest(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, {"retention.bytes": "2500", "retention.ms": "-1", "segment.ms": "1"})
    producer = MemoryClient(cluster).producer("id")
    producer.init_transactions(1)
    for _ in range(5):
        clock.advance(1)
        producer.begin()
        producer.produce("t", b"x" * 999, b"k", 0)
        producer.commit(1)
    cluster.clean()
    assert offsets(cluster) == [4, 6, 8]


def test_without_a_limit_everything_stays(cluster: Cluster, clock: ManualClock):
    cluster.create_topic("t", 1, {"retention.ms": "-1", "segment.ms": "1000"})
    cluster.append("t", b"v", b"k", 0, timestamp=1_000)
    roll(cluster, clock)
    cluster.clean()
    assert offsets(cluster) == [0, 1]
