"""The totals app over a client one of whose calls never returns, once: as librdkafka's send_offsets_to_transaction does while the
coordinator of the group is gone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamkit as sk
from streamkit.kafka.client import Committed, GroupMetadata, KafkaClient, Polled, TopicPartition
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.ops.logging import configure, service_log
from streamkit.runtime.service import RunOptions, run_service
from tests.support.apps.totals import make_app

SESSION_S = 90
"""Long: who dies without leaving the group is missed only then."""

HANGS_AT = 3
"""Which call of a process does not return."""

PART = 2_000
"""So many records are handed out before each commit up to there: most of the input is still to come when the call hangs."""


class Hang:
    """What the consumer and the producer of a process know of the call; the marker is a file that remembers that it has hung."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker
        self._handed_out = 0
        self._calls = 0

    def allowance(self, most: int) -> int:
        """How many of `most` records may be handed out."""
        return most if self._marker.exists() else min(most, PART * (self._calls + 1) - self._handed_out)

    def count(self, records: int) -> None:
        self._handed_out += records

    def call(self) -> None:
        """Returns, but for once."""
        self._calls += 1
        if self._calls == HANGS_AT and not self._marker.exists():
            self._marker.touch()
            time.sleep(1e6)


class PacedConsumer:
    """All of a real one, but that its records come in parts."""

    def __init__(self, consumer: Any, hang: Hang) -> None:
        self._consumer = consumer
        self._hang = hang

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def poll(self, max_records: int, timeout: float) -> Polled:
        most = self._hang.allowance(max_records)
        if not most:
            time.sleep(0.01)
            return Polled()
        polled: Polled = self._consumer.poll(most, timeout)
        self._hang.count(sum(map(len, polled.batches)))
        return polled


class HangingProducer:
    """All of a real one, but for one call."""

    def __init__(self, producer: Any, hang: Hang) -> None:
        self._producer = producer
        self._hang = hang

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, timeout: float) -> None:
        self._hang.call()
        self._producer.send_offsets(offsets, group, timeout)


class HangingClient:
    """A KafkaClient that makes such consumers and producers."""

    def __init__(self, client: ConfluentClient, hang: Hang) -> None:
        self._client = client
        self._hang = hang

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def consumer(self, group_id: str) -> PacedConsumer:
        return PacedConsumer(self._client.consumer(group_id), self._hang)

    def producer(self, transactional_id: str) -> HangingProducer:
        return HangingProducer(self._client.producer(transactional_id), self._hang)


def main() -> None:
    """Runs one worker to the end of the input; ``--marker`` is a file that remembers that it has hung."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--marker", required=True, type=Path)
    arguments = parser.parse_args()
    settings = sk.EngineSettings(commit_interval_ms=50, transaction_timeout_ms=2_000, session_timeout_ms=SESSION_S * 1000)
    connection = ConnectionSettings(
        arguments.bootstrap,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        session_timeout_ms=settings.session_timeout_ms,
        max_poll_interval_ms=settings.max_poll_interval_ms,
    )
    configure(json=True)
    client: KafkaClient = HangingClient(ConfluentClient(connection), Hang(arguments.marker))  # type: ignore[assignment]  # by __getattr__
    options = RunOptions(until_end=True, instance_id="one", watchdog=True)
    run_service(make_app(arguments.run).topology(), client, settings, options, service_log({"worker": "one-0"}))


if __name__ == "__main__":
    main()
