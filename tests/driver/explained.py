"""An app over events of a few partitions, and why one of its windows is open: as the worker has it, and as Kafka holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import streamkit as sk
from streamkit.kafka.memory import MemoryClient

T0 = datetime(2020, 4, 15, 8, tzinfo=UTC)
START = "2020-04-15T08:00:00Z"


class Event(sk.Model):
    at: datetime
    item: str | None = None
    n: int = 1


EVENTS, RESULTS, AGAIN = sk.Topic("bids", key=str, value=Event), sk.Topic("totals"), sk.Topic("again")


def make_app(
    keyed: str = "record", window: Any = None, *, idle_after: str | None = None, second: Any = None, moves: str | None = None
) -> sk.App:
    app = sk.App("app")
    time = sk.event_time("at", out_of_orderness="5s", idle_after=idle_after, advance_when_idle=moves)
    events = app.stream(EVENTS, event_time=time)
    by = {"record": events.by_record_key, "column": lambda: events.key_by("item"), "globally": events.globally}[keyed]()
    totals = by.window(window or sk.tumbling("10m")).aggregate("total", n=sk.sum("n"))
    totals.on_close().to(RESULTS)
    if second is not None:
        totals.on_close().by_record_key().window(second).aggregate("again", n=sk.sum("n")).on_close().to(AGAIN)
    return app


class Explained:
    """An app in a driver, explained in both ways."""

    def __init__(self, app: sk.App, partitions: int = 1) -> None:
        self.app, self.driver = app, sk.TestDriver(app, partitions=partitions)

    def send(self, partition: int, *seconds: float, key: str | None = "A") -> None:
        for second in seconds:
            event = Event(T0 + timedelta(seconds=second), key)
            self.driver.send(EVENTS, event, key=key, partition=partition)

    def live(self, key: Any = "A", start: Any = T0, **more: Any) -> sk.WindowExplanation:
        return self.driver.explain_window(key, start, **more)

    def stored(self, window: str = f"A@{START}", aggregate: str | None = None) -> sk.WindowExplanation:
        broker = sk.Broker(MemoryClient(self.driver.cluster), is_embedded=True)
        return self.app.explain_window(window, aggregate=aggregate, broker=broker)

    def both(self) -> sk.WindowExplanation:
        """What both say of key A at 08:00."""
        live, stored = self.live(), self.stored()
        assert str(stored).partition("as of its last commit")[0] == str(live).partition("as the worker")[0].rstrip() + (
            "\nfrom Kafka: "
        )
        assert facts(live) == facts(stored)
        return live


def facts(found: sk.WindowExplanation) -> tuple[Any, ...]:
    return found.state, found.held_back_by, found.watermark, found.closes_at, found.result, found.sentence


def values(found: sk.WindowExplanation) -> dict[str, Any] | None:
    """The result without the bounds of its window."""
    return None if found.result is None else {name: v for name, v in found.result.items() if not name.startswith("window_")}
