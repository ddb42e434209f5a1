"""Settings of confluent-kafka for contestants without a framework: what streamkit found to be quick, so that its settings are no
advantage over theirs."""

from __future__ import annotations

import gc
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.job import Job

BATCH = 2_000  # records per call: they stay in the processor's cache


def consumer(job: Job) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.app,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 2,  # the default, 1000, sleeps a second whenever the local queue is full
            "queued.min.messages": 50_000,
            "queued.max.messages.kbytes": 65_536,
            "fetch.message.max.bytes": 2_000_000,
        }
    )


def producer(job: Job) -> Producer:
    return Producer(
        {
            "bootstrap.servers": job.bootstrap,
            "transactional.id": job.app,
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 524_288,
            "delivery.report.only.error": True,
        }
    )


def join(group: Consumer, job: Job) -> None:
    """Waits for the partitions of the topic, reading nothing."""
    assigned: list[TopicPartition] = []
    group.subscribe([job.source], on_assign=lambda _, partitions: assigned.extend(partitions))
    deadline = time.monotonic() + 30
    while len(assigned) < job.partitions:
        if group.consume(1, 0):
            raise RuntimeError("a record before the assignment was seen")
        if time.monotonic() > deadline:
            raise RuntimeError("the group gave no partitions")
        time.sleep(0.001)


def calm_garbage_collector() -> None:
    """The default thresholds triple the cost of consuming."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
