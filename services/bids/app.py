"""Bids of an auction: what they sum up to over all, and per item.

Two pipelines over one topic. ``bids`` may be unordered by up to ten seconds, and a partition that is silent for five seconds does not
hold time up. Run it with `python services/bids/app.py` or `streamkit run services.bids.app:app`.
"""

from __future__ import annotations

from datetime import datetime

import streamkit as sk


class Bid(sk.Model):
    """One bid."""

    item: str
    price: float
    supplier_id: str
    bidtime: datetime


class Total(sk.Model):
    """The sum of all bids of a window so far."""

    window_start: datetime
    window_end: datetime
    price: float


class ItemTotal(sk.Model):
    """What was bid for one item in one minute."""

    item: str | None
    window_start: datetime
    window_end: datetime
    bids: int
    total: float
    highest: float


BIDS = sk.Topic("bids", key=str, value=Bid)
LATE = sk.Topic("bids-late", key=str, value=Bid)
TOTALS = sk.Topic("bid-totals", value=Total)
ITEM_TOTALS = sk.Topic("bid-totals-per-item", key=str, value=ItemTotal)


def make_app(name: str = "bids", bids_topic: sk.Topic[str, Bid] = BIDS, totals_topic: sk.Topic[bytes | None, Total] = TOTALS,
             item_totals_topic: sk.Topic[str, ItemTotal] = ITEM_TOTALS, late_topic: sk.Topic[str, Bid] = LATE) -> sk.App:  # fmt: skip
    """The app over these topics; demos and tests give it topics of their own."""
    app = sk.App(name)
    bids = app.stream(bids_topic, event_time=sk.event_time("bidtime", out_of_orderness="10s", idle_after="5s"))

    totals = bids.globally().window(sk.cumulating("10m", step="2m")).aggregate("totals", price=sk.sum("price"))
    totals.on_close().to(totals_topic)

    per_item = (
        bids.key_by("item")
        .window(sk.tumbling("1m", grace="30s"))
        .aggregate("per-item", bids=sk.count(), total=sk.sum("price"), highest=sk.max("price"))
    )
    per_item.on_close().to(item_totals_topic)
    per_item.late().to(late_topic)
    return app


app = make_app()

if __name__ == "__main__":
    app.run()
