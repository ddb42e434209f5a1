"""`python -m benchmarks.pauses`: how long partitions stand still when workers join, leave, are killed, or come back.

A feeder puts a numbered record into every partition 50 times a second; workers pass each on and count it in a window, so that
what moves has state to be restored. What is measured is seen from outside: the longest time between two records of one partition,
as a read_committed consumer of the results gets them, from the event until all go on. Undisturbed that is about a commit.

    join       a third worker comes            kill       kill -9 of one, nobody comes instead
    leave      one of three gets SIGTERM       restart    kill -9 of one, started again at once under its instance id

`--profile default` has the settings' defaults (session 45 s, transactions 30 s; with KIP-848 the brokers' heartbeat of 5 s),
`tuned` is that of docs/operate/rebalancing.md (6 s, 5 s; 1 s).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not say what they re-export
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from rich.console import Console
from rich.table import Table

import streamkit as sk
from tests.support.broker import find_broker

PARTITIONS, EVERY_S, WORKERS = 8, 0.02, ("a", "b", "c")
QUIET_S = 1.0  # all partitions have to go on for so long before an event counts as over


class Beat(sk.Model):
    """A record of the feeder."""

    partition: int
    number: int
    key: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Milliseconds. ``heartbeat_ms``: of the group with KIP-848."""

    name: str
    session_ms: int
    transaction_ms: int
    heartbeat_ms: int


PROFILES = {"default": Profile("default", 45_000, 30_000, 5_000), "tuned": Profile("tuned", 6_000, 5_000, 1_000)}


@dataclass(frozen=True, slots=True)
class Variant:
    """What the workers are run with."""

    protocol: str
    profile: Profile
    static: bool

    def __str__(self) -> str:
        return f"{self.protocol}{', static' if self.static else ''}, {self.profile.name}"


def make_app(run: str) -> sk.App:
    app = sk.App(f"pauses-{run}")
    beats = app.stream(sk.Topic(f"beats-{run}", key=str, value=Beat))
    beats.to(sk.Topic(f"seen-{run}", key=str, value=Beat))
    counted = beats.by_record_key().window(sk.tumbling("1d")).aggregate("counted", n=sk.count(), last=sk.max("number"))
    counted.on_close().to(sk.Topic(f"closed-{run}"))
    return app


# ---- the workers, each a process


class Process:
    """One worker; `wait_for` follows its log."""

    def __init__(self, bootstrap: str, run: str, name: str, variant: Variant) -> None:
        profile = variant.profile
        settings = {
            "transaction_timeout": f"{profile.transaction_ms}ms",
            "session_timeout": f"{profile.session_ms}ms",
            "group_protocol": variant.protocol,
            "static_membership": variant.static,
        }
        command = [sys.executable, "-m", "benchmarks.pauses", "--worker", run, bootstrap, name, json.dumps(settings)]
        self._told: set[str] = set()
        self._news = threading.Condition()
        self.partitions: set[int] = set()
        self.lines: list[str] = []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "POLARS_MAX_THREADS": "1"})
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                if line.startswith("{"):
                    event = json.loads(line)
                    self._told.add(event["event"])
                    if event["event"] == "assigned":
                        self.partitions = {int(name.rpartition("-")[2]) for name in event["partitions"]}
                self._news.notify_all()

    def wait_for(self, event: str, seconds: float) -> None:
        with self._news:
            if not self._news.wait_for(lambda: event in self._told, seconds):
                raise RuntimeError(f"a worker did not tell '{event}' within {seconds:.0f} s:\n{''.join(self.lines[-20:])}")

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)


def run_worker(run: str, bootstrap: str, name: str, settings: str) -> None:
    make_app(run).run(bootstrap_servers=bootstrap, instance_id=name, settings=json.loads(settings))


# ---- what is put in, and what comes out


@contextmanager
def feeding(bootstrap: str, topic: str, keys: int) -> Iterator[None]:
    """First every key once in every partition, for state; then a record for each partition at every beat."""
    stop = threading.Event()
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "enable.idempotence": True})

    def put(partition: int, number: int, key: str) -> None:
        value = b'{"partition":%d,"number":%d,"key":"%s"}' % (partition, number, key.encode())
        producer.produce(topic, value, key.encode(), partition)

    def feed() -> None:
        number = keys
        while not stop.wait(EVERY_S):
            for partition in range(PARTITIONS):
                put(partition, number, f"k{number % keys}")
            number += 1
            producer.poll(0)

    for number in range(keys):
        for partition in range(PARTITIONS):
            put(partition, number, f"k{number}")
        producer.poll(0)
    producer.flush(60)
    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        producer.flush(10)


