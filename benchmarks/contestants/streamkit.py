"""streamkit as a user would write it (`pipelines.py`), exactly once, default settings.

The clients are streamkit's own; the subclasses here only look at the clock (once in a poll of some 2,000 records).
"""

from __future__ import annotations

import os
import signal

import streamkit as sk
from benchmarks.contestants.pipelines import PIPELINES
from benchmarks.job import Job, Stopwatch, told
from streamkit.kafka.client import Polled
from streamkit.kafka.confluent import ConfluentClient, ConnectionSettings
from streamkit.kafka.confluent.consumer import GroupConsumer
from streamkit.kafka.confluent.reader import ChangelogReader


def app(job: Job) -> sk.App:
    service = sk.App(job.app)
    PIPELINES[job.pipeline](service, job)
    return service


class WatchedClient(ConfluentClient):
    """Tells the stopwatch of the first poll, the first record and the end; ends a job that has no end of its own."""

    def __init__(self, job: Job, watch: Stopwatch) -> None:
        super().__init__(ConnectionSettings(job.bootstrap))
        self.job = job
        self.watch = watch

    def consumer(self, group_id: str) -> GroupConsumer:
        return WatchedConsumer(self, group_id)

    def reader(self) -> ChangelogReader:
        return WatchedReader(self) if self.job.task == "restore" else super().reader()


class WatchedConsumer(GroupConsumer):
    def __init__(self, client: WatchedClient, group_id: str) -> None:
        super().__init__(client.settings, group_id)
        self._watch = client.watch
        self._left = client.job.records if client.job.task == "fill" else -1
        self._measures = client.job.task != "restore"

    def poll(self, max_records: int, timeout: float) -> Polled:
        if self._measures:
            self._watch.begin()
        polled = super().poll(max_records, timeout)
        if polled.batches and self._measures:
            self._watch.first_record()
            if self._left > 0:
                self._left -= sum(map(len, polled.batches))
                if self._left <= 0:  # the step that is under way finishes and is committed
                    os.kill(os.getpid(), signal.SIGTERM)
        return polled

    def close(self) -> None:  # all is committed
        if self._measures:
            self._watch.end()
        super().close()


class WatchedReader(ChangelogReader):
    """Of the changelog: from its making to the end of the restore."""

    def __init__(self, client: WatchedClient) -> None:
        client.watch.begin()
        client.watch.first_record()
        super().__init__(client.settings)
        self._watch = client.watch

    def close(self) -> None:
        self._watch.end()
        super().close()
        os.kill(os.getpid(), signal.SIGTERM)


class _Kafka:
    def __init__(self, client: WatchedClient) -> None:
        self.client = client


def main() -> None:
    job, watch = told(), Stopwatch()
    app(job).run(broker=_Kafka(WatchedClient(job, watch)), until_end=job.task == "windows")
    watch.tell(job.records)


if __name__ == "__main__":
    main()
