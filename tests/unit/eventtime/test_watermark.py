"""The watermark of a partition against a loop over its records."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamkit.eventtime.watermark import MAX_TIMESTAMP, MIN_TIMESTAMP, NO_TIME, PartitionWatermark

timestamps = st.lists(st.one_of(st.integers(-50, 50), st.sampled_from([MIN_TIMESTAMP, MAX_TIMESTAMP])), max_size=30)


def naive(records: list[int], out_of_orderness_ms: int) -> list[int]:
    """The watermark before each record, and at last the one behind all."""
    found, largest = [], None
    for timestamp in [*records, None]:
        found.append(NO_TIME if largest is None else largest - out_of_orderness_ms - 1)
        if timestamp is not None:
            largest = timestamp if largest is None else max(largest, timestamp)
    return found


@given(timestamps, st.integers(0, 20), st.lists(st.integers(0, 30), max_size=5))
def test_any_cut_into_batches_gives_what_a_loop_gives(records: list[int], out_of_orderness_ms: int, cuts: list[int]) -> None:
    watermark = PartitionWatermark(out_of_orderness_ms)
    expected = naive(records, out_of_orderness_ms)
    bounds = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for start, end in pairwise(bounds):
        before = watermark.observe(np.array(records[start:end], np.int64))
        wanted = expected[start:end]
        behind = any(t <= w for t, w in zip(records[start:end], wanted, strict=True))
        assert (before is not None) == behind  # None says: not one of these can be late
        assert before is None or before.tolist() == wanted
        assert watermark.watermark == expected[end]
    assert watermark.watermark == expected[-1]


def test_of_nothing_it_stays_where_it_was() -> None:
    watermark = PartitionWatermark(5)
    assert watermark.observe(np.array([], np.int64)) is None
    assert watermark.watermark == NO_TIME
    watermark.observe(np.array([100], np.int64))
    watermark.observe(np.array([], np.int64))
    assert watermark.watermark == 94


def test_a_window_is_complete_when_a_record_at_its_end_plus_the_out_of_orderness_was_seen() -> None:
    """Complete when W >= e - 1, that is when a record with ts >= e + d was seen."""
    watermark = PartitionWatermark(5)
    watermark.observe(np.array([1_004], np.int64))
    assert watermark.watermark < 999
    watermark.observe(np.array([1_005], np.int64))
    assert watermark.watermark == 999


@given(timestamps, st.integers(0, 40), st.lists(st.integers(0, 30), max_size=5))
def test_what_runs_too_far_ahead_is_found_whatever_the_cuts(records: list[int], max_future_ms: int, cuts: list[int]) -> None:
    expected, latest = [], None
    for index, timestamp in enumerate(records):
        if latest is not None and timestamp > latest + max_future_ms:
            expected.append(index)
        else:
            latest = timestamp if latest is None else max(latest, timestamp)
    watermark, found = PartitionWatermark(0), []
    bounds = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for start, end in pairwise(bounds):
        part = np.array(records[start:end], np.int64)
        ahead = watermark.too_far_ahead(part, max_future_ms)
        found += (ahead + start).tolist()
        watermark.observe(np.delete(part, ahead))
    assert found == expected
