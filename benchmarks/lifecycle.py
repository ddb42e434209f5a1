"""The life of one service with many partitions, each a task with state of its own: start, load, a second worker, restart, end.

The workers are `streamkit run` with default settings, each in a process of its own, seen from outside: by their log, their memory
and their processor time. Every record has a key of its own and no window closes before the end, so the state of each task only
grows. At the end a last worker closes everything, and each result is compared with the reference.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from benchmarks import bids
from benchmarks.job import Job, peak_mb
from benchmarks.service import Service
from benchmarks.stage import Stage

RECORDS = 1_000_000
_JOB = "BENCHMARK_JOB"
_PATIENCE_S = 180.0
_IDLE_S = 10.0


@dataclass(slots=True)
class Life:
    """What was seen: a line for each part of it, in order."""

    partitions: int
    figures: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        return [f"{self.partitions:,} partitions: {name} {value:,.6g}" for name, value in self.figures.items()]


class Lifecycle:
    """One app, its topics, and what is measured of its workers."""

    def __init__(self, at: Stage, partitions: int) -> None:
        self._at = at
        self._partitions = partitions
        name = at.name(f"life-{partitions}")
        self._job = Job(at.bootstrap, f"{name}-app", f"{name}-bids", f"{name}-out", RECORDS, partitions)
        at.create({self._job.sink: 4, self._job.source: partitions})
        self._made = bids.one_bid_per_key(RECORDS)
        self._fed = 0
        self._workers: list[Service] = []
        self.life = Life(partitions)

    def _worker(self, instance: str, *options: str) -> Service:
        told = json.dumps(asdict(self._job))
        given = ("--instance-id", instance, "--set", "log_level=DEBUG", *options)
        self._workers.append(Service(self._at.bootstrap, "benchmarks.soak:app", {_JOB: told}, *given))
        return self._workers[-1]

    def _note(self, name: str, value: float) -> None:
        self.life.figures[name] = round(value, 3)
        print(self.life.lines()[-1], flush=True)

    def run(self) -> Life:
        """RuntimeError if a part takes longer than three minutes, or results are wrong."""
        try:
            self._live()
        finally:
            for worker in self._workers:
                if worker.process.poll() is None:
                    worker.process.kill()
        return self.life

    def _live(self) -> None:
        first = self._begin()
        self._load(first, "alone")
        self._note("MB after half of the records", first.memory_mb())
        second = self._join(first)
        self._load(first, "two workers")
        self._leave(first, second)
        first.end()
        self._restart()
        self._finish()

    def _begin(self) -> Service:
        begun = time.monotonic()
        worker = self._worker("one")
        self._until_tasks(worker, self._partitions)
        self._note("s from the start of the process until all tasks run", time.monotonic() - begun)
        self._note("MB with tasks that are empty", worker.memory_mb())
        time.sleep(3)
        before = worker.cpu_s()
        time.sleep(_IDLE_S)
        self._note("idle, % of a processor", 100 * (worker.cpu_s() - before) / _IDLE_S)
        return worker

    def _load(self, worker: Service, name: str) -> None:
        """Half of the records, produced while the workers run, until they are committed."""
        part = slice(self._fed, self._fed + RECORDS // 2)
        self._fed = part.stop
        commits, cpu_s, begun = len(worker.events("commit")), worker.cpu_s(), time.monotonic()
        columns = {of: getattr(self._made, of)[part] for of in self._made.__slots__}
        bids.produce(self._at.bootstrap, replace(self._made, **columns), {self._job.source: self._partitions})
        self._until_committed()
        seconds = time.monotonic() - begun
        took = sorted(each["seconds"] for each in worker.events("commit")[commits:])
        tasks = max(each["tasks"] for each in worker.events("commit")[commits:])
        self._note(f"{name}: k records/s, producing included", RECORDS / 2e3 / seconds)
        self._note(f"{name}: us of processor time per record, of the first", 1e6 * (worker.cpu_s() - cpu_s) / (RECORDS / 2))
        self._note(f"{name}: commits", len(took))
        self._note(f"{name}: most tasks in a commit", tasks)
        self._note(f"{name}: ms of a commit, median", 1e3 * took[len(took) // 2])
        self._note(f"{name}: ms of a commit, most", 1e3 * took[-1])

    def _join(self, first: Service) -> Service:
        begun, before = time.monotonic(), len(first.events("revoked"))
        second = self._worker("two")
        self._until_tasks(second, self._partitions // 2)
        self._note("a second worker joins: s until it runs half of the tasks", time.monotonic() - begun)
        self._tell_restored(second, "a second worker joins")
        if len(first.events("revoked")) == before:
            raise RuntimeError("the first worker gave nothing")
        return second

    def _leave(self, first: Service, second: Service) -> None:
        begun = time.monotonic()
        second.end()
        self._note("the second leaves: s until it has ended", time.monotonic() - begun)
        self._until_tasks(first, self._partitions)
        self._note("the second leaves: s until the first runs all tasks", time.monotonic() - begun)
        self._note("MB with all records in open windows", first.memory_mb())
        self._note("MB at most", peak_mb(first.process.pid))

    def _restart(self) -> None:
        begun = time.monotonic()
        worker = self._worker("one")
        self._until_tasks(worker, self._partitions)
        self._note("restart: s from the start of the process until all tasks run", time.monotonic() - begun)
        rows = self._tell_restored(worker, "restart")
        if rows < RECORDS:
            raise RuntimeError(f"{rows:,} of {RECORDS:,} entries were restored")
        self._note("restart: MB", worker.memory_mb())
        worker.end()

    def _finish(self) -> None:
        begun = time.monotonic()
        worker = self._worker("one", "--until-end")
        worker.end(terminate=False, timeout_s=_PATIENCE_S)
        self._note("end: s of a worker that restores and closes all windows", time.monotonic() - begun)
        self._note("end: ms of a commit, most", 1e3 * max(each["seconds"] for each in worker.events("commit")))
        found = bids.windows_of(self._at.read(self._job.sink))
        wrong = bids.expected(self._made, self._partitions).difference(found)
        if wrong is not None:
            raise RuntimeError(f"{self._partitions} partitions: {wrong}")
        self._note("results, each as the reference has it", len(found))

    def _tell_restored(self, worker: Service, name: str) -> int:
        told = worker.events("restored")
        rows = sum(int(each["rows"]) for each in told)
        self._note(f"{name}: s of restoring", sum(each["seconds"] for each in told))
        self._note(f"{name}: rows restored", rows)
        return rows

    def _until_tasks(self, worker: Service, count: int) -> None:
        """Exactly so many tasks run in it."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := len(at_work(worker))) != count:
            if time.monotonic() > deadline or worker.process.poll() is not None:
                worker.process.kill()
                raise RuntimeError(f"{found:,} of {count:,} tasks run:\n{worker.last_words()}")
            time.sleep(0.1)

    def _until_committed(self) -> None:
        """All that was fed."""
        consumer = Consumer({"bootstrap.servers": self._at.bootstrap, "group.id": self._job.app})
        wanted = [TopicPartition(self._job.source, number) for number in range(self._partitions)]
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while (committed := sum(max(0, tp.offset) for tp in consumer.committed(wanted, 30))) < self._fed:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{committed:,} of {self._fed:,} records were committed within {_PATIENCE_S:.0f} s")
                time.sleep(0.2)
        finally:
            consumer.close()


def at_work(worker: Service) -> set[tuple[str, str]]:
    """The tasks that run in a worker, as topic and partition, by what its log says so far."""
    found: set[tuple[str, str]] = set()
    for line in tuple(worker.lines):
        told: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
        match told.get("event"):
            case "running" | "resumed":
                found |= {_split(task, "/") for task in told["tasks"]}
            case "revoked" | "lost":
                found -= {_split(partition, "-") for partition in told["partitions"]}
    return found


def _split(name: str, by: str) -> tuple[str, str]:
    topic, _, partition = name.rpartition(by)
    return topic, partition
