"""`make bench`: every contestant on every workload, on one real Kafka in one run, each turn in a process of its own.

    make bench                                    all; 20 minutes on two cores
    make bench ARGS="--minutes 20"                what can be measured in that time: first turns of all before second ones
    make bench ARGS="--only 'w1-*:streamkit'"     some workloads, or some contestants of them
    make bench ARGS="--quick --out build/bench"   a tenth of the records, one turn: does everything go through?
    make bench ARGS=--report                      writes the page anew from the results that there are

Results are checked against `references.py`; one that is wrong is a failure, not a figure. A pair that is measured again takes the
place of what results.json had of it, so that parts can be run separately; but a ratio, and so a bar, needs both of its sides from
one run. The last line has the bars of the project.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import bars, bids, job, report, restore, results, workloads
from benchmarks.bids import Bids
from benchmarks.contestants import catalogue, tuned
from benchmarks.contestants.catalogue import AbsentError, Program
from benchmarks.job import Job, Measured
from benchmarks.references import Rows
from benchmarks.results import Results, Run
from benchmarks.stage import Stage, stage
from benchmarks.workloads import WORKLOADS, Input, Workload
from tests.support.broker import NoBrokerError, find_broker

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs"
TURN_S = 300  # at most, for one process
GUESS_S = 20  # of a turn that has not been played yet
OUT_OF_TIME = "the time of this run (--minutes) was up before its first turn"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line asks for."""

    pairs: tuple[tuple[Workload, str], ...]
    turns: int = 3
    scale: float = 1.0
    minutes: float | None = None
    fresh: bool = False
    figures: Path = HERE / "results.json"
    page: Path = PAGE
    only_report: bool = False


@dataclass(slots=True)
class Play:
    """A run that is under way."""

    settings: Settings
    at: Stage
    results: Results
    programs: dict[str, Program]
    begun: str = field(default_factory=lambda: _now("%Y-%m-%d %H:%M:%S"))
    started: float = field(default_factory=time.monotonic)
    made: dict[str, Bids] = field(default_factory=dict)
    expected: dict[tuple[str, str], Rows] = field(default_factory=dict)
    took: dict[tuple[str, str], float] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)  # pairs that have failed
    warm: str | None = None  # the input that was read last

    def left_s(self) -> float:
        minutes = self.settings.minutes
        return float("inf") if minutes is None else self.started + minutes * 60 - time.monotonic()


def main() -> None:
    try:
        settings = parse(sys.argv[1:])
        found = kept(settings)
    except ValueError as error:
        sys.exit(f"bench: {error}")
    if not settings.only_report:
        found.scale = settings.scale
        tuned.calm_garbage_collector()  # of this process, which checks millions of results
        try:
            _measure(settings, found)
        except NoBrokerError as error:
            sys.exit(f"bench: {error}")
    report.write(found, settings.page)
    report.show(found)
    print(bars.line(found))
    if any(found.failure(workload.name, "streamkit") for workload in WORKLOADS if not workload.unsupported):
        sys.exit("bench: streamkit has failed in a workload; the table says why")


# ---- what the command line asks for


def kept(settings: Settings) -> Results:
    """The results there are, which this run adds to. ValueError: they are of other numbers of records."""
    found = Results() if settings.fresh else results.load(settings.figures)
    if found.runs and found.scale != settings.scale and not settings.only_report:
        raise ValueError(f"{settings.figures} has results at scale {found.scale:g}: --fresh starts anew, --out keeps both")
    return found


