"""The floor with output: reads as `floor`, and writes as many results as the workload has, made beforehand, in transactions of
100 ms. Nothing that reads this input and writes this output with confluent-kafka can be quicker."""

from __future__ import annotations

import time
from itertools import repeat

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.contestants import tuned
from benchmarks.contestants.hand import COMMIT_S, Result
from benchmarks.job import Job, Stopwatch, told

PREPARED = 1_000
AT_MS = 1_700_000_000_000
VALUES = {
    "tumbling": b'{"key":%d,"window_start":"2023-11-14T22:13:20Z","window_end":"2023-11-14T22:13:30Z",'
    b'"count":1,"total":5893301,"highest":5893301}',
    "stateless": b'{"auction":%d,"bidder":39611,"price":9320399}',
}


def prepared(pipeline: str) -> list[Result]:
    return [(VALUES[pipeline] % number, b"%d" % number, AT_MS) for number in range(10_000, 10_000 + PREPARED)]


def run(job: Job, watch: Stopwatch, consumer: Consumer, producer: Producer) -> None:
    results = prepared(job.pipeline)
    read, written, next_commit = 0, 0, time.monotonic() + COMMIT_S
    offsets: dict[int, int] = {}
    producer.begin_transaction()
    while read < job.records:
        messages = consumer.consume(tuned.BATCH, 0.05)
        if messages:
            watch.first_record()
            if any(map(Message.error, messages)):
                raise RuntimeError(str(next(filter(None, map(Message.error, messages)))))
            read += len(list(map(Message.value, messages)))
            offsets |= zip(map(Message.partition, messages), map(Message.offset, messages), strict=True)  # type: ignore[arg-type]
        due = job.outputs * read // job.records - written
        while len(producer) > 400_000:
            producer.poll(0.01)
        for part in repeat(results, due // PREPARED):
            _write(producer, job.sink, part)
        _write(producer, job.sink, results[: due % PREPARED])
        written += due
        if time.monotonic() >= next_commit or read >= job.records:
            positions = [TopicPartition(job.source, p, o + 1) for p, o in offsets.items()]
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
            producer.commit_transaction()
            if read < job.records:
                producer.begin_transaction()
            next_commit = time.monotonic() + COMMIT_S


def _write(producer: Producer, sink: str, results: list[Result]) -> None:
    produce = producer.produce
    for value, key, at_ms in results:
        produce(sink, value, key, -1, None, None, at_ms)


def main() -> None:
    job, watch = told(), Stopwatch()
    producer, consumer = tuned.producer(job), tuned.consumer(job)
    producer.init_transactions(30)
    tuned.calm_garbage_collector()
    watch.begin()
    tuned.join(consumer, job)
    run(job, watch, consumer, producer)
    watch.end()
    consumer.close()
    watch.tell(job.records)


if __name__ == "__main__":
    main()
