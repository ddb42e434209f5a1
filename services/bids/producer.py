"""Bids without end, for a demo on a real Kafka: ``python -m services.bids.producer``.

A bid follows the other after 5 to 25 seconds of auction time, which runs sixty times as fast as the clock on the wall: windows of
a minute close every second. One in twenty bids comes a few seconds out of order, one in a hundred two minutes late. Started
anew, the auction goes on where the topic ends.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from datetime import UTC, datetime, timedelta

import streamkit as sk
from services.bids.app import TOPICS, Bid
from services.bids.demo import PARTITIONS

OPENING = datetime(2020, 4, 15, 8, tzinfo=UTC)
SPEED = 60
ITEMS = "ABCDEF"


def opening(broker: sk.Broker) -> datetime:
    """Where the auction goes on: after the last bid that is there."""
    return max((record.value.bidtime for record in broker.read(TOPICS.bids)), default=OPENING)


def next_bid(now: datetime, chance: random.Random) -> tuple[Bid, timedelta]:
    """A bid of about this time, and how long after it the next one comes."""
    at = now
    if chance.random() < 0.01:
        at -= timedelta(minutes=2)
    elif chance.random() < 0.05:
        at -= timedelta(seconds=chance.randrange(1, 8))
    bid = Bid(chance.choice(ITEMS), chance.randrange(4, 80) / 4, f"supplier{chance.randrange(1, 4)}", at)
    return bid, timedelta(seconds=chance.randrange(5, 26))


def main() -> None:
    """Sends bids until SIGTERM or Ctrl-C."""
    enough = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: enough.set())
    broker = sk.Broker.at(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    for topic in TOPICS:
        broker.create_topic(topic, partitions=PARTITIONS)
    now, chance, sent = opening(broker), random.Random(), 0  # noqa: S311 - prices, not secrets
    print(f"bids go to {broker}, topic '{TOPICS.bids.name}', from {now:%Y-%m-%d %H:%M}", flush=True)
    with broker.sender() as send:
        while not enough.is_set():
            bid, pause = next_bid(now, chance)
            send(TOPICS.bids, bid, key=bid.item, timestamp=bid.bidtime)
            sent += 1
            now += pause
            enough.wait(pause.total_seconds() / SPEED)
    print(f"stopped after {sent} bids, at {now:%Y-%m-%d %H:%M}", flush=True)


if __name__ == "__main__":
    main()
