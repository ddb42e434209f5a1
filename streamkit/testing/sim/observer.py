"""What an observer outside sees of each committed transaction: offsets, and the inputs whose effects came with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from streamkit.kafka.memory.cluster import Cluster, LogRecord
from streamkit.kafka.memory.server.broker import Ended
from streamkit.kafka.memory.server.transaction import PREPARED, Transaction
from streamkit.testing.checker import Commit, Source

if TYPE_CHECKING:
    from streamkit.kafka.memory.server.log import ProducerId

SourceOf = Callable[[LogRecord], Source | None]


class Observer:
    """Notes the commits of some transactional ids, in the order in which their offsets became visible.

    Markers are written one by one and later than the decision, so what a transaction holds is read when it is decided.
    """

    def __init__(self, cluster: Cluster, sinks: Iterable[str], source_of: SourceOf, ids: Callable[[], Iterable[str]]) -> None:
        self.commits: list[Commit] = []
        self._cluster = cluster
        self._sinks = tuple(sinks)
        self._source_of = source_of
        self._ids = ids
        self._effects: dict[ProducerId, tuple[Source, ...]] = {}
        self._noted: dict[ProducerId, float] = {}  # the deadline tells a producer's transactions apart
        cluster.observe(self._ended)

    def decided(self) -> None:
        """Called when markers are about to be written, and none of them is."""
        for transactional_id in self._ids():
            found = self._cluster.broker.transactions.find(transactional_id)
            if found is not None and found.state in PREPARED and self._noted.get(found.producer) != found.deadline:
                self._noted[found.producer] = found.deadline
                self._effects[found.producer] = tuple(self._read(found))

    def _read(self, transaction: Transaction) -> Iterable[Source]:
        for tp in transaction.partitions:
            if tp.topic not in self._sinks:
                continue
            opened = self._cluster.broker.log(tp)._open.get(transaction.producer.id)
            for batch in opened.batches if opened is not None else ():
                columns = batch.columns
                for index, (key, value) in enumerate(zip(columns.keys, columns.values, strict=True)):
                    headers = columns.headers[index] if columns.headers is not None else None
                    timestamp = columns.timestamps[index]
                    record = LogRecord(tp.topic, tp.partition, batch.base_offset + index, timestamp, key, value, headers or [])
                    source = self._source_of(record)
                    if source is not None:
                        yield source

    def _ended(self, ended: Ended) -> None:
        effects = self._effects.pop(ended.producer, ())
        if ended.commit and ended.offsets:
            offsets = {tp: committed.offset for tp, committed in ended.offsets.items()}
            now = self._cluster.broker.clock.monotonic()
            self.commits.append(Commit(f"{ended.transactional_id} {tuple(ended.producer)}", offsets, effects, now))
