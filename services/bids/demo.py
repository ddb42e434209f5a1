"""`make demo`: the bids service on the embedded broker, or on the Kafka that KAFKA_BOOTSTRAP_SERVERS names.

Six bids of a morning in 2020 go into a topic with three partitions; rows are printed as the watermark closes their windows, the last ones
when the input ends. Topics and the group have names of their own in every run, so it can be run again on the same Kafka.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from datetime import UTC, datetime

import streamkit as sk
from services.bids.app import BIDS, ITEM_TOTALS, LATE, TOTALS, Bid, ItemTotal, Total, make_app

SAMPLE = [
    Bid("C", 4.00, "supplier1", datetime(2020, 4, 15, 8, 5, tzinfo=UTC)),
    Bid("A", 2.00, "supplier1", datetime(2020, 4, 15, 8, 7, tzinfo=UTC)),
    Bid("D", 5.00, "supplier2", datetime(2020, 4, 15, 8, 9, tzinfo=UTC)),
    Bid("B", 3.00, "supplier2", datetime(2020, 4, 15, 8, 11, tzinfo=UTC)),
    Bid("E", 1.00, "supplier1", datetime(2020, 4, 15, 8, 13, tzinfo=UTC)),
    Bid("F", 6.00, "supplier2", datetime(2020, 4, 15, 8, 17, tzinfo=UTC)),
]
PARTITIONS = 3


def line(row: Total) -> str:
    """A row of the table."""
    return f"{row.window_start:%Y-%m-%d %H:%M}   {row.window_end:%Y-%m-%d %H:%M}   {row.price:5.2f}"


def table(rows: list[Total]) -> str:
    """The rows with their heading, by window."""
    heading = "window_start       window_end         price"
    return "\n".join([heading, *map(line, sorted(rows, key=lambda row: row.window_end))])


class Printer(threading.Thread):
    """Prints results as they are committed, beside the running service."""

    def __init__(self, broker: sk.Broker, totals: sk.Topic[bytes | None, Total], items: sk.Topic[str, ItemTotal]) -> None:
        super().__init__(daemon=True)
        self._broker, self._totals, self._items = broker, totals, items
        self._printed = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.2):
            self.print_new()

    def finish(self) -> None:
        self._over.set()
        self.join(10)
        self.print_new()

    def print_new(self) -> None:
        lines = [f"  all bids   {line(record.value)}" for record in self._broker.read(self._totals)]
        lines += [
            f"  item {record.key}     {record.value.window_start:%Y-%m-%d %H:%M}   {record.value.window_end:%Y-%m-%d %H:%M}   "
            f"{record.value.total:5.2f}  ({record.value.bids} bid)"
            for record in self._broker.read(self._items)
        ]
        for text in lines[self._printed :]:
            print(text, flush=True)
        self._printed = len(lines)


def main() -> None:
    """Runs the demo; the last lines are the table."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    broker = sk.Broker.at(servers) if servers else sk.Broker.embedded()
    run = secrets.token_hex(3)
    bids = sk.Topic(f"{BIDS.name}-{run}", key=str, value=Bid)
    totals = sk.Topic(f"{TOTALS.name}-{run}", value=Total)
    items = sk.Topic(f"{ITEM_TOTALS.name}-{run}", key=str, value=ItemTotal)
    late = sk.Topic(f"{LATE.name}-{run}", key=str, value=Bid)
    app = make_app(f"bids-demo-{run}", bids, totals, items, late)

    print(app.describe(), flush=True)
    print(f"\nRunning on {broker}", flush=True)
    started = time.monotonic()
    for topic in (bids, totals, items, late):
        broker.create_topic(topic, partitions=1 if topic is totals else PARTITIONS)
    for number, bid in enumerate(SAMPLE):
        broker.send(bids, bid, key=bid.item, timestamp=bid.bidtime, partition=number % PARTITIONS)

    print("\nResults, as the watermark closes their windows:", flush=True)
    printer = Printer(broker, totals, items)
    printer.start()
    app.run(broker=broker, until_end=True)
    printer.finish()
    print(f"\nAll bids, summed up every two minutes of ten ({time.monotonic() - started:.1f} s):\n")
    print(table([record.value for record in broker.read(totals)]))


if __name__ == "__main__":
    main()
