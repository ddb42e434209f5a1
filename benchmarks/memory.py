"""`python -m benchmarks.memory`: bytes per entry of window state, by key, window and aggregate; the engine alone, no Kafka.

An entry is a key in a window (of sessions: a session). Counted is the state of the task as `streamkit.state.footprint` walks it:
keys and their index, cells, what is marked as changed, the directory of the changelog's blocks; and beside it what the process
grew by, the changelog records that the embedded broker keeps and what the allocator has not given back included. Arrays have room
to grow, so it is told for several sizes. (A bar: at most 200 bytes per window entry; tests/unit/state/test_bytes_per_entry.py.)
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

import streamkit as sk

ENTRIES = (100_000, 131_000, 140_000)
NUMBERS: dict[str, Any] = {"count": sk.count(), "total": sk.sum("value"), "highest": sk.max("value")}


class Event(sk.Model):
    at: int
    value: int
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    key: type
    window: Any
    outputs: dict[str, Any]


CASES = (
    Case("int key, count/sum/max, tumbling", int, lambda: sk.tumbling("1d"), NUMBERS),
    Case("text key, count/sum/max, tumbling", str, lambda: sk.tumbling("1d"), NUMBERS),
    Case("int key, count, tumbling", int, lambda: sk.tumbling("1d"), {"count": sk.count()}),
    Case("int key, count/sum/max, session", int, lambda: sk.session("1h"), NUMBERS),
    Case("text key, count/sum/max, session", str, lambda: sk.session("1h"), NUMBERS),
    Case("int key, collect of 1 text, tumbling", int, lambda: sk.tumbling("1d"), {"texts": sk.collect("text", limit=5)}),
)


def measure(case: Case, entries: int) -> tuple[float, float]:
    """Bytes per entry as counted, and as the process grew."""
    app = sk.App("memory")
    source: sk.Topic[Any, Event] = sk.Topic("in", key=case.key, value=Event)
    events = app.stream(source, event_time=sk.event_time("at"))
    events.by_record_key().window(case.window()).aggregate("entries", **case.outputs).on_close().to(sk.Topic("out"))
    with sk.TestDriver(app, settings=sk.EngineSettings()) as driver:
        for number in range(entries):
            key = b"%d" % (number * 7_919) if case.key is int else b"customer-%d" % number
            driver.cluster.append("in", b'{"at":1700000000000,"value":%d,"text":"text-%d"}' % (number, number), key, 0)
        gc.collect()
        before = _resident()
        driver.settle()
        gc.collect()
        grown = _resident() - before
        return sum(driver.worker.state_bytes().values()) / entries, grown / entries


def _resident() -> int:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True).stdout
    return int(shown) * 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--one", nargs=2, type=int, metavar=("CASE", "ENTRIES"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one is not None:  # in a process of its own: memory that was freed would hide what is taken
        counted, grown = measure(CASES[given.one[0]], given.one[1])
        print(counted, grown)
        return
    table = Table(title=f"bytes per entry at {', '.join(f'{each:,}' for each in ENTRIES)} entries")
    for column in ("", "least", "most", "most, as the process grew"):
        table.add_column(column, justify="right" if column else "left")
    for number, case in enumerate(CASES):
        found = [_in_own_process(number, entries) for entries in ENTRIES]
        table.add_row(case.name, *(f"{each:.0f}" for each in (min(found)[0], max(found)[0], max(each[1] for each in found))))
    Console().print(table)


def _in_own_process(case: int, entries: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.memory", "--one", str(case), str(entries)]
    counted, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(counted), float(grown)


if __name__ == "__main__":
    main()
