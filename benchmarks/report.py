"""The page and the picture of the suite's results: docs/benchmarks.md and docs/benchmarks.svg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console
from rich.table import Table

from benchmarks.bars import BARS, ELSEWHERE, Verdict
from benchmarks.contestants.catalogue import CONTESTANTS
from benchmarks.results import Results, Run
from benchmarks.workloads import WORKLOADS, Workload

HEADINGS = (
    "contestant",
    "k/CPU-s",
    "streamkit is",
    "k/s",
    "k/CPU-s, whole process",
    "start, s",
    "peak MB",
    "results",
    "records",
    "turns",
)
COMPARED = ("w1-100", "w1-100k", "stateless")

INTRODUCTION = """\
# Benchmarks

<!-- Written by benchmarks/report.py (make bench) from benchmarks/results.json: change those. -->

streamkit beside other ways to do the same work, on one real Kafka, with ratios of one run only. `make bench` measures it anew,
`make bench-quick` the most important of it in two minutes. [benchmarks/README.md](../benchmarks/README.md) says how it is
measured, [benchmarks/contestants](../benchmarks/contestants/README.md) who takes part, with which settings and why.

![records per CPU-second of all contestants](benchmarks.svg)

**k/CPU-s** is the figure to compare: thousand records per second of processor time, user and system, of all threads of the
contestant, from before its first poll to the last commit. It hardly depends on how busy the broker is, which runs on the same
processors. *Whole process* counts the start and the end of the process, too; *k/s* is by the clock, from the first record to
the last commit; *start* is from the start of the process to its first record. Medians of the turns. "*streamkit is*": its
records per CPU-second as a multiple; empty where it was measured in another run.
"""

CAVEATS = """\
## How to read it

- Ratios of one run are worth more than figures: on other machines all of them are others. Turns of one contestant lie
  mostly within 10 % of each other, a few 20 to 30 % apart; ratios inherit that.
- Every turn finds its input in the broker's page cache: it is read once before, unless the turn before read the same.
- All results are checked against a reference in numpy, row by row. A contestant with wrong results is reported as failed.
  Flink and Quix may take a record as in time that the others find late (Flink looks at its watermark every 200 ms of the
  clock, Quix at what has closed): theirs must lie between what is in time for sure and everything.
- Exactly once is on in all but the floors, with a commit or checkpoint every 100 ms. The hand-written loops keep their
  windows in memory only: a restart would lose them. streamkit, Kafka Streams, Quix and Flink can restart.
- The floors are what confluent-kafka gives a Python program: a Message for each record, a call for each result. streamkit's
  compiled parts take records from librdkafka by columns, so it may come near to them or pass them.
- JVM engines get 5 million records, for they are quick only once they are warm, except with 100,000 keys, where they take
  longest for a million. The processor time of compiling is in their figures, as it is in the bill; that of
  planning a Flink job is not.
