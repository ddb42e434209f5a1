"""The floor: reads all records and looks at each value. Nothing on top of confluent-kafka's messages can be quicker."""

from __future__ import annotations

from confluent_kafka import Message

from benchmarks.contestants import tuned
from benchmarks.job import Stopwatch, told


def main() -> None:
    job, watch = told(), Stopwatch()
    consumer = tuned.consumer(job)
    tuned.calm_garbage_collector()
    watch.begin()
    tuned.join(consumer, job)
    read = 0
    while read < job.records:
        messages = consumer.consume(tuned.BATCH, 0.05)
        if messages:
            watch.first_record()
            if any(map(Message.error, messages)):
                raise RuntimeError(next(filter(None, map(Message.error, messages))))
            read += len(list(map(Message.value, messages)))
    watch.end()
    consumer.close()
    watch.tell(job.records)


if __name__ == "__main__":
    main()
