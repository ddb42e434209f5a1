"""The generated events as bids, and what the bids service must make of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from services.bids.app import TOPICS
from streamkit.testing.containers import Kafka
from tests.support import second_attempt
from tests.support.workload import Event, Expected, generate, tumbling_reference

PARTITIONS = 4


def bids(count: int, *, keys: int, seed: int) -> tuple[list[Event], Expected]:
    """Events, and per item and minute what was bid. Prices are whole numbers, so that sums do not depend on their order."""
    events = generate(count, keys=keys, partitions=PARTITIONS, seed=seed, late_ms=(100_000, 300_000))
    expected = tumbling_reference(events, size_ms=60_000, out_of_orderness_ms=10_000, grace_ms=30_000)
    assert len(expected.late) > count // 200, "the workload has no late records"
    return events, expected


def encode(event: Event) -> bytes:
    """As a bid; its number is the supplier's id, so that a duplicate or a gap can be named."""
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return b'{"item":"%s","price":%d.0,"supplier_id":"%d","bidtime":"%s"}' % (
        event.key.encode(),
        event.value,
        event.number,
        at.encode(),
    )


def check(kafka: Kafka, expected: Expected) -> None:
    """Every window once and right, every late bid once, in what a read_committed reader sees."""
    results = kafka.read(TOPICS.item_totals)
    windows = {(r.value.item, _ms(r.value.window_start)): (r.value.bids, r.value.total, r.value.highest) for r in results}
    late = Counter(int(r.value.supplier_id) for r in kafka.read(TOPICS.late))
    totals = [(r.value.window_start, r.value.window_end) for r in kafka.read(TOPICS.totals)]
    with second_attempt.results():
        assert len(results) == len(windows), f"{len(results) - len(windows)} windows came twice"
        assert windows == expected.windows
        assert not [number for number, times in late.items() if times > 1]
        assert set(late) == expected.late
        assert totals
        assert len(totals) == len(set(totals))


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
