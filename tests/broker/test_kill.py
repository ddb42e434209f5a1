"""kill -9 of the worker in mid-stream, on real Kafka: what a read_committed reader sees equals the reference."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import streamkit as sk
from tests.support import second_attempt
from tests.support.apps.totals import OUT_OF_ORDERNESS_MS, SIZE_MS
from tests.support.workload import Expected, feeder, generate, tumbling_reference

ROOT = Path(__file__).parents[2]
EVENTS, KEYS, PARTITIONS, KILLS = 200_000, 1_000, 4, 10
SEED = int(os.environ.get("STREAMKIT_TEST_SEED", "4711"))


class Service:
    """The app in a process of its own; `phase` follows its log."""

    def __init__(self, bootstrap: str, run: str, *arguments: str, app: str = "totals") -> None:
        self.lines: list[str] = []
        self.running = threading.Event()
        command = [sys.executable, "-m", f"tests.support.apps.{app}", "--bootstrap", bootstrap, "--run", run, *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "POLARS_MAX_THREADS": "1"}
        )
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        assert self.process.stderr is not None  # asked for
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                if '"running"' in line:
                    self.running.set()

    def kill(self, number: int = signal.SIGKILL) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def ended(self, seconds: float) -> int | None:
        """Its exit code; None if it has not ended within that time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def text(self) -> str:
        self._reader.join(5)
        return "".join(self.lines[-40:])


@pytest.mark.timeout(300)
def test_kill_minus_nine_loses_and_doubles_nothing(real_broker: str) -> None:
    run = secrets.token_hex(4)
    rng = random.Random(SEED)
    events = generate(EVENTS, keys=KEYS, partitions=PARTITIONS, seed=SEED)
    expected = tumbling_reference(events, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS)
    assert len(expected.late) > EVENTS // 200  # the workload does have late records
    broker = sk.Broker.at(real_broker)
    for name in ("events", "totals", "late"):
        broker.create_topic(f"{name}-{run}", partitions=PARTITIONS)
    with feeder(real_broker, f"events-{run}", events, seconds=30) as feeding:
        for number in range(KILLS):
            service = Service(real_broker, run)
            if number % 3 != 2:  # every third is killed wherever it is: starting, restoring
                assert service.running.wait(60), service.text()
            time.sleep(rng.uniform(0.0, 1.5))
            assert service.kill() == -signal.SIGKILL, service.text()
        feeding.join(60)
    last = Service(real_broker, run, "--until-end")
    try:
        assert last.ended(120) == 0, last.text()
    finally:
        last.kill()
    check(broker, run, expected)


def check(broker: sk.Broker, run: str, expected: Expected) -> None:
    results = broker.read(sk.Topic(f"totals-{run}"))
    found = Counter((r.value.key, _ms(r.value.window_start)) for r in results)
    doubled = [group for group, times in found.items() if times > 1]
    windows = {(r.value.key, _ms(r.value.window_start)): (r.value.n, r.value.total, r.value.high) for r in results}
    late = Counter(json.loads(json.dumps(r.value))["number"] for r in broker.read(sk.Topic(f"late-{run}")))
    with second_attempt.results():
        assert not doubled, f"{len(doubled)} windows came twice, such as {doubled[:3]}"
        assert not [number for number, times in late.items() if times > 1]
        assert windows == expected.windows
        assert set(late) == expected.late


def _ms(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * 1000)
