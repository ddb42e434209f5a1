"""``make demo``: the bids service on the embedded broker, or on the Kafka that KAFKA_BOOTSTRAP_SERVERS names.

Six bids of a morning in 2020 go into a topic with three partitions while the service runs. Rows are printed when the watermark
has closed their windows. Then the service gets SIGTERM, as a container would, and a second run goes on where it stopped, to the
end of the input, where the last windows close. On a real Kafka, the app and its topics have names of their own in every run.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from datetime import UTC, datetime

import streamkit as sk
from services.bids.app import Bid, ItemTotal, Topics, Total, make_app, topics

PARTITIONS = 3
SAMPLE = [
    Bid("C", 4.00, "supplier1", datetime(2020, 4, 15, 8, 5, tzinfo=UTC)),
    Bid("A", 2.00, "supplier1", datetime(2020, 4, 15, 8, 7, tzinfo=UTC)),
    Bid("D", 5.00, "supplier2", datetime(2020, 4, 15, 8, 9, tzinfo=UTC)),
    Bid("B", 3.00, "supplier2", datetime(2020, 4, 15, 8, 11, tzinfo=UTC)),
    Bid("E", 1.00, "supplier1", datetime(2020, 4, 15, 8, 13, tzinfo=UTC)),
    Bid("F", 6.00, "supplier2", datetime(2020, 4, 15, 8, 17, tzinfo=UTC)),
]
"""Each goes into the partition after that of the one before it."""

CLOSED_LIVE = datetime(2020, 4, 15, 8, 10, tzinfo=UTC)
"""The last window that the sample closes by itself: the slowest partition comes to 08:11, less ten seconds out of order."""

PAUSE_S = 0.2
PATIENCE_S = 60


def send(broker: sk.Broker, topic: sk.Topic[str, Bid], number: int) -> Bid:
    """Sends one bid of the sample."""
    bid = SAMPLE[number]
    broker.send(topic, bid, key=bid.item, timestamp=bid.bidtime, partition=number % PARTITIONS)
    return bid


def table(rows: list[Total]) -> str:
    """The rows under their heading, by window."""
    heading = "window_start       window_end         price"
    return "\n".join([heading, *(line(row, row.price) for row in sorted(rows, key=lambda row: row.window_end))])


def line(row: Total | ItemTotal, price: float) -> str:
    """A row of a table."""
    return f"{row.window_start:%Y-%m-%d %H:%M}   {row.window_end:%Y-%m-%d %H:%M}   {price:5.2f}"


class Results:
    """Prints every result once, when it is committed, and remembers when the first one was."""

    def __init__(self, broker: sk.Broker, topics: Topics) -> None:
        self._broker, self._topics = broker, topics
        self._printed: set[tuple[str, int, int]] = set()
        self.started = time.monotonic()
        self.first_row_s: float | None = None
        self.totals: list[Total] = []
        self.closed = datetime.min.replace(tzinfo=UTC)  # the last window end that both tables have

    def print_new(self) -> None:
        """What has come since the last call."""
        totals, items = self._broker.read(self._topics.totals), self._broker.read(self._topics.item_totals)
        self.totals = [record.value for record in totals]
        for total in totals:
            self._print(total, f"all bids   {line(total.value, total.value.price)}")
        for item in items:
            self._print(item, f"item {item.key}     {line(item.value, item.value.total)}")
        ends = [max((record.value.window_end for record in found), default=None) for found in (totals, items)]
        if None not in ends:
            self.closed = min(end for end in ends if end is not None)

    def _print(self, record: sk.Record[bytes | None, Total] | sk.Record[str, ItemTotal], text: str) -> None:
        place = (record.topic, record.partition, record.offset)
        if place not in self._printed:
            self._printed.add(place)
            self.first_row_s = self.first_row_s or time.monotonic() - self.started
            print(f"    {text}", flush=True)


class Auction(threading.Thread):
    """Sends the bids beside the running service and prints results; stops the service when the watermark can close no more."""

    def __init__(self, broker: sk.Broker, topics: Topics, results: Results) -> None:
        super().__init__(daemon=True)
        self._broker, self._topics, self._results = broker, topics, results

    def run(self) -> None:
        try:
            for number in range(len(SAMPLE)):
                bid = send(self._broker, self._topics.bids, number)
                print(
                    f"  bid of {bid.price:.2f} for {bid.item} at {bid.bidtime:%H:%M}, partition {number % PARTITIONS}", flush=True
                )
                time.sleep(PAUSE_S)
                self._results.print_new()
            give_up = time.monotonic() + PATIENCE_S
            while self._results.closed < CLOSED_LIVE and time.monotonic() < give_up:
                time.sleep(PAUSE_S)
                self._results.print_new()
        finally:
            signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Runs the demo; its last lines are the table."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    broker = sk.Broker.at(servers) if servers else sk.Broker.embedded()
    suffix = f"-{secrets.token_hex(3)}" if servers else ""
    own = topics(suffix)
    app = make_app(f"bids{suffix}", own)

    print(app.describe(), flush=True)
    print(f"\nRunning on {broker}. Results come when the watermark has closed their windows:", flush=True)
    for topic in own:
        broker.create_topic(topic, partitions=1 if topic is own.totals else PARTITIONS)
    results = Results(broker, own)
    auction = Auction(broker, own, results)
    auction.start()
    app.run(broker=broker, log_level="ERROR")
    auction.join(PATIENCE_S)

    print("\nStopped by SIGTERM. A second run goes on from there to the end of the input:", flush=True)
    app.run(broker=broker, until_end=True, log_level="ERROR")
    results.print_new()
    print(
        f"\nFirst row after {results.first_row_s or 0:.1f} s, all after {time.monotonic() - results.started:.1f} s. All bids:\n"
    )
    print(table(results.totals))


if __name__ == "__main__":
    main()
