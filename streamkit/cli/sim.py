"""`streamkit sim`: an app under simulated faults, checked against its own run without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streamkit.cli.topology import APP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit.plan.topic import Topic
    from streamkit.testing.sim.service import Given, Service
    from streamkit.testing.sim.world import Outcome

_RUNS = typer.Option(min=1, metavar="N", help="How many runs, each with faults of its own.")
_SEED = typer.Option(
    min=0, metavar="N", help="Of the first run; the next one has the next number. The same seed is the same run."
)
_INPUT = typer.Option("--input", metavar="TOPIC=FILE", help="Values for a topic: one JSON value in each line. May be repeated.")
_RECORDS = typer.Option(
    "--input-records",
    metavar="TOPIC=FILE",
    help='As --input, with lines such as {"key": "A", "value": {...}, "timestamp": "2020-04-15T08:05:00Z", "headers": {}}.',
)
_SAMPLES = typer.Option(min=1, metavar="N", help="Records from each @topic.sample generator of a topic without --input.")
_PARTITIONS = typer.Option(min=1, metavar="N", help="Partitions of the source and sink topics.")
_WORKERS = typer.Option(min=1, max=8, metavar="N", help="Worker processes.")
_ON_ERROR = typer.Option(help="What to do with a record that cannot be processed.")


def sim(
    app: Annotated[str, APP],
    *,
    runs: Annotated[int, _RUNS] = 100,
    seed: Annotated[int, _SEED] = 1,
    input: Annotated[list[str] | None, _INPUT] = None,
    input_records: Annotated[list[str] | None, _RECORDS] = None,
    samples: Annotated[int, _SAMPLES] = 100,
    partitions: Annotated[int, _PARTITIONS] = 3,
    workers: Annotated[int, _WORKERS] = 2,
    on_error: Annotated[Literal["stop", "skip"], _ON_ERROR] = "stop",
) -> None:
    """Run an app under simulated faults: nothing may be lost or duplicated.

    The app runs on the embedded broker, in a world where a seed draws what happens: workers are killed at any call and started
    again, stopped for longer than their session, cut off; requests and answers are lost, delayed and repeated; coordinators and
    leaders move; workers come and go. Results of each run must be those of a run without faults. Exit code 1 if they are not, or
    if the app's functions give other results for the same input.
    """
    import shlex
    from itertools import chain

    from streamkit.load import load_app
    from streamkit.testing.sim.service import Service, make_baseline

    topology = load_app(app).topology()
    sources = {source.topic.name: source.topic for part in topology.parts for source in part.sources}
    given = _given(sources, input or [], input_records or [], samples)
    service = Service(topology, given, partitions, on_error)
    baseline = make_baseline(service, seed, workers)
    print(
        f"app '{service.name}': {len(given)} records in {len(sources)} topics of {partitions} partitions, {workers} workers; "
        f"without faults {baseline.results.total()} results"
    )
    if not baseline.outcome.ok:  # first: how far it came before depends on the order of records
        _refuse("it fails without any fault", [str(baseline.outcome.verdict), *baseline.outcome.errors])
    if baseline.again:
        _refuse("its functions are not deterministic: the same run, twice, gave other results", baseline.again)
    if baseline.reordered:
        _refuse("its results depend on the order in which records of several partitions come", baseline.reordered)
    service.baseline = baseline.results
    files = [("--input", one) for one in input or []] + [("--input-records", one) for one in input_records or []]
    settings = [("--samples", samples), ("--partitions", partitions), ("--workers", workers), ("--on-error", on_error)]
    words = shlex.join([app, *map(str, chain.from_iterable([*files, *settings]))])
    if not _campaign(service, runs, seed, workers, words):
        raise typer.Exit(1)


def _campaign(service: Service, runs: int, seed: int, workers: int, words: str) -> bool:
    """``words`` are those of the command line that make a run what it is, but for its seed."""
    import time

    from streamkit.testing.sim.campaign import Report
    from streamkit.testing.sim.service import draw_service_plan, run_service_once

    report = Report()
    begun = time.process_time()
    for number in range(seed, seed + runs):
        report.add(run_service_once(service, draw_service_plan(service, number, workers=workers)))
        if report.failures:
            break
    report.seconds = time.process_time() - begun
    print(f"{report.commits} commits; faults: " + ", ".join(f"{kind} {count}" for kind, count in report.faults().items()))
    for outcome in report.failures:
        _tell(outcome, service, words)
    lost = sum(outcome.verdict.lost for outcome in report.failures)
    duplicated = sum(outcome.verdict.duplicated for outcome in report.failures)
    print(f"lost {lost}, duplicated {duplicated}")
    print(f"sim: {report.runs} runs, {len(report.failures)} violations, {report.runs_per_s:.0f} runs/s")
    return not report.failures


def _tell(outcome: Outcome, service: Service, words: str) -> None:
    """The failing run, with as few faults and records as it takes, and how to see it again."""
    from streamkit.testing.sim.campaign import shrink
    from streamkit.testing.sim.service import run_service_once

    smallest = shrink(service, outcome.plan, budget=60, runs=lambda plan: run_service_once(service, plan))
    for fault in smallest.plan.faults:
        print(f"fault {fault}")
    print(smallest.trace.text())
    print(smallest.verdict)
    print(f"again: streamkit sim {words} --runs 1 --seed {outcome.plan.seed}")


def _refuse(what: str, lines: Sequence[str]) -> None:
    print(f"{what}:")
    for line in lines:
        print(f"  {line}")
    raise typer.Exit(1)


def _given(sources: dict[str, Topic[Any, Any]], values: Sequence[str], records: Sequence[str], samples: int) -> list[Given]:
    """All input, topic by topic in turn. `ConfigError`: there is none, or a line that does not fit."""
    from itertools import chain, zip_longest

    from streamkit.cli.dev_input import parse, read_file, refuse_unknown
    from streamkit.errors import ConfigError
    from streamkit.testing.sim.service import Given

    files = [parse(text) for text in values] + [parse(text, whole_records=True) for text in records]
    refuse_unknown(files, sources)
    if any(not one.is_file for one in files):
        raise ConfigError("a simulation is run again and again, so its input comes from files, not from standard input")
    made = [list(read_file(one, sources[one.topic])) for one in files]
    named = {one.topic for one in files}
    made += [_samples(topic, samples) for name, topic in sources.items() if name not in named and topic.sampler is not None]
    wire = [one for one in chain.from_iterable(zip_longest(*made)) if one is not None]
    if not wire:
        raise ConfigError(
            "there is no input: give --input TOPIC=FILE, or put @topic.sample on a generator in the module; "
            f"the app reads {', '.join(sources)}"
        )
    return [Given(one.topic, one.value, one.key, one.timestamp, one.headers) for one in wire]


def _samples(topic: Topic[Any, Any], count: int) -> list[Any]:
    """The first so many of a topic's generator, with Python's random numbers as they are at a fresh start."""
    import random

    from streamkit.cli.dev_input import Sample

    before = random.getstate()
    random.seed(0)
    try:
        looks = iter([0.0])
        sample = Sample(topic, 1.0, now=lambda: next(looks, float(count - 1)))
        made: list[Any] = []
        while more := list(sample.due()):
            made += more
        return made
    finally:
        random.setstate(before)
