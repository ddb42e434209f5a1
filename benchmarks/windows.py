"""`python -m benchmarks.windows`: what a record costs by the kind of window, as a ratio to tumbling.

The engine runs on the embedded broker, in this process: what is measured is decoding, windows, changelog blocks and the writing
of results, without a Kafka beside it. Every kind gets the same records; kinds take turns, and the median of the rounds counts.
Hopping and cumulating windows give 60 results where tumbling ones give one, rolling ones give one for each record and sliding
ones two, so results are counted beside the costs. Those of rolling and sliding windows are mostly the writing of results.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

import streamkit as sk

RECORDS = 200_000
KEYS = 100
ROUNDS = 3
STEP_MS = 1  # event time from record to record: 1,000 records a second

WINDOWS: dict[str, Any] = {
    "tumbling 60 s": lambda: sk.tumbling("60s"),
    "hopping 60 s / 1 s": lambda: sk.hopping("60s", hop="1s"),
    "cumulating 60 s / 1 s": lambda: sk.cumulating("60s", step="1s"),
    "session 10 s": lambda: sk.session("10s"),
    "session 50 ms (one per record)": lambda: sk.session("50ms"),
    "rolling 10 s": lambda: sk.rolling("10s"),
    "sliding 10 s": lambda: sk.sliding("10s"),
    "rolling 60 s": lambda: sk.rolling("60s"),
    "calendar day": lambda: sk.calendar("day", tz="Europe/Tallinn"),
    "count 600": lambda: sk.count_window(600),
    "count 600 / 10": lambda: sk.count_window(600, every=10),
    "tumbling 60 s, on_update()": lambda: sk.tumbling("60s"),
    "session 10 s, on_update()": lambda: sk.session("10s"),
    "global, on_update()": sk.global_window,
}


class Event(sk.Model):
    at: datetime
    value: int


EVENTS = sk.Topic("events", key=int, value=Event)


def make_app(name: str) -> sk.App:
    app = sk.App("windows")
    events = app.stream(EVENTS, event_time=sk.event_time("at", out_of_orderness="1s"))
    totals = (
        events.by_record_key()
        .window(WINDOWS[name]())
        .aggregate("totals", n=sk.count(), total=sk.sum("value"), high=sk.max("value"))
    )
    (totals.on_update() if "on_update" in name else totals.on_close()).to(sk.Topic("results"))
    return app


def payloads(records: int) -> list[bytes]:
    base = datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000
    values = []
    for number in range(records):
        moment = datetime.fromtimestamp((base + number * STEP_MS) / 1000, UTC).isoformat().replace("+00:00", "Z")
        values.append(b'{"at":"%s","value":%d}' % (moment.encode(), number % 1000))
    return values


def measure(name: str, values: list[bytes]) -> tuple[float, int]:
    """Processor seconds for all records, and how many results there were."""
    with sk.TestDriver(make_app(name), settings=sk.EngineSettings()) as driver:
        for number, value in enumerate(values):
            driver.cluster.append("events", value, b"%d" % (number % KEYS), 0)
        begun = time.process_time()
        driver.settle()
        spent = time.process_time() - begun
        driver.end_of_input()
        found = len(driver.cluster.read("results"))
    if not found:
        raise RuntimeError(f"{name}: no results")
    return spent, found


def main() -> None:
    values = payloads(RECORDS)
    measure("tumbling 60 s", values[:20_000])  # imports and caches
    spent: dict[str, list[float]] = {name: [] for name in WINDOWS}
    results: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name in WINDOWS:
            seconds, results[name] = measure(name, values)
            spent[name].append(seconds)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    least = medians["tumbling 60 s"]
    table = Table(title=f"{RECORDS:,} records, {KEYS} keys, engine only (embedded broker), median of {ROUNDS}")
    for column in ("window", "µs per record", "ratio to tumbling", "results"):
        table.add_column(column, justify="left" if column == "window" else "right")
    for name, seconds in medians.items():
        table.add_row(name, f"{seconds / RECORDS * 1e6:.2f}", f"{seconds / least:.2f}", f"{results[name]:,}")
    Console().print(table)
    ratios = "  ".join(f"{name}: {medians[name] / least:.2f}" for name in list(WINDOWS)[1:])
    print(f"windows: {ratios}")


if __name__ == "__main__":
    main()
