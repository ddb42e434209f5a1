"""`streamkit explain` on a real Kafka: while a worker runs, after it was stopped, and after it has gone on."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk

APP = """
import streamkit as sk

app = sk.App("explained-{run}")
rows = app.stream(sk.Topic("rows-{run}"), event_time=sk.event_time("at", out_of_orderness="5s"))
rows.key_by("item").window(sk.tumbling("10m")).aggregate("counts", n=sk.count()).on_close().to(sk.Topic("counts-{run}"))
"""
STREAMKIT = str(Path(sys.executable).with_name("streamkit"))


class Case:
    """An app of its own, over topics of its own."""

    def __init__(self, bootstrap: str, place: Path) -> None:
        self.run, self.place, self.bootstrap = secrets.token_hex(4), place, bootstrap
        (place / "explained.py").write_text(APP.format(run=self.run))
        self.broker = sk.Broker.at(bootstrap)
        for name in ("rows", "counts"):
            self.broker.create_topic(f"{name}-{self.run}", partitions=2)

    def send(self, partition: int, at: str) -> None:
        self.broker.send(sk.Topic(f"rows-{self.run}"), sk.Row(at=f"2020-04-15T{at}Z", item="A"), partition=partition)

    def start(self) -> subprocess.Popen[bytes]:
        command = [STREAMKIT, "run", "explained:app", "--bootstrap-servers", self.bootstrap, "--set", "commit_interval=50ms"]
        with (self.place / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.place, stderr=log, env=os.environ | {"POLARS_MAX_THREADS": "1"})

    def inspected(self, tasks: int) -> list[dict[str, Any]]:
        """What the worker tells of so many tasks."""
        deadline = time.monotonic() + 30
        while True:
            whole, _, _ = (self.place / "log").read_text().rpartition("\n")  # the worker may be writing a line
            lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
            if len(found := [line for line in lines if line["event"] == "inspected"]) == tasks:
                return found
            assert time.monotonic() < deadline, lines
            time.sleep(0.1)

    def explain(self, window: str = "A@2020-04-15T08:00:00Z") -> dict[str, Any]:
        command = [STREAMKIT, "explain", "explained:app", "--window", window, "--json", "--bootstrap-servers", self.bootstrap]
        done = subprocess.run(command, cwd=self.place, capture_output=True, text=True, timeout=60, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {"state": f"exit {done.returncode}", "sentence": done.stderr}

    def wait_for(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while not holds(found := self.explain()):
            assert time.monotonic() < deadline, found
        return found


@pytest.mark.timeout(200)
def test_explain_with_and_without_a_worker(real_broker: str, tmp_path: Path) -> None:
    case = Case(real_broker, tmp_path)
    unstarted = case.explain()
    assert unstarted["state"] == "exit 1"
    assert "has committed nothing on" in unstarted["sentence"]
    for partition, at in ((0, "08:01:00"), (1, "08:02:00"), (0, "08:30:00")):
        case.send(partition, at)
    worker = case.start()
    try:
        at = "2020-04-15T08:01:54.999Z"  # by what the worker has read; before, other positions are told
        found = case.wait_for(
            lambda each: f"/0 is at {at}, " in each["sentence"] and f" has told {at} through" in each["sentence"]
        )
        assert (found["state"], found["result"]["n"]) == ("open", 2)
        assert f"and is held back by rows-{case.run}-1: its latest record is of 2020-04-15T08:02:00Z" in found["sentence"]
        assert f"once rows-{case.run}-1 has a record of 2020-04-15T08:10:05Z or later" in found["sentence"]
        worker.send_signal(signal.SIGUSR1)
        held = {told["task"]: told["held_back_by"] for told in case.inspected(4)}
        assert held[f"rows-{case.run}-by-item/0"] == f"rows-{case.run}/1"
        assert held[f"rows-{case.run}/1"] == f"rows-{case.run}-1"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert case.explain()["sentence"] == found["sentence"]
        case.send(1, "08:10:05")
        assert "wait in it unread (does a worker run" in case.explain()["sentence"]
    finally:
        worker.kill()
        worker.wait(10)
    worker = case.start()
    try:
        assert "is closed: the watermark has passed" in case.wait_for(lambda each: each["state"] == "closed")["sentence"]
    finally:
        worker.kill()
        worker.wait(10)
