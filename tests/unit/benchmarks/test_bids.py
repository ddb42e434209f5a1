"""The benchmark's workload, reference and hand-written loop agree with each other and with streamkit."""

from __future__ import annotations

import json

import numpy as np
import pytest

import streamkit as sk
from benchmarks import bids
from benchmarks.contestants import streamkit as contestant
from benchmarks.contestants.hand import Windows as ByHand
from benchmarks.job import Job

RECORDS, KEYS = 20_000, 50


class FetchedBid:
    """As much of a Message as the hand-written loop looks at."""

    def __init__(self, key: int, value: bytes) -> None:
        self._key, self._value = b"%d" % key, value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value


def plain(made: bids.Bids, partitions: int) -> dict[tuple[int, int], tuple[int, int, int]]:
    """The reference of the reference: one record after the other."""
    seen: dict[int, int] = {}
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for auction, price, at_ms in zip(made.auction.tolist(), made.price.tolist(), made.at_ms.tolist(), strict=True):
        start = at_ms // bids.SIZE_MS * bids.SIZE_MS
        partition = auction % partitions
        before = seen.get(partition)
        seen[partition] = at_ms if before is None else max(before, at_ms)
        if before is not None and before - bids.OUT_OF_ORDERNESS_MS >= start + bids.SIZE_MS:
            continue
        count, total, highest = found.get((start, auction), (0, 0, 0))
        found[start, auction] = count + 1, total + price, max(highest, price)
    return found


def as_dict(windows: bids.Windows) -> dict[tuple[int, int], tuple[int, int, int]]:
    starts, auctions = windows.code // (1 << 32) * bids.SIZE_MS, windows.code % (1 << 32)
    figures = zip(windows.count.tolist(), windows.total.tolist(), windows.highest.tolist(), strict=True)
    return dict(zip(zip(starts.tolist(), auctions.tolist(), strict=True), figures, strict=True))


@pytest.fixture(scope="module")
def made() -> bids.Bids:
    return bids.bids(RECORDS, KEYS)


def test_the_same_seed_gives_the_same_bids(made):
    again = bids.bids(RECORDS, KEYS)
    assert again.payloads(slice(None)) == made.payloads(slice(None))
    assert bids.bids(RECORDS, KEYS, seed=8).payloads(slice(1)) != made.payloads(slice(1))


def test_payloads_are_the_columns(made):
    bid = json.loads(made.payloads(slice(7, 8))[0])
    assert (bid["auction"], bid["price"], bid["dateTime"]) == (made.auction[7], made.price[7], made.at_ms[7])
    assert 170 < len(made.payloads(slice(1))[0]) < 210


@pytest.mark.parametrize("partitions", [1, 4])
def test_the_reference_is_what_one_record_after_the_other_gives(made, partitions):
    expected = bids.expected(made, partitions)
    assert as_dict(expected) == plain(made, partitions)
    assert expected.count.sum() < RECORDS, "some records are late"


def test_the_hand_written_loop_gives_the_reference(made):
    windows = ByHand(1)
    closed = []
    fetched = list(map(FetchedBid, made.auction.tolist(), made.payloads(slice(None))))
    for start in range(0, RECORDS, 700):
        windows.add(0, fetched[start : start + 700])
        closed += windows.closed()
    closed += windows.rest()
    found = {(start, key): tuple(figures) for start, groups in closed for key, figures in groups.items()}
    assert found == as_dict(bids.expected(made))
    assert windows.late == RECORDS - bids.expected(made).count.sum()


def test_streamkit_gives_the_reference_on_the_embedded_broker():
    made = bids.bids(3_000, 20)
    app = contestant.app(Job("", "bench", "bids", "results", len(made)))
    source = sk.Topic("bids", key=int, value=bytes)
    with sk.TestDriver(app) as driver:
        for key, value in zip(made.auction.tolist(), made.payloads(slice(None)), strict=True):
            driver.send(source, value, key=key)
        driver.end_of_input()
        found = bids.windows_of([record.value for record in driver.read(sk.Topic("results", key=int, value=bytes))])
    assert bids.expected(made).difference(found) is None


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda w: bids.Windows(w.code[1:], w.count[1:], w.total[1:], w.highest[1:]), "1 of"),
        (lambda w: bids.Windows(w.code, w.count, w.total + (np.arange(len(w)) == 3), w.highest), "'total' is wrong in 1"),
        (lambda w: bids.Windows(*(np.repeat(c, 2) for c in (w.code, w.count, w.total, w.highest))), "occur twice"),
    ],
)
def test_a_wrong_result_is_told(made, change, words):
    expected = bids.expected(made)
    assert words in (expected.difference(change(expected)) or "")
    assert expected.difference(expected) is None
