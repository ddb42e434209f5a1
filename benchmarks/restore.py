"""`python -m benchmarks.restore`: how quickly a worker has its state back.

One window of a day gets an entry for each of a million keys and never closes; the worker is stopped (SIGTERM) and started again.
What is measured is the restore itself: from the making of the changelog reader to the last row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks import job
from benchmarks.bids import Bids, one_bid_per_key
from benchmarks.job import Job, Measured
from benchmarks.stage import Stage, stage
from tests.support.broker import find_broker

ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Restored:
    """``seconds`` as the worker's own log has it; ``cpu_s`` of all its threads in that time."""

    rows: int
    changelog_records: int
    seconds: float
    cpu_s: float
    peak_mb: int

    def figures(self) -> dict[str, float]:
        return {
            "rows": self.rows,
            "changelog_records": self.changelog_records,
            "seconds": self.seconds,
            "cpu_s": round(self.cpu_s, 3),
            "rows_per_second": round(self.rows / self.seconds),
            "rows_per_cpu_second": round(self.rows / self.cpu_s),
            "peak_mb": self.peak_mb,
        }


def inputs(at: Stage, entries: int = ENTRIES) -> tuple[Bids, dict[str, int]]:
    return one_bid_per_key(entries), {at.name("restore"): 1}


def measure(at: Stage, entries: int = ENTRIES) -> Restored:
    """After `inputs` were produced. RuntimeError if not every entry comes back."""
    return restored(run(at, entries), entries)


def run(at: Stage, entries: int = ENTRIES, *, turn: int = 0) -> Measured:
    """Fills the window, then restores it: the figures of the latter."""
    sink = at.name(f"restore-out-{turn}")
    at.create({sink: 1})
    fill = Job(at.bootstrap, at.name(f"restore-app-{turn}"), at.name("restore"), sink, entries, task="fill", window="1d")
    job.run("streamkit", fill)
    return job.run("streamkit", replace(fill, task="restore"))


def restored(found: Measured, entries: int) -> Restored:
    told = next(event for event in found.events if event.get("event") == "restored")
    if told["rows"] < entries:
        raise RuntimeError(f"{told['rows']:,} of {entries:,} entries were restored")
    return Restored(told["rows"], told["records"], told["seconds"], found.cpu_s, found.peak_mb)


def line(restored: Restored) -> str:
    figures = restored.figures()
    return (
        f"restore: {restored.rows:,} rows in {restored.seconds:.2f} s "
        f"({figures['rows_per_second'] / 1e6:.2f} M/s, {figures['rows_per_cpu_second'] / 1e6:.2f} M per CPU-second, "
        f"{restored.peak_mb} MB at most)"
    )


def main() -> None:
    broker = find_broker(lambda text: print(f"kafka: {text}"))
    try:
        with stage(broker.bootstrap) as at:
            at.fill([inputs(at)])
            print(line(measure(at)))
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
