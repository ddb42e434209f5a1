"""Bids of an auction: what they sum up to over all, and per item.

Two pipelines over one topic. A bid may come up to ten seconds out of order, and a partition that is read to its end and silent
for five seconds does not hold time up. Run it with ``python services/bids/app.py`` or ``streamkit run services.bids.app:app``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import streamkit as sk


class Bid(sk.Model):
    """One bid."""

    item: str
    price: float
    supplier_id: str
    bidtime: datetime


class Total(sk.Model):
    """The sum of all bids of a window."""

    window_start: datetime
    window_end: datetime
    price: float


class ItemTotal(sk.Model):
    """What was bid for one item in one minute."""

    item: str
    window_start: datetime
    window_end: datetime
    bids: int
    total: float
    highest: float


class Topics(NamedTuple):
    """Every topic that the service reads or writes."""

    bids: sk.Topic[str, Bid]
    totals: sk.Topic[bytes | None, Total]
    item_totals: sk.Topic[str, ItemTotal]
    late: sk.Topic[str, Bid]


def topics(suffix: str = "") -> Topics:
    """The service's topics; with a suffix those of a demo or a test, apart from the real ones."""
    return Topics(
        bids=sk.Topic(f"bids{suffix}", key=str, value=Bid),
        totals=sk.Topic(f"bid-totals{suffix}", value=Total),
        item_totals=sk.Topic(f"bid-totals-per-item{suffix}", key=str, value=ItemTotal),
        late=sk.Topic(f"bids-late{suffix}", key=str, value=Bid),
    )


TOPICS = topics()


@TOPICS.bids.sample
def bids_of_a_day() -> Iterator[sk.Record[str, Bid]]:
    """Bids for `streamkit dev` and `streamkit sim`: one every few seconds, some out of order, a few late."""
    start, draw = datetime(2020, 4, 15, 8, tzinfo=UTC), random.Random(7)  # noqa: S311 - samples
    for number in count():
        behind = draw.choice([0, 0, 0, 0, 4, 9, 150])
        at = start + timedelta(seconds=6 * number - behind)
        item = draw.choice("ABCDE")
        bid = Bid(item=item, price=draw.randrange(100, 2_000) / 100, supplier_id=f"supplier{number % 9}", bidtime=at)
        yield sk.Record(item, bid, at, {}, TOPICS.bids.name, 0, number)


def make_app(name: str = "bids", topics: Topics = TOPICS) -> sk.App:
    """The service over these topics."""
    app = sk.App(name)
    bids = app.stream(topics.bids, event_time=sk.event_time("bidtime", out_of_orderness="10s", idle_after="5s"))

    totals = bids.globally().window(sk.cumulating("10m", step="2m")).aggregate("totals", price=sk.sum("price"))
    totals.on_close().to(topics.totals)

    per_item = (
        bids.key_by("item")
        .window(sk.tumbling("1m", grace="30s"))
        .aggregate("per-item", bids=sk.count(), total=sk.sum("price"), highest=sk.max("price"))
    )
    per_item.on_close().to(topics.item_totals)
    per_item.late().to(topics.late)
    return app


app = make_app()

if __name__ == "__main__":
    app.run()
