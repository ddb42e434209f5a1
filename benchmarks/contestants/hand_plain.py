"""By hand as it is written at first: the loop of `hand.py` with librdkafka's and Python's defaults, 1,000 records a call."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer

from benchmarks.contestants.hand import serve
from benchmarks.job import Stopwatch, told

BATCH = 1_000


def main() -> None:
    job, watch = told(), Stopwatch()
    producer = Producer({"bootstrap.servers": job.bootstrap, "transactional.id": job.app})
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.app,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,  # positions go into the transactions
            "isolation.level": "read_committed",
        }
    )
    producer.init_transactions(30)
    serve(job, watch, consumer, producer, BATCH)


if __name__ == "__main__":
    main()
