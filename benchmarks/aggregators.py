"""`python -m benchmarks.aggregators`: what a record costs by the aggregator, as a ratio to sum.

As for windows (`benchmarks/windows.py`) the engine runs alone on the embedded broker, processor time counts, kinds take turns,
and the median of the rounds counts. One output in a tumbling window of a minute over 100 keys; every value is another.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

import streamkit as sk
from benchmarks.windows import EVENTS, KEYS, ROUNDS, Event

RECORDS = 100_000


class Range(sk.Model):
    low: int = 2**62
    high: int = -(2**62)


def wider(state: Range, value: int) -> Range:
    state.low, state.high = min(state.low, value), max(state.high, value)
    return state


def together(one: Range, other: Range) -> Range:
    return Range(min(one.low, other.low), max(one.high, other.high))


def later(one: Event, other: Event) -> Event:
    return max(one, other, key=lambda event: event.at)


def payloads(records: int) -> list[bytes]:
    base = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [(base + timedelta(milliseconds=number)).isoformat().encode() for number in range(records)]
    return [b'{"at":"%s","value":%d}' % (moment, number * 7_919 % 1_000_003) for number, moment in enumerate(moments)]


spread = sk.aggregator("spread", init=Range, add=wider, merge=together)
OUTPUTS: dict[str, Any] = {
    "sum": sk.sum("value"),
    "mean": sk.mean("value"),
    "max": sk.max("value"),
    "variance": sk.variance("value"),
    "last": sk.last("value"),
    "collect, limit 100": sk.collect("value", limit=100),
    "count_distinct": sk.count_distinct("value"),
    "approx_count_distinct": sk.approx_count_distinct("value"),
    "median": sk.median("value"),
    "top_k of 10 values": sk.top_k(10, by="value", x="value"),
    "top_k of 10 rows": sk.top_k(10, by="value"),
    "reduce of values": sk.reduce(max, "value"),
    "reduce of rows": sk.reduce(later),
    "aggregator": spread("value"),
}


def measure(name: str, values: list[bytes]) -> float:
    """Processor seconds for all records."""
    app = sk.App("aggregators")
    events = app.stream(EVENTS, event_time=sk.event_time("at", out_of_orderness="1s"))
    events.by_record_key().window(sk.tumbling("60s")).aggregate("agg", out=OUTPUTS[name]).on_close().to(sk.Topic("results"))
    with sk.TestDriver(app, settings=sk.EngineSettings()) as driver:
        for number, value in enumerate(values):
            driver.cluster.append("events", value, b"%d" % (number % KEYS), 0)
        begun = time.process_time()
        driver.settle()
        driver.end_of_input()
        return time.process_time() - begun


def main() -> None:
    values = payloads(RECORDS)
    measure("sum", values[:20_000])  # imports and caches
    spent: dict[str, list[float]] = {name: [] for name in OUTPUTS}
    for _ in range(ROUNDS):
        for name in OUTPUTS:
            spent[name].append(measure(name, values))
    medians = {name: statistics.median(times) for name, times in spent.items()}
    table = Table(title=f"{RECORDS:,} records, {KEYS} keys, engine only (embedded broker), median of {ROUNDS}")
    for column in ("aggregator", "µs per record", "ratio to sum"):
        table.add_column(column, justify="left" if column == "aggregator" else "right")
    for name, seconds in medians.items():
        table.add_row(name, f"{seconds / RECORDS * 1e6:.2f}", f"{seconds / medians['sum']:.2f}")
    Console().print(table)
    print("aggregators: " + "  ".join(f"{name}: {medians[name] / medians['sum']:.2f}" for name in list(OUTPUTS)[1:]))


if __name__ == "__main__":
    main()
