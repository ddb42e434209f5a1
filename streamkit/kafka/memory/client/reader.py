"""A consumer without a group on the embedded cluster."""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.memory.client.fetcher import Fetcher
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.faults import Faults, faulty


class MemoryReader:
    """Implements `Reader`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._fetcher = Fetcher(link)

    @property
    def faults(self) -> Faults:
        return self._link.faults

    @property
    def client_id(self) -> str:
        return self._link.client_id

    @faulty
    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._fetcher.assign(dict(positions), paused=False)

    @faulty
    def poll(self, max_records: int, timeout: float) -> Polled:
        deadline = self._link.clock.monotonic() + timeout
        while True:
            seen = self._link.version
            polled = self._fetcher.fetch(max_records)
            if polled.batches or polled.ends or not self._fetcher.wait(seen, deadline):
                return polled

    @faulty
    def close(self) -> None:
        self._fetcher.assign({}, paused=False)
