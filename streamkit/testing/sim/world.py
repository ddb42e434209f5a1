"""One run: a cluster, worker processes, the input, the faults, and the verdict.

    input and faults ──both are over──> settling ──nothing is left to do, or the bound has passed──> tail ──> leave ──> check

Everything is drawn from the seed, each concern from a stream of its own, so that leaving one fault out does not change the input.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from streamkit.config import EngineSettings
from streamkit.errors import FencedError
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from streamkit.kafka.memory.client.group_settings import GroupProtocol, GroupSettings
from streamkit.kafka.memory.cluster import LogRecord
from streamkit.kafka.memory.server.log import Isolation
from streamkit.kafka.memory.server.transaction import PREPARED, Transaction, TransactionState
from streamkit.plan.topology import Topology
from streamkit.runtime.control import is_control
from streamkit.runtime.layout import Layout
from streamkit.runtime.task import TaskState
from streamkit.testing.broker import FOREVER
from streamkit.testing.checker import Kind, Source, Verdict, Violation, atomic, settled, single_writer
from streamkit.testing.sim.faults import Bounds, Fault, draw_faults
from streamkit.testing.sim.nemesis import Nemesis
from streamkit.testing.sim.network import SimulatedNetwork
from streamkit.testing.sim.observer import Observer
from streamkit.testing.sim.pace import pace
from streamkit.testing.sim.process import Process, ProcessState, Slot
from streamkit.testing.sim.scenario import Input, Scenario
from streamkit.testing.sim.scheduler import Scheduler, SimulatedClock
from streamkit.testing.sim.trace import Trace

START_MS: Final = 1_577_836_800_000
BOUND_S: Final = 40.0
"""Liveness: so long after the last fault and the last record everything is processed."""

_LOOK_EVERY_S: Final = 0.25
_TAIL_S: Final = 1.0
_LEAVE_S: Final = 20.0
_MARKER_S: Final = (0.004, 0.004, 0.05, 0.4)
"""Within this brokers have written a marker; drawn for each run."""

_HEARTBEAT_MS: Final = 400
_BROKER_LOOKS_S: Final = 0.2
_LEAST_S: Final = 0.001
_GLANCES: Final = 3
_STATIC: Final = 0.2
_ORPHAN_S: Final = 1.0
_LOOKS: Final = 100
_LOOK_AGAIN_S: Final = 0.037
_RESTARTS: Final = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of. ``left_out``: numbers of input records that a shrunk run does without."""

    scenario: str
    seed: int
    workers: int = 2
    faults: tuple[Fault, ...] = ()
    left_out: tuple[int, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    verdict: Verdict
    trace: Trace
    settled_after_s: float
    virtual_s: float
    records: int
    commits: int
    errors: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.verdict.ok


def stream(seed: int, of: str) -> random.Random:
    """A stream of random numbers of its own (the seed of a text does not depend on how Python hashes)."""
    return random.Random(f"{seed}/{of}")  # noqa: S311 - a simulation


def draw_settings(seed: int) -> EngineSettings:
    """Small time-outs, in the order of R20; batches small enough that records of one partition meet in several."""
    rng = stream(seed, "settings")
    return EngineSettings(
        group_protocol=rng.choice(["classic", "classic", "consumer"]),
        commit_interval_ms=rng.choice([1, 20, 100, 250]),
        transaction_timeout_ms=rng.choice([1_500, 2_500]),
        session_timeout_ms=3_000,
        max_poll_interval_ms=6_000,
        max_records=rng.choice([1, 3, 10, 1_000]),
        poll_timeout_ms=rng.choice([100, 500]),
        control_interval_ms=rng.choice([0, 300]),
        heartbeat_ms=1_500,
        idle_check_ms=200,
        start_timeout_ms=10_000,
        restore_stall_ms=15_000,
        purge_interval_ms=rng.choice([500, 5_000]),
    )


def draw_plan(scenario: Scenario, seed: int, *, faults: int | None = None, kinds: Sequence[str] | None = None) -> Plan:
    rng = stream(seed, "faults")
    workers = rng.choice([1, 2, 2, 3])
    count = rng.choice([0, 1, 2, 3, 4, 6, 9]) if faults is None else faults
    if getattr(scenario, "damage", None) is not None:  # the damage is the fault
        count = 0
    last = max((record.at for record in scenario.inputs(stream(seed, "input"))), default=1.0)
    bounds = Bounds(workers, last + 1.0, draw_settings(seed))
    drawn = draw_faults(rng, count, bounds) if kinds is None else draw_faults(rng, count, bounds, kinds)
    return Plan(scenario.name, seed, workers, drawn)


class World:
    """One run of a scenario under a plan."""

    def __init__(self, scenario: Scenario, plan: Plan, settings: EngineSettings | None = None) -> None:
        self.scenario = scenario
        self.plan = plan
        self.settings = settings or draw_settings(plan.seed)
        self.topology: Topology = scenario.topology()
        self.on_error = scenario.on_error
        self.until_end = False
        self.is_static = stream(plan.seed, "static").random() < _STATIC
        self.scheduler = Scheduler(stream(plan.seed, "schedule"), self._version)
        self.clock = SimulatedClock(self.scheduler, START_MS)
        self.cluster = Cluster(self.clock)
        self.cluster.broker.consumer_session_timeout_ms = self.settings.session_timeout_ms
        self.cluster.broker.consumer_heartbeat_interval_ms = _HEARTBEAT_MS
        self.trace = Trace(self.scheduler)
        self.network = SimulatedNetwork(self.scheduler, stream(plan.seed, "network"), self.trace)
        self.appended: list[tuple[Input, Source]] = []
        self._source_by_number: dict[int, Source] = {}
        self.unnamed_errors: list[str] = []
        self._left_open = Verdict()
        self._rng = stream(plan.seed, "world")
        self._marker_s = self._rng.choice(_MARKER_S)
        self._slots: dict[str, Slot] = {}
        self._members: dict[str, Process] = {}
        self._wanted: set[str] = set()
        self._pauses: dict[str, float] = {}
        self._incarnations = 0
        self._restarts = 0
        self._extra = 0
        for name, partitions in scenario.topics().items():
            self.cluster.create_topic(name, partitions, FOREVER)
        self.observer = Observer(self.cluster, self._sinks(), self._source_of, self._transactional_ids)
        self.cluster.broker.defer = self._defer
        self.nemesis = Nemesis(self, plan.faults)
        self.network.nemesis = self.nemesis
        self.inputs = [one for one in scenario.inputs(stream(plan.seed, "input")) if one.number not in plan.left_out]

    def _version(self) -> int:
        return self.cluster.broker.version if hasattr(self, "cluster") else 0

    # ---- what the parts ask of it

    @property
    def patience_s(self) -> float:
        """After this a call that does not return ends its process."""
        return 1.5 * self.settings.deadline_s + 3.0

    def client(self, client_id: str, instance: str) -> MemoryClient:
        protocol: GroupProtocol = "consumer" if self.settings.group_protocol == "consumer" else "classic"
        group = GroupSettings(
            protocol=protocol,
            instance_id=instance if self.is_static else None,
            session_timeout_ms=self.settings.session_timeout_ms,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            max_poll_interval_ms=self.settings.max_poll_interval_ms,
        )
        return MemoryClient(
            self.cluster,
            client_id=client_id,
            network=self.network,
            transaction_timeout_ms=self.settings.transaction_timeout_ms,
            group=group,
            guards=False,
        )

    def unnamed(self, process: Process, error: BaseException) -> None:
        self.unnamed_errors.append(f"{process.client_id}: {type(error).__name__}: {error}")

    def _sinks(self) -> list[str]:
        return [sink.topic.name for part in self.topology.parts for sink in part.sinks]

    def _transactional_ids(self) -> list[str]:
        return sorted({f"{self.topology.plan.app}-{slot.instance}-0" for slot in self._slots.values()})

    def _defer(self, what: str, action: Callable[[], None]) -> None:  # noqa: ARG002 - all markers alike
        """Brokers write each marker when they come to it."""
        self.observer.decided()
        self.scheduler.at(self.scheduler.now + self._rng.random() * self._marker_s, action)

    # ---- members

    def name_of(self, worker: int) -> str:
        return "abcdefgh"[worker % self.plan.workers]

    def names(self) -> list[str]:
        return sorted(self._wanted)

    def process(self, worker: int) -> Process | None:
        return self.member(self.name_of(max(worker, 0)))

    def member(self, name: str) -> Process | None:
        found = self._members.get(name)
        return found if found is not None and found.is_alive else None

    def members(self) -> list[Process]:
        """The present incarnation of each."""
        return list(self._members.values())

    def living(self) -> list[Process]:
        return [process for process in self._members.values() if process.is_alive]

    def add_member(self, instance: str = "") -> str:
        self._extra += 1
        name = f"x{self._extra}"
        self._start(Slot(name, instance or name), 0.0)
        return name

    def remove_member(self, name: str) -> None:
        self._wanted.discard(name)
        process = self.member(name)
        if process is not None:
            process.stop()

    def restart_pause(self, process: Process, seconds: float) -> None:
        """How long the supervisor waits before the successor of this process."""
        self._pauses[process.slot.name] = seconds

    def _start(self, slot: Slot, delay: float) -> None:
        self._slots[slot.name] = slot
        self._wanted.add(slot.name)
        self._incarnations += 1
        process = Process(self, slot, self._incarnations, delay, self._ended)
        self._members[slot.name] = process
        self.network.processes[process.client_id] = process

    def _ended(self, process: Process) -> None:
        """The supervisor: a process that ended is started again while it is wanted."""
        name = process.slot.name
        pause = self._pauses.pop(name, None)
        if name not in self._wanted or process.state is ProcessState.STOPPED:
            return
        self._restarts += 1
        if self._restarts <= _RESTARTS:
            self._start(process.slot, self._rng.uniform(0.1, 0.6) if pause is None else pause)

    # ---- the run

    def begin(self) -> None:
        """Starts the processes, the clock of the brokers and the input."""
        for number in range(self.plan.workers):
            name = self.name_of(number)
            self._start(Slot(name, name), self._rng.uniform(0.0, 0.5))
        for one in self.inputs:
            self.scheduler.at(one.at, partial(self._append, one))
        self._time_of_the_broker()

    def run(self) -> Outcome:
        self.begin()
        glances = Verdict()
        for _ in range(_GLANCES):
            self.scheduler.at(self._rng.uniform(0.5, 12.0), lambda: self._glance(glances))
        self.scheduler.run(max([one.at for one in self.inputs], default=0.0))
        self.input_is_over()
        while not self.nemesis.is_idle:
            self._run_a_while()
        quiet_from = self.scheduler.now
        while not self._is_done() and self.scheduler.now < quiet_from + BOUND_S:
            self._run_a_while()
        settled_after = self.scheduler.now - quiet_from
        self.scheduler.run(self.scheduler.now + _TAIL_S)
        verdict = self._check_settled(must=settled_after >= BOUND_S)
        self._leave()
        verdict += glances
        verdict += self._check()
        return self.outcome(verdict, settled_after)

    def input_is_over(self) -> None:
        """A bounded run ends where its topics end now."""

    def outcome(self, verdict: Verdict, settled_after: float) -> Outcome:
        errors = [f"{p.client_id}: {p.error}" for p in self.network.processes.values() if p.error is not None]
        return Outcome(
            self.plan,
            verdict,
            self.trace,
            settled_after,
            self.scheduler.now,
            len(self.appended),
            len(self.observer.commits),
            errors,
        )

    def _run_a_while(self) -> None:
        self.scheduler.run(self.scheduler.now + _LOOK_EVERY_S)
        self._look_for_what_nobody_ends()

    def _look_for_what_nobody_ends(self) -> None:
        """R17: a worker that is back ends the transaction of its predecessor, whatever its time-out. So every open transaction
        has an owner that is alive, or one that is about to be started again."""
        self._left_open.looked("I7")
        mine = {f"{self.topology.plan.app}-{process.slot.instance}-0" for process in self._members.values()}
        now = self.scheduler.now
        for open_one in self.cluster.broker.transactions.ongoing():
            begun = open_one.deadline - open_one.timeout_ms / 1000
            if open_one.transactional_id not in mine and now - begun > _ORPHAN_S and not self._left_open.violations:
                what = f"the transaction of '{open_one.transactional_id}' is left open, and no worker has that id any more"
                self._left_open.add("I7", Kind.STUCK, what)

    def _glance(self, verdict: Verdict) -> None:
        """A look in the midst of it, as soon as no marker is on its way."""
        if any(found.state in PREPARED for found in self._transactions()):
            self.scheduler.at(self.scheduler.now + _LEAST_S, lambda: self._glance(verdict))
        else:
            verdict += self.scenario.glance(self)

    def _append(self, one: Input) -> None:
        offset = self.cluster.append(one.topic, one.value, one.key, one.partition, one.timestamp, one.headers or None)
        source = Source(one.topic, one.partition, offset, one.number)
        self.appended.append((one, source))
        self._source_by_number[one.number] = source

    def _source_of(self, record: LogRecord) -> Source | None:
        number = self.scenario.number_of(record)
        return None if number is None else self._source_by_number[number]

    def _time_of_the_broker(self) -> None:
        """What brokers do by themselves: end sessions and transactions whose time is over."""
        self.cluster.run_due()
        due = self.cluster.next_due()
        soon = self.scheduler.now + _BROKER_LOOKS_S
        self.scheduler.at(soon if due is None else max(self.scheduler.now + _LEAST_S, min(due, soon)), self._time_of_the_broker)

    def _leave(self) -> None:
        """Every process finishes what it has in hand and leaves; whoever does not is killed."""
        self._wanted.clear()
        for process in list(self._members.values()):
            process.stop()
        end = self.scheduler.now + _LEAVE_S
        while self.scheduler.now < end and any(process.is_alive for process in self._members.values()):
            self.scheduler.run(self.scheduler.now + _LOOK_EVERY_S)
        self.kill_all()

    def kill_all(self) -> None:
        self._wanted.clear()
        for process in self.network.processes.values():
            process.kill("does not leave")

    # ---- looking

    def task_inputs(self) -> list[tuple[TopicPartition, ...]]:
        return list(Layout(self.topology, self.scenario.topics()).task_inputs().values())

    def at_work(self) -> set[TopicPartition]:
        """The inputs of all tasks that run."""
        workers = [process.worker for process in self.living() if process.worker is not None]
        tasks = [task for worker in workers for task in worker.tasks if task.state is TaskState.RUNNING]
        return {tp for task in tasks for tp in task.inputs}

    def committed(self) -> dict[TopicPartition, int]:
        group = self.cluster.broker.groups.get(self.topology.plan.app)
        return {} if group is None else {tp: committed.offset for tp, committed in group.offsets.items()}

    def last_records(self) -> dict[TopicPartition, int]:
        """1 + the offset of the last record of every input partition; of a repartition topic control records do not count."""
        ends: dict[TopicPartition, int] = {}
        for _, source in self.appended:
            ends[TopicPartition(source.topic, source.partition)] = source.offset + 1
        for topic in [name for name in self.cluster.broker.topics if name.endswith(".repartition")]:
            for record in self.cluster.read(topic):
                if not is_control(record.headers):
                    ends[TopicPartition(topic, record.partition)] = record.offset + 1
        return ends

    def results(self) -> int:
        return sum(len(self.cluster.read(sink)) for sink in self._sinks())

    def _is_done(self) -> bool:
        if self._open_transactions():
            return False
        committed = self.committed()
        if any(committed.get(tp, 0) < end for tp, end in self.last_records().items()):
            return False
        return self.results() >= self.scenario.expected(self)

    def _transactions(self) -> list[Transaction]:
        found = [self.cluster.broker.transactions.find(name) for name in self._transactional_ids()]
        return [transaction for transaction in found if transaction is not None]

    def _open_transactions(self) -> list[str]:
        """Each by its id and the time by which it must end: so the next one of the same id is another."""
        at_work = (TransactionState.ONGOING, *PREPARED)
        return [f"{found.transactional_id}@{found.deadline:.3f}" for found in self._transactions() if found.state in at_work]

    def _check_settled(self, *, must: bool = False) -> Verdict:
        """I7. Heartbeats go on, so that somebody may just be in the midst of a commit: each partition has to be found at rest
        once, and each transaction that is open has to end."""
        verdict = self._settled()
        restless = set(verdict.violations)
        for _ in range(0 if must else _LOOKS):
            if not restless:
                break
            self.scheduler.run(self.scheduler.now + _LOOK_AGAIN_S)
            now = {(each.kind, _subject(each)) for each in self._settled().violations}
            restless = {each for each in restless if (each.kind, _subject(each)) in now}
        verdict.violations = sorted(restless, key=str)
        if must:
            verdict.add("I7", Kind.STUCK, f"not settled {BOUND_S:.0f} s after the last fault")
        return verdict

    def _settled(self) -> Verdict:
        stable = {
            log.tp: (log.end(Isolation.READ_COMMITTED), log.end(Isolation.READ_UNCOMMITTED))
            for topic in self.cluster.broker.topics.values()
            for log in topic.logs
        }
        return settled(self.last_records(), self.committed(), stable, self._open_transactions())

    def told(self) -> list[Source]:
        """The inputs that results name."""
        told = [self._source_of(record) for sink in self._sinks() for record in self.cluster.read(sink)]
        return [source for source in told if source is not None]

    def _check(self) -> Verdict:
        verdict = Verdict()
        verdict += atomic(self.observer.commits, self.told())
        verdict += single_writer(self.observer.commits)
        verdict += self.scenario.check(self)
        verdict += pace(self.trace.entries, self.settings)
        verdict += self._left_open
        for process in self.network.processes.values():
            if process.state is ProcessState.STOPPED:
                verdict.add("I9", Kind.STUCK, f"{process.client_id} stopped without cause: {process.error}")
        rivals = any(fault.kind == "same-instance-twice" for fault in self.plan.faults)
        for process in self.network.processes.values():
            if isinstance(process.error, FencedError) and not rivals:
                verdict.add("I7", Kind.STUCK, f"{process.client_id} was fenced again and again, without a rival: {process.error}")
        for error in self.unnamed_errors:
            verdict.add("I9", Kind.STUCK, f"an error without a name: {error}")
        return verdict


def _subject(violation: Violation) -> str:
    """What it is about, without the numbers of the moment."""
    return re.sub(r"(?<=[ ])\d+", "", violation.what)


Scenarios = Mapping[str, Scenario]