def parse(arguments: Sequence[str]) -> Settings:
    """ValueError: something that does not exist, or that would spoil the results there are."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORKLOAD[:CONTESTANT],...", help="with * for any part of a name")
    parser.add_argument("--turns", type=int, default=3, help="of each pair; the median counts (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no turn that would not end within this time")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of records (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="--scale 0.1 --turns 1")
    parser.add_argument("--fresh", action="store_true", help="forget the results there are")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="for results.json and the page (else where they are kept)")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the page")
    told = parser.parse_args(arguments)
    scale, turns = (0.1, 1) if told.quick else (told.scale, told.turns)
    if turns < 1 or not 0 < scale <= 1 or (told.minutes is not None and told.minutes <= 0):
        raise ValueError("--turns and --minutes must be more than 0, and --scale more than 0 and at most 1")
    if scale != 1 and told.out is None:
        raise ValueError("with other numbers of records, --out DIRECTORY must name a place for the results")
    places = {} if told.out is None else {"figures": told.out / "results.json", "page": told.out}
    if told.out is not None:
        told.out.mkdir(parents=True, exist_ok=True)
    return Settings(tuple(chosen(told.only)), turns, scale, told.minutes, told.fresh, only_report=told.report, **places)


def chosen(only: str | None) -> Iterator[tuple[Workload, str]]:
    """Pairs that are measured. ValueError: a pattern that fits nothing."""
    pairs = [(workload, name) for workload in WORKLOADS if not workload.unsupported for name in workload.contestants]
    if only is None:
        yield from pairs
        return
    patterns = [pattern if ":" in pattern else f"{pattern}:*" for pattern in only.split(",")]
    for pattern in patterns:
        if not any(_fits(pair, pattern) for pair in pairs):
            names = ", ".join(workload.name for workload in WORKLOADS if not workload.unsupported)
            raise ValueError(
                f"--only: nothing fits {pattern!r}; workloads: {names}; contestants: {', '.join(catalogue.CONTESTANTS)}"
            )
    yield from (pair for pair in pairs if any(_fits(pair, pattern) for pattern in patterns))


def _fits(pair: tuple[Workload, str], pattern: str) -> bool:
    return fnmatchcase(f"{pair[0].name}:{pair[1]}", pattern)


# ---- the run


def _measure(settings: Settings, found: Results) -> None:
    broker = find_broker(lambda text: print(f"kafka: {text}", flush=True))
    try:
        with stage(broker.bootstrap) as at:
            found.machine = results.machine(broker.way)
            play = Play(settings, at, found, _programs(settings, found))
            _fill(play)
            for turn in range(settings.turns):
                _round(play, turn)
    finally:
        broker.stop()


def _programs(settings: Settings, found: Results) -> dict[str, Program]:
    programs = {}
    for name in dict.fromkeys(name for _, name in settings.pairs):
        try:
            programs[name] = catalogue.CONTESTANTS[name].prepare(lambda text: print(text, flush=True))
            found.versions[name] = programs[name].version
        except AbsentError as error:
            print(f"{name} is absent: {error}", flush=True)
            for workload in (workload for workload, other in settings.pairs if other == name):
                found.fail(workload.name, name, f"absent: {error}")
    return programs


def _fill(play: Play) -> None:
    """Makes the topics of all workloads that are played."""
    pairs = [pair for pair in play.settings.pairs if pair[1] in play.programs]
    wanted = {each.name: each.scaled(play.settings.scale) for each in (workload.input_of(name) for workload, name in pairs)}
    by_form: dict[str, list[tuple[Bids, dict[str, int]]]] = {}
    for each in wanted.values():
        if each.name == workloads.RESTORE.name:
            made, topics = restore.inputs(play.at, each.records)
        else:
            made = bids.with_ends(each.make(each.records, each.keys), each.partitions)
            topics = {play.at.name(each.name): each.partitions}
        play.made[each.name] = made
        by_form.setdefault(each.form, []).append((made, topics))
    total = sum(map(len, play.made.values()))
    print(f"producing {total:,} records into {len(wanted)} topics ...", flush=True)
    for form, inputs in by_form.items():
        play.at.fill(inputs, workloads.FORMS[form])
    print(f"... done after {time.monotonic() - play.started:.0f} s", flush=True)


def _round(play: Play, turn: int) -> None:
    """One turn of every pair: forth, and back in the next round."""
    pairs = [pair for pair in play.settings.pairs if pair[1] in play.programs]
    for number, (workload, name) in enumerate(pairs[:: 1 if turn % 2 == 0 else -1], 1):
        pair = workload.name, name
        if pair in play.lost or turn >= (workload.contestants[name].turns or play.settings.turns):
            continue
        if play.left_s() < play.took.get(pair, GUESS_S):
            if turn == 0 and not play.results.of(*pair):
                play.results.fail(*pair, OUT_OF_TIME)
            continue
        begun = time.monotonic()
        try:
            run = _turn(play, workload, name, turn)
        except Exception as error:  # noqa: BLE001 - one that fails, however it does, must not end the others
            play.lost.add(pair)
            play.results.fail(*pair, str(error))
            words = f"FAILED: {results.without_paths(str(error))}"
        else:
            play.results.add(run)
            words = f"{run.per_cpu_second / 1e3:8,.0f} k records per CPU-second"
        play.took[pair] = time.monotonic() - begun
        done = f"[{turn + 1}/{play.settings.turns} {number:2}/{len(pairs)} {time.monotonic() - play.started:5.0f} s]"
        print(f"{done} {workload.name:13} {name:13} {words}", flush=True)
        results.save(play.results, play.settings.figures, [bar.figures(play.results) for bar in bars.BARS])


def _turn(play: Play, workload: Workload, name: str, turn: int) -> Run:
    """RuntimeError: the contestant ended badly, took too long or gave wrong results."""
    of = workload.input_of(name)
    made = play.made[of.name]
    if workload is workloads.WORKLOADS_BY_NAME["restore"]:
        play.warm = None  # it reads a topic of its own
        found = restore.run(play.at, len(made), turn=turn)
        restored = restore.restored(found, len(made))
        return _run(play, workload, name, turn, found, restored.rows)
    expected = _expected(play, workload, of)
    prefix = f"{workload.name}-{name}-{turn}"
    sink, app = play.at.name(f"{prefix}-out"), play.at.name(f"{prefix}-app")
    play.at.create({sink: of.partitions})
    source = play.at.name(of.name)
    told = Job(play.at.bootstrap, app, source, sink, len(made), of.partitions, window=workload.window)
    told = replace(told, pipeline=workload.pipeline, outputs=len(expected))
    program = play.programs[name]
    _warm(play, of, told)
    found = job.run(name, told, timeout_s=TURN_S, program=program.command, environment=program.environment)
    values: list[bytes] = []
    if name not in workloads.UNCHECKED:
        values = play.at.read(sink)
        wrong = workloads.check(workload, name, made, of.partitions, expected, values)
        if wrong is not None:
            raise RuntimeError(f"wrong results: {wrong}")
    play.at.clear(prefix)
    return _run(play, workload, name, turn, found, len(values))


def _warm(play: Play, of: Input, told: Job) -> None:
    """Has the input read once unless the turn before did. One that the broker has to fetch from disk costs a quick consumer up to
    a fifth more processor time (it comes in smaller pieces), and which turns met that was chance.
    """
    if play.warm != of.name:
        job.run("floor", replace(told, app=f"{told.app}-warm"), timeout_s=TURN_S)
    play.warm = of.name


def _expected(play: Play, workload: Workload, of: Input) -> Rows:
    key = workload.name, of.name
    if key not in play.expected:
        assert workload.reference is not None
        play.expected[key] = workload.reference(play.made[of.name], of.partitions)
    return play.expected[key]


def _run(play: Play, workload: Workload, name: str, turn: int, found: Measured, written: int) -> Run:
    figures = {
        each: round(getattr(found, each), 4)  # as they are kept, so that the page is the same when it is written from the file
        for each in ("records", "wall_s", "cpu_s", "process_cpu_s", "start_s", "start_cpu_s", "peak_mb")
    }
    return Run(workload.name, name, turn, results=written, at=_now("%Y-%m-%d %H:%M"), begun=play.begun, **figures)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)


if __name__ == "__main__":
    main()
