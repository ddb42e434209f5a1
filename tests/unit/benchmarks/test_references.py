"""What the suite holds contestants against: the references, and what they say of results that are wrong."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np
import pytest

import streamkit as sk
from benchmarks import bids, references, workloads
from benchmarks.bids import END_MS, OUT_OF_ORDERNESS_MS
from benchmarks.contestants import streamkit as contestant
from benchmarks.contestants.hand import Kept
from benchmarks.contestants.pipelines import PIPELINES
from benchmarks.job import Job
from benchmarks.references import Reader, Rows, rows

MADE = bids.with_ends(bids.bids(4_000, 20), 2)


def as_set(found: Rows) -> set[tuple[int, ...]]:
    return set(zip(*(column.tolist() for column in found.columns.values()), strict=True))


def in_order():
    """key, time, price and what the partition had seen before, one record after the other, without the ends."""
    seen: dict[int, int] = {}
    for key, at_ms, price in zip(MADE.auction.tolist(), MADE.at_ms.tolist(), MADE.price.tolist(), strict=True):
        before = seen.get(key % 2, -(2**62))
        seen[key % 2] = max(before, at_ms)
        if at_ms < END_MS:
            yield key, at_ms, price, before


@pytest.mark.parametrize("size,hop", [(60_000, 1_000), (10_000, 2_000), (10_000, 10_000)])
def test_hopping_is_what_one_record_after_the_other_gives(size, hop):
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for key, at_ms, price, before in in_order():
        for start in range(at_ms // hop * hop - size + hop, at_ms + 1, hop):
            if before - OUT_OF_ORDERNESS_MS < start + size:
                found[start, key].append(price)
    start, key, count, total, highest = (column.tolist() for column in references._hopping(MADE, 2, size, hop))
    made = dict(zip(zip(start, key, strict=True), zip(count, total, highest, strict=True), strict=True))
    assert made == {place: (len(prices), sum(prices), max(prices)) for place, prices in found.items()}
    everything = references._hopping(MADE, 2, size, hop, late_too=True)[2].sum()
    assert everything == np.count_nonzero(MADE.at_ms < END_MS) * (size // hop) > sum(count)


@pytest.mark.parametrize("gap_ms", [references.GAP_MS, references.SHORT_GAP_MS, 300])
def test_sessions_are_what_one_record_after_the_other_gives(gap_ms):
    times: dict[int, list[int]] = defaultdict(list)
    for key, at_ms, _, before in in_order():
        if before - OUT_OF_ORDERNESS_MS < at_ms // bids.SIZE_MS * bids.SIZE_MS + bids.SIZE_MS:
            times[key].append(at_ms)
    found = set()
    for key, moments in times.items():
        moments.sort()
        first = 0
        for number, at_ms in enumerate(moments):
            if number + 1 == len(moments) or moments[number + 1] - at_ms >= gap_ms:
                found.add((moments[first], key, at_ms + gap_ms, number + 1 - first))
                first = number + 1
    assert {row[:4] for row in as_set(references.session(MADE, 2, gap_ms=gap_ms))} == found


@pytest.mark.parametrize("workload", [each for each in workloads.WORKLOADS if each.reference], ids=lambda each: each.name)
def test_streamkit_gives_the_reference_in_every_workload(workload):
    made = bids.with_ends(workload.input.make(1_500, 20), 1)
    form = workloads.FORMS[workload.input.form]
    app = contestant.app(Job("", "bench", "bids", "results", len(made), window=workload.window, pipeline=workload.pipeline))
    with sk.TestDriver(app) as driver:
        for key, value in zip(made.auction.tolist(), form.encode(made.payloads(slice(None))), strict=True):
            driver.cluster.append("bids", value, form.key % key, 0)
        driver.settle()
        driver.end_of_input()
        values = [record.value for record in driver.cluster.read("results")]
    expected = workload.reference(made, 1)
    assert len(expected) > 0
    assert workloads.check(workload, "streamkit", made, 1, expected, values) is None
    assert workloads.check(workload, "streamkit", made, 1, expected, values[1:]) is not None


def test_every_pipeline_belongs_to_a_workload():
    assert set(PIPELINES) == {workload.pipeline for workload in workloads.WORKLOADS if workload.reference}


def test_the_hand_written_filter_gives_the_reference():
    work = Kept(1)

    class Fetched:
        def __init__(self, value):
            self.value = lambda: value
            self.key = lambda: b"1"

    work.add(0, list(map(Fetched, MADE.payloads(slice(None)))))
    expected = references.stateless(MADE, 2)
    assert references.difference(expected, Reader().read(expected, [value for value, _, _ in work.results()])) is None
    assert not list(work.results(at_end=True)), "they are given once"


def test_avro_is_the_same_bids():
    values = workloads.in_avro(MADE.payloads(slice(3)))
    decode = sk.avro(contestant.PIPELINES["avro"].__globals__["Bid"]).decoder()
    assert [decode(value).price for value in values] == MADE.price[:3].tolist()


EXPECTED = rows(2, window_start=[0, 0, 5], key=[1, 2, 1], total=[10, 20, 30])


@pytest.mark.parametrize(
    "found,words",
    [
        (rows(2, window_start=[0, 0], key=[1, 2], total=[10, 20]), "1 of 3 rows are missing or wrong, 0 of 2"),
        (rows(2, window_start=[0, 0, 5], key=[1, 2, 1], total=[10, 21, 30]), "expected: (0, 2, 20); found: (0, 2, 21)"),
        (rows(2, window_start=[0, 0, 5, 5], key=[1, 2, 1, 1], total=[10, 20, 30, 30]), "1 rows occur too often"),
    ],
)
def test_a_difference_is_told(found, words):
    assert words in (references.difference(EXPECTED, found) or "")
    assert references.difference(EXPECTED, EXPECTED) is None


@pytest.mark.parametrize(
    "total,words",
    [([10, 20, 30], None), ([12, 20, 35], None), ([9, 20, 30], "too low in 1"), ([10, 20, 36], "too high in 1 of 3")],
)
def test_who_judges_lateness_otherwise_must_lie_between(total, words):
    most = rows(2, window_start=[0, 0, 5, 5], key=[1, 2, 1, 2], total=[15, 25, 35, 5])
    found = rows(2, window_start=[0, 0, 5], key=[1, 2, 1], total=total)
    told = references.outside(EXPECTED, most, found)
    assert told is None if words is None else words in told
    assert "1 of 3 results are missing" in references.outside(EXPECTED, most, found.only(np.arange(2)))
    assert "1 results should not be there" in references.outside(EXPECTED, EXPECTED, most)
    assert "1 results occur twice" in references.outside(EXPECTED, most, found.only(np.array([0, 1, 2, 2])))


def test_times_may_be_written_in_any_of_the_ways_of_contestants():
    ways = ("2023-11-14T22:13:20Z", "2023-11-14 22:13:20", bids.BASE_MS)
    like = rows(2, window_start=[], key=[], total=[])
    values = [msgspec.json.encode({"window_start": way, "key": 1, "total": 1, "other": 1}) for way in ways]
    assert Reader().read(like, values).columns["window_start"].tolist() == [bids.BASE_MS] * 3
