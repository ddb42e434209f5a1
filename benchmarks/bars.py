"""The bars that streamkit has set itself: a figure of the results and what it must be. Rates are records per CPU-second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from benchmarks.results import Results


class Verdict(Enum):
    MET = "met"
    NOT_MET = "NOT met"
    UNKNOWN = "not measured in one run"


@dataclass(frozen=True, slots=True)
class Bar:
    """``at_least`` or at most ``needed``; ``name`` is short, for the line at the end."""

    name: str
    text: str
    needed: float
    value: Callable[[Results], float | None]
    at_least: bool = True

    def verdict(self, results: Results) -> Verdict:
        value = self.value(results)
        if value is None:
            return Verdict.UNKNOWN
        return Verdict.MET if (value >= self.needed if self.at_least else value <= self.needed) else Verdict.NOT_MET

    def told(self, results: Results) -> str:
        """`w1-100/kafka-streams 5.20 of 4 (met)`."""
        value = self.value(results)
        figure = "?" if value is None else f"{value:.2f}"
        return f"{self.name} {figure} {'>=' if self.at_least else '<='} {self.needed:g} {self.verdict(results).value}"

    def figures(self, results: Results) -> dict[str, Any]:
        value = self.value(results)
        rounded = None if value is None else round(value, 3)
        return {"bar": self.name, "needed": self.needed, "at_least": self.at_least, "value": rounded} | {
            "verdict": self.verdict(results).value
        }


def _against(workload: str, other: str, needed: float, title: str) -> Bar:
    def value(results: Results) -> float | None:
        return results.ratio(workload, "streamkit", other)

    return Bar(f"{workload}/{other}", title, needed, value)


def _cost(workload: str, base: str, needed: float, title: str) -> Bar:
    """Processor time per record, as a multiple of another workload's."""

    def value(results: Results) -> float | None:
        return results.ratio(base, "streamkit", "streamkit", of=workload)

    return Bar(f"{workload}/{base}", title, needed, value, at_least=False)


def _kept(workload: str, base: str, needed: float, title: str) -> Bar:
    def value(results: Results) -> float | None:
        return results.ratio(workload, "streamkit", "streamkit", of=base)

    return Bar(f"{workload}/{base}", title, needed, value)


def _functions(results: Results) -> float | None:
    """Microseconds per record more than the same work with expressions: all seven fields decoded, a call, a row."""
    with_calls, without = results.rate("functions", "streamkit"), results.rate("stateless", "streamkit")
    if not (with_calls and without and results.together(("functions", "streamkit"), ("stateless", "streamkit"))):
        return None
    return 1e6 / with_calls - 1e6 / without


def _restore(results: Results) -> float | None:
    rate = results.rate("restore", "streamkit")
    return rate / 1e6 if rate else None


BARS = (
    _against("w1-100", "floor", 0.4, "W1, 100 keys: of raw consuming"),
    _against("w1-100", "hand-plain", 1.7, "W1, 100 keys: a hand-written loop with default settings"),
    _against("w1-100", "hand", 1.7, "W1, 100 keys: a hand-written loop with streamkit's client and collector settings"),
    _against("w1-100", "kafka-streams", 4, "W1, 100 keys: Kafka Streams (suppress)"),
    _against("w1-100", "flink", 3.5, "W1, 100 keys: Flink SQL"),
    _against("w1-100", "quix", 18, "W1, 100 keys: Quix Streams"),
    _kept("w1-100-4p", "w1-100", 0.8, "W1, 100 keys: 4 partitions against 1"),
    _against("w1-100k", "hand-plain", 1.8, "W1, 100,000 keys: a hand-written loop with default settings"),
    _against("w1-100k", "hand", 1.8, "W1, 100,000 keys: the tuned hand-written loop"),
    _against("w1-100k", "kafka-streams", 11, "W1, 100,000 keys: Kafka Streams (suppress)"),
    _against("w1-100k", "flink", 7, "W1, 100,000 keys: Flink SQL"),
    _against("w1-100k", "quix", 28, "W1, 100,000 keys: Quix Streams"),
    _cost("hopping", "w1-100", 2, "cost of a record: hopping, size/hop = 60, as a multiple of tumbling"),
    _cost("session", "w1-100", 3, "cost of a record: sessions, as a multiple of tumbling"),
    _cost("strings", "w1-100-1m", 1.5, "cost of a record: text keys, as a multiple of int keys"),
    _against("stateless", "hand-plain", 1.3, "filter and project: a hand-written loop with default settings"),
    _against("stateless", "hand", 1.3, "filter and project: the tuned hand-written loop"),
    _against("stateless", "kafka-streams", 3, "filter and project: Kafka Streams"),
    Bar("functions-us", "functions: microseconds per record more than with expressions", 1.5, _functions, at_least=False),
    Bar("restore-m", "restore: million window entries per CPU-second", 2, _restore),
    _kept("w1-1024-256p", "w1-1024-4p", 0.7, "256 partitions in one worker against 4"),
)

ELSEWHERE = {
    "at most 200 bytes per window entry": "a test of the window store",
    "latency, p99 at 100 records/s, under the commit interval + 30 ms": "a benchmark of its own, not part of this suite",
    "metrics, logging and error handling cost at most 5 %": "a benchmark of its own; in this suite they are on",
}


def line(results: Results) -> str:
    """The last line of a run."""
    counts = {verdict: sum(bar.verdict(results) is verdict for bar in BARS) for verdict in Verdict}
    summary = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
    return f"bench: {'; '.join(bar.told(results) for bar in BARS)} ({summary})"
