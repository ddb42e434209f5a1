"""The topics of a run: filled before, read back after, deleted at the end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, PartitionMetadata  # type: ignore[attr-defined]

from benchmarks.bids import JSON, Bids, Form, produce

_FOREVER = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}


class Stage:
    """Names start with one prefix, so that what a run left behind, internal topics included, can be found and deleted."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"bench-{uuid.uuid4().hex[:8]}"
        # Silent: topics of contestants go while they are in its metadata, and the broker at the end goes before it.
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def name(self, what: str) -> str:
        return f"{self.prefix}-{what}"

    def create(self, topics: dict[str, int], *, keeps_bytes: int = -1) -> None:
        """Topic -> partitions. They keep their records whatever the event time: all, or so many bytes of each partition."""
        bounded = {} if keeps_bytes < 0 else {"retention.bytes": str(keeps_bytes), "segment.bytes": str(keeps_bytes // 8)}
        config = _FOREVER | bounded
        made = self._admin.create_topics([NewTopic(name, count, 1, config=config) for name, count in topics.items()])
        for future in made.values():
            future.result(30)
        # The controller has them now, the broker a moment later: a contestant that starts in between would not find them.
        deadline = time.monotonic() + 30
        while any(len(self._partitions(name)) < count for name, count in topics.items()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not know of {', '.join(topics)}")
            time.sleep(0.02)

    def _partitions(self, topic: str) -> dict[int, PartitionMetadata]:
        found = self._admin.list_topics(timeout=10).topics.get(topic)
        return {} if found is None else found.partitions

    def fill(self, inputs: list[tuple[Bids, dict[str, int]]], form: Form = JSON) -> None:
        """Creates the topics of each input and fills them, each input by a process of its own."""
        for _, topics in inputs:
            self.create(topics)
        context = get_context("spawn")
        workers = [context.Process(target=produce, args=(self.bootstrap, made, topics, form)) for made, topics in inputs]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise RuntimeError("the input could not be produced")

    def read(self, topic: str) -> list[bytes]:
        """The values of all committed records."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": self.prefix,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.queue.backoff.ms": 2,
            }
        )
        count = len(self._partitions(topic))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
        # A commit is acknowledged before its markers are written, and until then a reader of committed records is told of an end
        # in front of them.
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(count)}
        values: list[bytes] = []
        ended: set[int | None] = set()
        deadline = time.monotonic() + 60
        while len(ended) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the end of {topic} was not reached")
            messages = consumer.consume(2_000, 0.05)
            errors = list(filter(None, map(Message.error, messages)))
            if errors:
                if any(error.name() != "_PARTITION_EOF" for error in errors):
                    raise KafkaException(errors[0])
                told = [message for message in messages if message.error() is not None]
                ended |= {at.partition() for at in told if (at.offset() or 0) >= ends[at.partition() or 0]}
                messages = [message for message in messages if message.error() is None]
            values.extend(map(Message.value, messages))  # type: ignore[arg-type]
        consumer.close()
        return values

    def clear(self, what: str = "") -> None:
        """Deletes every topic of the run, or those whose names begin so. (Some contestants put a word of their own before.)"""
        start = f"{self.prefix}-{what}"
        mine = [name for name in self._admin.list_topics(timeout=10).topics if start in name]
        if mine:
            for future in self._admin.delete_topics(mine).values():
                future.result(30)


@contextmanager
def stage(bootstrap: str) -> Iterator[Stage]:
    made = Stage(bootstrap)
    try:
        yield made
    finally:
        made.clear()
