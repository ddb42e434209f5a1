"""By hand: confluent-kafka, orjson and dicts, as a competent engineer would write it, exactly once as far as transactions go.

It does less than streamkit: its windows live in memory only (a restart would lose what is open), and a record that does not parse
ends it. `hand_plain.py` is the same with librdkafka's default settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import cast

import orjson
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.bids import OUT_OF_ORDERNESS_MS, SIZE_MS
from benchmarks.contestants import tuned
from benchmarks.job import Job, Stopwatch, told
from benchmarks.references import KEPT_FROM

COMMIT_S = 0.1

Result = tuple[bytes, bytes, int]  # value, key, timestamp


class Windows:
    """Tumbling windows per key with count, total and highest; a record is late by its own partition's largest time before it."""

    def __init__(self, partitions: int) -> None:
        self._open: dict[int, dict[int, list[int]]] = {}  # window start -> key -> [count, total, highest]
        self._seen = dict.fromkeys(range(partitions), -(2**62))
        self.late = 0

    def add(self, partition: int, messages: Sequence[Message]) -> None:
        """Records of one partition, in order."""
        open_windows, loads, seen = self._open, orjson.loads, self._seen[partition]
        for message in messages:
            bid = loads(message.value())  # type: ignore[arg-type]
            at_ms, price = bid["dateTime"], bid["price"]
            start = at_ms - at_ms % SIZE_MS
            if start + SIZE_MS <= seen - OUT_OF_ORDERNESS_MS:
                self.late += 1
                continue
            if at_ms > seen:  # noqa: PLR1730 - max() costs a call
                seen = at_ms
            window = open_windows.get(start)
            if window is None:
                window = open_windows[start] = {}
            auction = int(message.key())  # type: ignore[arg-type]
            state = window.get(auction)
            if state is None:
                window[auction] = [1, price, price]
            else:
                state[0] += 1
                state[1] += price
                if price > state[2]:  # noqa: PLR1730 - max() costs a call
                    state[2] = price
        self._seen[partition] = seen

    def closed(self) -> list[tuple[int, dict[int, list[int]]]]:
        """Takes out the windows that no partition may add to any more, oldest first."""
        through = min(self._seen.values()) - OUT_OF_ORDERNESS_MS - SIZE_MS
        return [(start, self._open.pop(start)) for start in sorted(self._open) if start <= through]

    def rest(self) -> list[tuple[int, dict[int, list[int]]]]:
        return [(start, self._open.pop(start)) for start in sorted(self._open)]

    def results(self, *, at_end: bool = False) -> Iterator[Result]:
        for start, groups in self.rest() if at_end else self.closed():
            head = b',"window_start":"%s","window_end":"%s"' % (_text(start), _text(start + SIZE_MS))
            end = start + SIZE_MS - 1
            for auction, (count, total, highest) in groups.items():
                value = b'{"key":%d%s,"count":%d,"total":%d,"highest":%d}' % (auction, head, count, total, highest)
                yield value, b"%d" % auction, end


class Kept:
    """A filter and a projection: no state."""

    def __init__(self, _: int) -> None:
        self._kept: list[Result] = []

    def add(self, _: int, messages: Sequence[Message]) -> None:
        loads, keep = orjson.loads, self._kept.append
        for message in messages:
            bid = loads(message.value())  # type: ignore[arg-type]
            if bid["price"] >= KEPT_FROM:
                value = b'{"auction":%d,"bidder":%d,"price":%d}' % (bid["auction"], bid["bidder"], bid["price"])
                keep((value, message.key(), bid["dateTime"]))  # type: ignore[arg-type]

    def results(self, *, at_end: bool = False) -> Iterator[Result]:  # noqa: ARG002 - nothing waits for the end
        kept, self._kept = self._kept, []
        return iter(kept)


WORK: dict[str, Callable[[int], Windows | Kept]] = {"tumbling": Windows, "stateless": Kept}


class Service:
    """Reads, aggregates and writes in transactions of 100 ms, ``batch`` records at a time."""

    def __init__(self, job: Job, consumer: Consumer, producer: Producer, batch: int) -> None:
        self._job = job
        self._consumer = consumer
        self._producer = producer
        self._batch = batch
        self._work = WORK[job.pipeline](job.partitions)
        self._offsets: dict[int, int] = {}

    def run(self, watch: Stopwatch) -> None:
        self._producer.begin_transaction()
        read, next_commit = 0, time.monotonic() + COMMIT_S
        while read < self._job.records:
            messages = self._consumer.consume(self._batch, 0.05)
            if messages:
                watch.first_record()
            if any(map(Message.error, messages)):
                raise RuntimeError(str(next(filter(None, map(Message.error, messages)))))
            for partition, run in groupby(messages, Message.partition):
                of_partition = list(run)
                self._work.add(cast("int", partition), of_partition)
                self._offsets[cast("int", partition)] = cast("int", of_partition[-1].offset()) + 1
            read += len(messages)
            self._emit(self._work.results())
            if time.monotonic() >= next_commit:
                self._commit()
                self._producer.begin_transaction()
                next_commit = time.monotonic() + COMMIT_S
        self._emit(self._work.results(at_end=True))
        self._commit()

    def _emit(self, results: Iterator[Result]) -> None:
        produce, sink = self._producer.produce, self._job.sink
        for value, key, at_ms in results:
            while True:
                try:
                    produce(sink, value, key, -1, None, None, at_ms)
                    break
                except BufferError:
                    self._producer.poll(0.05)

    def _commit(self) -> None:
        positions = [TopicPartition(self._job.source, partition, offset) for partition, offset in self._offsets.items()]
        if positions:
            self._producer.send_offsets_to_transaction(positions, self._consumer.consumer_group_metadata())
        self._producer.commit_transaction()


def _text(ms: int) -> bytes:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def serve(job: Job, watch: Stopwatch, consumer: Consumer, producer: Producer, batch: int) -> None:
    """From before the first poll to the last commit."""
    watch.begin()
    tuned.join(consumer, job)
    Service(job, consumer, producer, batch).run(watch)
    watch.end()
    consumer.close()
    watch.tell(job.records)


def main() -> None:
    job, watch = told(), Stopwatch()
    producer, consumer = tuned.producer(job), tuned.consumer(job)
    producer.init_transactions(30)
    tuned.calm_garbage_collector()
    serve(job, watch, consumer, producer, tuned.BATCH)


if __name__ == "__main__":
    main()