class Watch:
    """When results of each partition came (monotonic seconds)."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        config = {"bootstrap.servers": bootstrap, "group.id": "watch", "isolation.level": "read_committed"}
        self._consumer = Consumer({**config, "enable.auto.commit": False, "fetch.wait.max.ms": 50})
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        self._came: dict[int, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(1_000, 0.01)
            now = time.monotonic()
            with self._lock:
                for message in messages:
                    if message.error() is None:
                        self._came[json.loads(message.value() or b"")["partition"]].append(now)

    def gaps(self, since: float) -> dict[int, float]:
        """The longest time without a result since then, of each partition; the one that is under way included."""
        now = time.monotonic()
        with self._lock:
            return {partition: _longest(self._came[partition], since, now) for partition in range(PARTITIONS)}

    def wait_for_all(self, since: float, seconds: float) -> None:
        """Until results of every partition have come for a while, beginning after ``since``."""
        deadline = time.monotonic() + seconds
        while not self._go_on(since):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not every partition goes on after {seconds:.0f} s: {self.gaps(since)}")
            time.sleep(0.05)

    def _go_on(self, since: float) -> bool:
        now = time.monotonic()
        with self._lock:
            recent = [[at for at in self._came[partition] if at > max(since, now - QUIET_S)] for partition in range(PARTITIONS)]
        return now > since + QUIET_S and all(len(came) > 3 and now - came[-1] < QUIET_S / 2 for came in recent)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()


def _longest(came: Sequence[float], since: float, now: float) -> float:
    last = max((at for at in came if at <= since), default=since)
    return max(later - earlier for earlier, later in pairwise([last, *(at for at in came if at > since), now]))


# ---- the rounds


@dataclass(slots=True)
class Scene:
    """Workers of one app under one variant; `play` does an event and gives each partition's pause."""

    bootstrap: str
    run: str
    variant: Variant
    watch: Watch
    workers: dict[str, Process] = field(default_factory=dict)

    @property
    def patience_s(self) -> float:
        return 60 + 2 * self.variant.profile.session_ms / 1000

    def start(self, name: str) -> None:
        self.workers[name] = Process(self.bootstrap, self.run, name, self.variant)
        self.workers[name].wait_for("running", self.patience_s)

    def play(self, event: str) -> dict[str, list[float]]:
        """Pauses by what they are of: partitions that move to or from the third worker, and those that stay where they are."""
        since = time.monotonic()
        moved: set[int] = set()
        if event != "join":
            worker = self.workers.pop("c")
            moved = worker.partitions
            worker.end(signal.SIGTERM if event == "leave" else signal.SIGKILL)
        if event in ("join", "restart"):
            self.start("c")
            moved = moved or self.workers["c"].partitions
        self.watch.wait_for_all(time.monotonic(), self.patience_s)
        gaps = self.watch.gaps(since)
        return {
            f"{event}, its partitions": [gap for partition, gap in gaps.items() if partition in moved],
            f"{event}, others": [gap for partition, gap in gaps.items() if partition not in moved],
        }

    def settle(self) -> None:
        self.watch.wait_for_all(time.monotonic(), self.patience_s)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()


def measure(bootstrap: str, variant: Variant, rounds: int, keys: int, told: Callable[[str], None]) -> dict[str, list[float]]:
    """Pauses of all partitions in all rounds, by event; ``none`` is a while without any."""
    run = secrets.token_hex(4)
    broker = sk.Broker.at(bootstrap)
    for name in ("beats", "seen", "closed"):
        broker.create_topic(f"{name}-{run}", partitions=PARTITIONS)
    _set_group(bootstrap, f"pauses-{run}", variant.profile)
    found: dict[str, list[float]] = defaultdict(list)
    watch = Watch(bootstrap, f"seen-{run}")
    scene = Scene(bootstrap, run, variant, watch)
    try:
        with feeding(bootstrap, f"beats-{run}", keys):
            scene.start("a")
            scene.start("b")
            scene.settle()
            since = time.monotonic()
            time.sleep(5)
            found["none"] += watch.gaps(since).values()
            for number in range(rounds):
                for event in ("join", "leave", "join", "restart", "kill"):
                    pauses = scene.play(event)
                    for which, seconds in pauses.items():
                        found[which] += seconds
                    told(f"{variant}: round {number + 1}, {event}: {max(map(max, filter(None, pauses.values()))):.2f} s")
                    scene.settle()
    finally:
        scene.close()
        watch.close()
    return found


def _set_group(bootstrap: str, group: str, profile: Profile) -> None:
    """With KIP-848 these are the brokers' settings of the group."""
    wanted = {"consumer.session.timeout.ms": profile.session_ms, "consumer.heartbeat.interval.ms": profile.heartbeat_ms}
    entries = [ConfigEntry(name, str(ms), incremental_operation=AlterConfigOpType.SET) for name, ms in wanted.items()]
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def show(results: dict[Variant, dict[str, list[float]]], rounds: int) -> None:
    table = Table(title=f"the longest pause of a partition, in seconds; {PARTITIONS} partitions x {rounds} rounds")
    for column in ("workers", "event", "p50", "p99", "max"):
        table.add_column(column, justify="left" if column in ("workers", "event") else "right")
    for variant, found in results.items():
        for event, unsorted in found.items():
            pauses = sorted(unsorted)
            p99 = pauses[min(len(pauses) - 1, round(0.99 * (len(pauses) - 1)))]
            table.add_row(str(variant), event, f"{statistics.median(pauses):.2f}", f"{p99:.2f}", f"{pauses[-1]:.2f}")
    Console(width=100).print(table)


def variants(names: Sequence[str], profiles: Sequence[str]) -> list[Variant]:
    return [Variant(name.removesuffix("-static"), PROFILES[p], name.endswith("-static")) for p in profiles for name in names]


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        run_worker(*sys.argv[2:6])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=10_000, help="of each partition's state")
    parser.add_argument("--profile", action="append", choices=sorted(PROFILES))
    parser.add_argument("--variant", action="append", choices=["classic", "classic-static", "consumer", "consumer-static"])
    given = parser.parse_args()
    chosen = variants(given.variant or ["classic", "classic-static", "consumer"], given.profile or ["default", "tuned"])
    broker = find_broker(lambda text: print(f"kafka: {text}"))
    try:
        results = {
            variant: measure(broker.bootstrap, variant, given.rounds, given.keys, lambda text: print(text, flush=True))
            for variant in chosen
        }
    finally:
        broker.stop()
    show(results, given.rounds)


if __name__ == "__main__":
    main()