- Flink's time by the clock starts when the job is handed to its cluster, not at the first record.
- Everything shares the processors of one machine with the broker, so *k/s* says little about a cluster.
"""


def write(results: Results, directory: Path) -> None:
    """benchmarks.md and benchmarks.svg."""
    (directory / "benchmarks.md").write_text(page(results))
    (directory / "benchmarks.svg").write_text(picture(results))


def page(results: Results) -> str:
    return "\n".join((INTRODUCTION, *_bars(results), *_workloads(results), CAVEATS, *_machine(results)))


def show(results: Results) -> None:
    """The same as a table on the terminal."""
    table = Table(title="medians; streamkit is n times the contestant in records per CPU-second")
    for heading in ("workload", *HEADINGS):
        table.add_column(heading, justify="left" if heading in ("workload", "contestant") else "right")
    without = []
    for workload in WORKLOADS:
        for title, figure, *others in _rows(results, workload):
            measured = any(others)
            table.add_row(workload.name, title, figure if measured else "-", *others)
            without += [] if measured else [f"{workload.name}, {title}: {figure}"]
        without += [f"{workload.name}: not supported: {workload.unsupported}"] if workload.unsupported else []
    console = Console(width=160)
    console.print(table)
    for line in without:
        console.print(line, highlight=False, markup=False)


# ---- the page


def _bars(results: Results) -> Iterator[str]:
    counts = {verdict: sum(bar.verdict(results) is verdict for bar in BARS) for verdict in Verdict}
    summary = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
    yield f"## The bars\n\nWhat the project has set itself, in records per CPU-second: {summary}.\n"
    yield "| streamkit against | needed | measured | |\n|---|--:|--:|---|"
    for bar in BARS:
        value, verdict = bar.value(results), bar.verdict(results)
        measured = "" if value is None else f"{value:.2f}"
        needed = f"at {'least' if bar.at_least else 'most'} {bar.needed:g}"
        words = f"**{verdict.value}**" if verdict is Verdict.NOT_MET else verdict.value
        yield f"| {bar.text} | {needed} | {measured} | {words} |"
    for text, where in ELSEWHERE.items():
        yield f"| {text} | | | {where} |"
    yield ""


def _workloads(results: Results) -> Iterator[str]:
    yield "## The figures\n"
    for workload in WORKLOADS:
        yield f"### {workload.title}\n"
        if workload.unsupported:
            yield f"Not supported: {workload.unsupported}.\n"
            continue
        yield f"| {' | '.join(HEADINGS)} |\n|---|{'--:|' * (len(HEADINGS) - 1)}"
        for cells in _rows(results, workload):
            yield f"| {' | '.join(cells)} |"
        yield ""


def _rows(results: Results, workload: Workload) -> Iterator[tuple[str, ...]]:
    """One for each contestant, quickest first; those without figures last, with the reason."""
    if workload.unsupported:
        return
    rates = {name: results.rate(workload.name, name) or 0 for name in workload.contestants}
    for name in sorted(rates, key=lambda name: -rates[name]):
        title = CONTESTANTS[name].title
        runs = results.of(workload.name, name)
        if not runs:
            reason = results.failure(workload.name, name) or "not measured yet"
            yield (title, reason.replace("|", "/"), *[""] * (len(HEADINGS) - 2))
            continue
        yield (title, *_figures(results, workload, name, runs))


def _figures(results: Results, workload: Workload, name: str, runs: list[Run]) -> tuple[str, ...]:
    def k(figure: float | None) -> str:
        return "" if figure is None else f"{figure / 1e3:,.0f}"

    ratio = None if name == "streamkit" else results.ratio(workload.name, "streamkit", name)
    median = results.median
    return (
        k(results.rate(workload.name, name)),
        "" if ratio is None else f"{ratio:.2f} x",
        k(median(workload.name, name, lambda run: run.per_second)),
        k(median(workload.name, name, lambda run: run.per_process_cpu_second)),
        f"{median(workload.name, name, lambda run: run.start_s):.1f}",
        str(max(run.peak_mb for run in runs)),
        f"{runs[0].results:,}",
        f"{runs[0].records:,}",
        str(len(runs)),
    )


def _machine(results: Results) -> Iterator[str]:
    told = results.machine
    yield "## Machine and versions\n"
    if told:
        yield (
            f"{told['processors']} processors ({told['processor']}), {told['memory_gb']} GB of memory, {told['system']}, "
            f"Python {told['python']}, Kafka: {told['kafka']}; the broker beside the contestants."
        )
    runs = sorted({run.begun for run in results.runs})
    if runs:
        yield f"Measured in {'one run' if len(runs) == 1 else f'{len(runs)} runs'}, begun at {', '.join(runs)} (UTC)."
    for begun in runs[1:]:
        pairs = dict.fromkeys(f"{run.workload}:{run.contestant}" for run in results.runs if run.begun == begun)
        yield f"In that of {begun}: {', '.join(pairs)}."
    if results.scale != 1:
        yield f"**At {results.scale:g} of the records**: good for nothing but to see that all goes through."
    yield ""
    for name, words in results.versions.items():
        yield f"- {CONTESTANTS[name].title}: {words}"
    yield ""


# ---- the picture

_WIDTH, _LEFT, _BAR, _GAP, _HEAD, _RIGHT = 900, 290, 18, 6, 46, 110
_COLOURS = {"streamkit": "#2563eb", "streamkit-off": "#93c5fd", "floor": "#cbd5e1", "floor-out": "#cbd5e1"}
_OTHER = "#94a3b8"


def picture(results: Results) -> str:
    """Horizontal bars, a panel for each of the workloads in which all take part."""
    parts, top = [], 10
    for workload in (workload for workload in WORKLOADS if workload.name in COMPARED):
        panel, height = _panel(results, workload, top)
        parts += panel
        top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" font-family="sans-serif" font-size="13">'
    label = "<title>Records per CPU-second by workload and contestant</title>"
    return "\n".join((head, label, f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>', *parts, "</svg>")) + "\n"


def _panel(results: Results, workload: Workload, top: int) -> tuple[list[str], int]:
    rates = {name: results.rate(workload.name, name) or 0.0 for name in workload.contestants}
    most = max([*rates.values(), 1.0])
    title = f"{workload.title} (thousand records per CPU-second)"
    parts = [f'<text x="12" y="{top + 22}" font-weight="bold" fill="#0f172a">{escape(title)}</text>']
    for number, name in enumerate(sorted(rates, key=lambda name: -rates[name])):
        y = top + 34 + number * (_BAR + _GAP)
        width = rates[name] / most * (_WIDTH - _LEFT - _RIGHT)
        figure = f"{rates[name] / 1e3:,.0f} k" if rates[name] else "no figure: see the table"
        weight = ' font-weight="bold"' if name == "streamkit" else ""
        ends = f'text-anchor="end" fill="#0f172a"{weight}'
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 14}" {ends}>{escape(CONTESTANTS[name].title)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS.get(name, _OTHER)}"/>',
            f'<text x="{_LEFT + width + 8:.1f}" y="{y + 14}" fill="#334155"{weight}>{figure}</text>',
        ]
    return parts, _HEAD + len(rates) * (_BAR + _GAP)
