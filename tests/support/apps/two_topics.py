"""Totals per key and ten seconds over two topics of different rates, in one window."""

from __future__ import annotations

import streamkit as sk
from tests.support.apps.totals import Event, main

OUT_OF_ORDERNESS_MS = 10_000


def make_app(run: str) -> sk.App:
    """The app over topics of this run."""
    app = sk.App(f"totals-{run}")
    fast, slow = (sk.Topic(f"{name}-{run}", key=str, value=Event) for name in ("fast", "slow"))
    time = sk.event_time("at", out_of_orderness="10s", idle_after="3s", max_drift="2m")
    totals = (
        app.stream(fast, event_time=time)
        .merge(app.stream(slow, event_time=time))
        .key_by("key", name="by-key")
        .window(sk.tumbling("10s"))
        .aggregate("per-key", n=sk.count(), total=sk.sum("value"), high=sk.max("value"))
    )
    totals.on_close().to(sk.Topic(f"totals-{run}"))
    totals.late().to(sk.Topic(f"late-{run}", key=str, value=Event))
    return app


if __name__ == "__main__":
    main(make_app)
