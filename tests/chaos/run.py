"""`make chaos MINUTES=5 SEED=1`: three brokers, three workers, a steady load, faults one after the other, and the checker.

    start ──> [fault ──> all moves again, all replicas in sync ──> quiet] ... ──> load ends ──> lag 0 ──> workers leave
          ──> state, offsets, open transactions ──> one worker to the end of the input ──> outputs

The last line says how it went; the exit code is not 0 if anything was lost, duplicated, wrong or stuck. Then the logs of all
workers and brokers are kept, and where they are is printed with the command that makes the same faults again.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from streamkit.kafka.client import TopicPartition
from streamkit.testing.checker import Verdict
from tests.chaos import check, topics
from tests.chaos.faults import KINDS, World
from tests.chaos.load import Load
from tests.chaos.standstill import Sampler, Standstill, longest_each
from tests.chaos.workers import SESSION_MS, Workers
from tests.support.apps.chaos import SINKS, group
from tests.support.cluster3 import ProxiedKafka

PARTITIONS = 6
WORKERS = ("a", "b", "c")
GOAL_S = 15.0
_START_WITHIN_S = 60.0
_RECOVER_WITHIN_S = 60.0
_SETTLE_WITHIN_S = 60.0
_MARKERS = 60
"""So many markers of transactions may stand behind the last record of a repartition partition that was processed."""


class StuckError(Exception):
    """The service did not come back within the bound after a fault."""


@dataclass(frozen=True, slots=True)
class Plan:
    minutes: float
    seed: int
    rate: int = 300
    kinds: tuple[str, ...] = tuple(KINDS)
    protocol: str = "classic"
    static: bool = False  # membership of the group
    most: int | None = None  # faults

    @property
    def command(self) -> str:
        chosen = "" if self.kinds == tuple(KINDS) else "".join(f" --kind '{kind}'" for kind in self.kinds)
        protocol = ("" if self.protocol == "classic" else f" --protocol {self.protocol}") + (" --static" if self.static else "")
        return f"python -m tests.chaos.run --minutes {self.minutes:g} --seed {self.seed} --rate {self.rate}{protocol}{chosen}"

    def faults(self) -> Iterator[tuple[str, int]]:
        """(kind, seed of the fault) without end: all kinds in a drawn order, then all again in another."""
        rng = random.Random(self.seed)
        while True:
            for kind in rng.sample(self.kinds, len(self.kinds)):
                yield kind, rng.randrange(2**32)


@dataclass(slots=True)
class Injected:
    kind: str
    what: str
    start: float
    end: float
    recovered: float


@dataclass(slots=True)
class Outcome:
    """``exits``: workers that ended by themselves, with their exit codes."""

    plan: Plan
    seconds: float = 0.0
    events: int = 0
    faults: list[Injected] = field(default_factory=list)
    standstills: list[Standstill] = field(default_factory=list)
    settled_s: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)
    exits: list[tuple[str, float, int]] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.verdict.ok and not self.error

    @property
    def longest_s(self) -> float:
        return max((row[2].seconds for row in self.by_kind() if row[2] is not None), default=0.0)

    def by_kind(self) -> list[tuple[str, int, Standstill | None, float]]:
        """(kind, faults, longest standstill, longest time from the end of the fault to recovery)."""
        found: dict[str, list[Standstill | None]] = {}
        recovery: dict[str, float] = {}
        longest = longest_each(self.standstills, [fault.start for fault in self.faults])
        for fault, still in zip(self.faults, longest, strict=True):
            found.setdefault(fault.kind, []).append(still)
            recovery[fault.kind] = max(recovery.get(fault.kind, 0.0), fault.recovered - fault.end)
        return [
            (kind, len(all_), max((one for one in all_ if one), key=lambda one: one.seconds, default=None), recovery[kind])
            for kind, all_ in sorted(found.items())
        ]

    def table(self) -> str:
        lines = [f"{'fault':42} {'count':>5}  {'longest standstill':>18}  {'moves again after':>17}"]
        for kind, count, still, recovery in self.by_kind():
            stood = f"{still.seconds:.1f} s" if still is not None else "-"
            where = f"  {still.partition[0]}-{still.partition[1]}" if still is not None and still.seconds > GOAL_S else ""
            lines.append(f"{kind:42} {count:5}  {stood:>18}  {recovery:>15.1f} s{where}")
        return "\n".join(lines)

    def last_line(self) -> str:
        lost, doubled = self.verdict.lost, self.verdict.duplicated
        others = len(self.verdict.violations) - lost - doubled
        minutes = f"{self.seconds / 60:.0f}" if self.seconds > 60 else f"{self.seconds / 60:.1f}"
        text = (
            f"chaos: {minutes} min, {len(self.faults)} faults of {len({f.kind for f in self.faults})} kinds, "
            f"{lost} lost, {doubled} duplicated"
        )
        text += f", {others} otherwise wrong" if others else ""
        return f"{text}: {self.error}" if self.error else text


def run(plan: Plan, say: Callable[[str], None], directory: Path) -> Outcome:
    """One run; whatever goes wrong in it is in the outcome."""
    outcome = Outcome(plan)
    name = secrets.token_hex(4)
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(ProxiedKafka({"group.consumer.session.timeout.ms": str(SESSION_MS)}))
        stack.callback(_keep_logs, kafka, directory)
        kafka.create_topics([f"events-{name}", *(f"{sink}-{name}" for sink in SINKS)], PARTITIONS)
        workers = Workers(kafka.bootstrap, name, directory, plan.protocol, static=plan.static)
        stack.callback(workers.stop)
        load = Load(kafka.direct, f"events-{name}", partitions=PARTITIONS, seed=plan.seed, rate=plan.rate)
        inputs = [(f"events-{name}", partition) for partition in range(PARTITIONS)]
        sampler = Sampler(kafka, group(name), inputs, {_repartition(name): _MARKERS})
        try:
            _start(kafka, workers, load, sampler, name)
            _harass(plan, World(kafka, workers, name, random.Random()), sampler, outcome, say)
            _settle(kafka, workers, load, sampler, name, outcome, say)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome of this run
            outcome.error = f"{type(error).__name__}: {error}"
            workers.dump_stacks()
        finally:
            outcome.exits = workers.exits()
            outcome.told = dict(workers.event_counts())
            outcome.standstills = sampler.standstills.found
    return outcome


def _repartition(name: str) -> str:
    return f"{group(name)}.events-{name}-by-key.repartition"


def _keep_logs(kafka: ProxiedKafka, directory: Path) -> None:
    for node in range(1, kafka.nodes + 1):
        (directory / f"broker-{node}.log").write_text(kafka.log(node))


def _start(kafka: ProxiedKafka, workers: Workers, load: Load, sampler: Sampler, name: str) -> None:
    for worker in WORKERS:
        workers.start(worker)
    load.start()
    deadline = time.monotonic() + _START_WITHIN_S
    while not all(workers.running(worker) for worker in WORKERS):
        if time.monotonic() > deadline or len(workers.exits()) > 5:
            raise StuckError(f"not every worker got tasks within {_START_WITHIN_S:.0f} s of the start")
        time.sleep(0.2)
    sampler.watch([(_repartition(name), partition) for partition in range(PARTITIONS)])
    sampler.start()
    _recover(kafka, sampler, time.monotonic(), "the start")


def _harass(plan: Plan, world: World, sampler: Sampler, outcome: Outcome, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    for kind, seed in plan.faults():
        world.rng.seed(seed)
        start = time.monotonic()
        what = KINDS[kind](world)
        end = time.monotonic()
        outcome.faults.append(Injected(kind, what, start, end, end))
        say(f"{start - started:6.1f} s  {what}")
        outcome.faults[-1].recovered = _recover(world.kafka, sampler, end, what)
        time.sleep(world.rng.uniform(0.5, 2.0))
        outcome.seconds = time.monotonic() - started
        if outcome.seconds >= plan.minutes * 60 or len(outcome.faults) == plan.most:
            break


def _recover(kafka: ProxiedKafka, sampler: Sampler, since: float, after: str) -> float:
    """When every partition has moved since, or had nothing to do; then waits for the replicas as well."""
    deadline = time.monotonic() + _RECOVER_WITHIN_S
    while not sampler.moved_since(since):
        if time.monotonic() > deadline:
            standing = ", ".join(f"{topic}-{p} for {s:.0f} s" for (topic, p), s in sampler.standing().items() if s > GOAL_S)
            raise StuckError(f"{_RECOVER_WITHIN_S:.0f} s after {after}: no progress of {standing or 'anything: nobody answers'}")
        time.sleep(0.1)
    recovered = time.monotonic()
    kafka.wait_healthy(topics.names(kafka.direct))
    return recovered


def _settle(
    kafka: ProxiedKafka, workers: Workers, load: Load, sampler: Sampler, name: str, outcome: Outcome, say: Callable[[str], None]
) -> None:
    """The end: no faults any more. Lag goes to 0; then everything is looked at."""
    kafka.proxy.heal()
    started = time.monotonic()
    load.stop()
    outcome.events = len(load.sent)
    reference = check.Reference(name, load.sent, PARTITIONS)
    read = partial(topics.read, kafka.direct)
    check.inputs(read, reference)
    last = check.last_records(kafka.direct, [f"events-{name}", _repartition(name)])
    while any(sampler.committed.get((tp.topic, tp.partition), 0) < end for tp, end in last.items()):
        if time.monotonic() - started > _SETTLE_WITHIN_S:
            break  # the checker says what is missing
        time.sleep(0.2)
    outcome.settled_s = time.monotonic() - started
    codes = workers.leave_all()
    sampler.stop()
    if any(codes.values()):
        raise StuckError(f"workers were told to leave and ended with exit codes {codes}")
    committed = {TopicPartition(*tp): offset for tp, offset in sampler.committed.items()}
    outcome.verdict += check.at_rest(kafka.direct, name, last, committed)
    outcome.verdict += check.stores(read, reference)
    outcome.verdict += check.offsets(topics.commits(kafka.direct, group(name)))
    code = workers.finish()
    if code:
        raise StuckError(f"the worker that runs to the end of the input ended with exit code {code}")
    outcome.verdict += check.outputs(read, reference)
    say(str(outcome.verdict).partition("\n")[0])


def report(outcome: Outcome, directory: Path) -> str:
    lines = ["", outcome.table(), ""]
    lines.append(f"{outcome.events} events, lag 0 after {outcome.settled_s:.1f} s; longest standstill {outcome.longest_s:.1f} s")
    wanted = ("rolled-back", "producer-disturbed", "producer-replaced", "revoke-aborted", "take-over-retried", "abort-failed")
    lines.append("workers told: " + ", ".join(f"{event} {outcome.told.get(event, 0)}" for event in wanted))
    if outcome.exits:
        ends = ", ".join(f"{name} with {code}" for name, _, code in outcome.exits)
        lines.append(f"workers that ended by themselves and were started again: {ends}")
    if not outcome.ok:
        lines += ["", str(outcome.verdict), "", f"logs: {directory}", f"again: {outcome.plan.command}", ""]
    lines.append(outcome.last_line())
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=int, default=300, help="events a second")
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic", help="of the consumer group")
    parser.add_argument("--static", action="store_true", help="static members, which come back without a rebalance")
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only these kinds of faults; may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the logs also when all went well")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    plan = Plan(given.minutes, seed, given.rate, tuple(given.kind or KINDS), given.protocol, given.static)
    print(f"chaos: seed {seed}, {plan.minutes:g} min, {len(plan.kinds)} kinds of faults, {plan.protocol} protocol", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="streamkit-chaos-"))
    outcome = run(plan, lambda line: print(line, flush=True), directory)
    print(report(outcome, directory))
    if outcome.ok and not given.keep:
        shutil.rmtree(directory)
    elif outcome.ok:
        print(f"logs: {directory}", file=sys.stderr)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
