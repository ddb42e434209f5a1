"""`python -m benchmarks.workers`: one and two worker processes over the same four partitions, by `streamkit run --workers`.

The input lies in the topic before they start, and they run to its end; results are checked. What is measured is from the first
worker that runs to the last that has finished, as their logs have it: the rebalances of the start are in it, the start of
Python is not. The broker is on the same machine, so on few processors two workers share them with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import streamkit as sk
from benchmarks import bids
from benchmarks.contestants import streamkit as contestant
from benchmarks.job import Job
from benchmarks.stage import Stage, stage
from tests.support.broker import find_broker

RECORDS, KEYS, PARTITIONS = 4_000_000, 100, 4
_JOB = "BENCHMARK_JOB"


def app() -> sk.App:
    """What `streamkit run` is given; its topics are in the environment."""
    return contestant.app(Job(**json.loads(os.environ[_JOB])))


def measure(at: Stage, workers: int, expected: bids.Windows) -> float:
    """Seconds from the first task that runs to the last worker that has finished."""
    sink, name = at.name(f"out-{workers}"), at.name(f"app-{workers}")
    at.create({sink: PARTITIONS})
    job = Job(at.bootstrap, name, at.name("bids"), sink, RECORDS, PARTITIONS)
    told = json.dumps({field: getattr(job, field) for field in Job.__slots__})
    streamkit = str(Path(sys.executable).with_name("streamkit"))
    command = [streamkit, "run", "benchmarks.workers:app", "--until-end", "--workers", str(workers)]
    environment = os.environ | {_JOB: told, "KAFKA_BOOTSTRAP_SERVERS": at.bootstrap}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{workers} workers ended with {done.returncode}:\n{done.stderr[-2_000:]}")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    moments = {
        kind: [datetime.fromisoformat(line["timestamp"]) for line in lines if line["event"] == kind]
        for kind in ("running", "finished")
    }
    wrong = expected.difference(bids.windows_of(at.read(sink)))
    if wrong is not None:
        raise RuntimeError(f"{workers} workers: {wrong}")
    return (max(moments["finished"]) - min(moments["running"])).total_seconds()


def main() -> None:
    broker = find_broker(lambda text: print(f"kafka: {text}"))
    try:
        with stage(broker.bootstrap) as at:
            made = bids.bids(RECORDS, KEYS)
            at.fill([(made, {at.name("bids"): PARTITIONS})])
            expected = bids.expected(made, PARTITIONS)
            rates = {workers: RECORDS / measure(at, workers, expected) for workers in (1, 2)}
    finally:
        broker.stop()
    for workers, rate in rates.items():
        print(f"{workers} worker{'s' * (workers > 1)}: {rate / 1e3:,.0f} k records/s")
    print(f"workers: 2/1 {rates[2] / rates[1]:.2f} on {os.cpu_count()} processors, the broker's included")


if __name__ == "__main__":
    main()
