"""Quix Streams as a contestant, in an environment of its own. Settings: see README.md."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import orjson

from benchmarks.job import Job, Stopwatch, told

KEPT_FROM = 9_010_000
CONSUMER = {"fetch.queue.backoff.ms": 2, "queued.min.messages": 50_000, "fetch.message.max.bytes": 2_000_000}
PRODUCER = {"compression.type": "lz4", "linger.ms": 20, "batch.size": 1_000_000, "queue.buffering.max.messages": 500_000}


class Progress:
    """Ends the application when all records are processed; what is under way is committed by its end."""

    def __init__(self, job: Job, watch: Stopwatch) -> None:
        self._left = job.records
        self._watch = watch
        self.application: Any = None

    def processed(self, _topic: str, _partition: int, _offset: int) -> None:
        self._left -= 1
        if self._left <= 0:
            self.application.stop()

    def loads(self, text: bytes) -> Any:
        self._watch.first_record()
        return orjson.loads(text)


def application(job: Job, progress: Progress, directory: Path) -> Any:
    from quixstreams import Application  # type: ignore[import-not-found] # in its own environment

    return Application(
        broker_address=job.bootstrap,
        consumer_group=job.app,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=0.1,
        consumer_extra_config=CONSUMER,
        producer_extra_config=PRODUCER,
        state_dir=directory,
        auto_create_topics=True,
        on_message_processed=progress.processed,
        loglevel="WARNING",
    )


def declare(service: Any, job: Job, progress: Progress) -> None:
    from quixstreams.dataframe.windows import Count, Max, Sum  # type: ignore[import-not-found] # in its own environment
    from quixstreams.models import JSONDeserializer, JSONSerializer  # type: ignore[import-not-found] # in its own environment

    def event_time(value: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
        return int(value["dateTime"])

    source = service.topic(
        job.source,
        key_deserializer="str",
        value_deserializer=JSONDeserializer(loads=progress.loads),
        timestamp_extractor=event_time,
    )
    sink = service.topic(job.sink, key_serializer="str", value_serializer=JSONSerializer(dumps=orjson.dumps))
    bids = service.dataframe(source)
    if job.pipeline == "stateless":
        kept = bids[bids["price"] >= KEPT_FROM][["auction", "bidder", "price"]]
        kept.to_topic(sink)
        return
    figures = {"count": Count(), "total": Sum("price"), "highest": Max("price")}
    results = (
        bids.tumbling_window(10_000, grace_ms=1_000, on_late=lambda *_: False).agg(**figures).final(closing_strategy="partition")
    )
    results.apply(result, metadata=True).to_topic(sink)


def result(value: Any, key: str, _timestamp: int, _headers: Any) -> dict[str, Any]:
    rest = {name: value[name] for name in ("count", "total", "highest")}
    return {"key": int(key), "window_start": value["start"], "window_end": value["end"], **rest}


def main() -> None:
    job, watch = told(), Stopwatch()
    directory = Path(tempfile.mkdtemp(prefix="streamkit-bench-"))
    progress = Progress(job, watch)
    service = progress.application = application(job, progress, directory)
    declare(service, job, progress)
    watch.begin()
    service.run()
    watch.end()
    watch.tell(job.records)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
