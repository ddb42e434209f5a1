"""Any app in the simulated world, checked against its own run without faults.

    the same run twice ──differs──> a function is not deterministic      other turns of the workers ──differs──> order matters
    runs with faults, each to the end of its input ──differs──> lost, duplicated, wrong

Results that were made of one record each (filters, functions, late records) are stamped by a header, which names their input and
holds them in the order of its partition. Others are compared as what they are: so many equal ones of a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from streamkit.kafka.client import Headers
from streamkit.kafka.memory.cluster import LogRecord
from streamkit.kafka.murmur2 import partition_for
from streamkit.plan.nodes import Node, OnUpdate, WindowAggregate
from streamkit.plan.topology import Topology
from streamkit.runtime.failures import OnError
from streamkit.runtime.metadata import OffsetMetadata
from streamkit.testing.checker import Expected, Found, Source, Verdict, results
from streamkit.testing.sim.early import last_rows
from streamkit.testing.sim.faults import Bounds, draw_faults
from streamkit.testing.sim.scenario import Input
from streamkit.testing.sim.world import START_MS, Outcome, Plan, World, draw_settings, stream

STAMP: Final = "sim-source"
"""Header of every simulated input record: its topic, partition and number."""

_SECONDS: Final = 4.0
_EXAMPLES: Final = 3
_DIGITS: Final = 9  # of floats: sums of several partitions depend on the order of addition in the last ones


@dataclass(frozen=True, slots=True)
class Given:
    """A record that the service is given; ``timestamp`` 0: the moment of its arrival."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0
    headers: Headers | None = None


@dataclass
class Service:
    """Implements `Scenario`. ``baseline`` is what the run without faults gave; None while that is made."""

    app: Topology
    given: Sequence[Given]
    partitions: int = 3
    on_error: OnError = "stop"
    baseline: Counter[Hashable] | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.app.plan.app

    def around(self) -> AbstractContextManager[None]:
        return nullcontext()

    def topology(self) -> Topology:
        return self.app

    def topics(self) -> Mapping[str, int]:
        names = {sink.topic.name for part in self.app.parts for sink in part.sinks}
        names |= {source.topic.name for part in self.app.parts for source in part.sources}
        return dict.fromkeys(sorted(names), self.partitions)

    def inputs(self, rng: Random) -> Sequence[Input]:
        """In the order in which they were given; one after the other, some close together."""
        times = sorted(rng.uniform(0.1, self.seconds) for _ in self.given)
        made = []
        for number, (at, record) in enumerate(zip(times, self.given, strict=True)):
            partition = number % self.partitions if record.key is None else partition_for(record.key, self.partitions)
            stamp = (STAMP, f"{record.topic}-{partition} number {number}".encode())
            # by number, not by arrival: the event time of a record must not depend on the seed
            timestamp = record.timestamp or START_MS + round(1000 * self.seconds * number / max(len(self.given), 1))
            headers = [*(record.headers or []), stamp]
            # all of them stay: a run with fewer records would have to be compared with another one without faults
            made.append(Input(at, record.topic, partition, number, record.value, record.key, timestamp, headers, stays=True))
        return made

    @property
    def seconds(self) -> float:
        """How long the input takes: less than it takes a partition to be idle, for what comes behind that is late by contract."""
        times = [source.event_time for part in self.app.parts for source in part.sources]
        idle = [time.idle_after_ms / 1000 for time in times if time.idle_after_ms is not None]
        return min([_SECONDS, *(0.6 * seconds for seconds in idle)])

    def number_of(self, record: LogRecord) -> int | None:
        """Of a stamped result whose part of the app has no repartition topic in front of it."""
        stamp = _stamp_of(record)
        if stamp is None or not self._is_direct(record.topic):
            return None
        return int(stamp.rsplit(" ", 1)[1])

    def _is_direct(self, topic: str) -> bool:
        return not any(part.reads for part in self.app.parts for sink in part.sinks if sink.topic.name == topic)

    def expected(self, world: World) -> int:  # noqa: ARG002 - of a scenario
        return 0  # the end of the input says when all is done

    def is_over(self, world: World) -> bool:
        """Whether every partition is committed as one that has ended."""
        group = world.cluster.broker.groups.get(self.name)
        committed = {} if group is None else group.offsets
        return all(_has_ended(committed[tp].metadata) if tp in committed else False for tps in world.task_inputs() for tp in tps)

    # ---- results

    def found(self, world: World) -> Iterator[tuple[Hashable, Hashable, LogRecord]]:
        """(identity, lane, record) of every result; of early ones only the last of its window."""
        for topic in sorted({sink.topic.name for part in self.app.parts for sink in part.sinks}):
            updates = self._updates(topic)
            records = world.cluster.read(topic)
            for record in records if updates is None else last_rows(records, updates.input.window):
                content = canonical(record.value)
                stamp = _stamp_of(record)
                key = (record.key or b"").decode(errors="replace")
                if updates is not None or stamp is None:
                    yield (topic, key, content), None, record
                else:
                    yield (topic, key, stamp, content), None, record

    def _updates(self, topic: str) -> OnUpdate | None:
        """Whose results of windows that are still open are written there: how many depends on when commits fall."""
        sinks = [sink for part in self.app.parts for sink in part.sinks if sink.topic.name == topic]
        return next((found for found in map(_updates_before, sinks) if found is not None), None)

    def glance(self, world: World) -> Verdict:  # noqa: ARG002 - nothing is known of a user's app before the end
        return Verdict()

    def check(self, world: World) -> Verdict:
        if self.baseline is None:
            return Verdict()
        sources = {f"{s.topic}-{s.partition} number {s.number}": s for _, s in world.appended}
        expected = [Expected(one, None, None, _sources_of(one, sources)) for one in _numbered(self.baseline.elements())]
        seen: Counter[Hashable] = Counter()
        found = []
        for identity, _, record in self.found(world):
            seen[identity] += 1
            found.append(Found((identity, seen[identity]), None, f"{record.topic}-{record.partition}@{record.offset}"))
        return results(expected, _duplicates(found, self.baseline))


class ServiceWorld(World):
    """A run that ends with its input, as `streamkit run --until-end` does."""

    def input_is_over(self) -> None:
        self.until_end = True

    def _is_done(self) -> bool:
        scenario = self.scenario
        assert isinstance(scenario, Service)  # noqa: S101 - no other is run here
        return scenario.is_over(self) and not self._open_transactions()


def run_service_once(service: Service, plan: Plan) -> Outcome:
    return ServiceWorld(service, plan).run()


def draw_service_plan(service: Service, seed: int, *, workers: int, faults: bool = True) -> Plan:
    rng = stream(seed, "faults")
    count = rng.choice([1, 2, 3, 4, 6]) if faults else 0
    return Plan(service.name, seed, workers, draw_faults(rng, count, Bounds(workers, _SECONDS + 2.0, draw_settings(seed))))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What runs without faults gave. ``again``: what differs when nothing was changed; ``reordered``: with other turns."""

    results: Counter[Hashable]
    again: tuple[str, ...]
    reordered: tuple[str, ...]
    outcome: Outcome


def make_baseline(service: Service, seed: int, workers: int) -> Baseline:
    """Three runs without faults: two that are the same, one with other turns of the workers and other batches."""
    first, outcome = _results(service, seed, workers)
    second, _ = _results(service, seed, workers)
    third, _ = _results(service, seed + 1, workers)
    return Baseline(first, _differences(first, second), _differences(first, third), outcome)


def _results(service: Service, seed: int, workers: int) -> tuple[Counter[Hashable], Outcome]:
    world = ServiceWorld(service, draw_service_plan(service, seed, workers=workers, faults=False))
    outcome = world.run()
    return Counter(identity for identity, _, _ in service.found(world)), outcome


def _differences(one: Counter[Hashable], other: Counter[Hashable]) -> tuple[str, ...]:
    gone, new = list(one - other)[:_EXAMPLES], list(other - one)[:_EXAMPLES]
    return (*(f"- {_told(identity)}" for identity in gone), *(f"+ {_told(identity)}" for identity in new))


def _told(identity: Hashable) -> str:
    return " ".join(map(str, identity)) if isinstance(identity, tuple) else str(identity)


def canonical(value: bytes | None) -> str:
    """Equal for values that mean the same: JSON without regard to the order of fields and the last digits of floats.

    >>> canonical(b'{"b": 0.30000000000000004, "a": 1}')
    '{"a":1,"b":0.3}'
    """
    if value is None:
        return "null"
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value.hex()
    return msgspec.json.encode(_rounded(decoded), order="sorted").decode()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def _updates_before(node: Node) -> OnUpdate | None:
    if isinstance(node, OnUpdate):
        return node
    inputs = () if isinstance(node, WindowAggregate) else node.inputs
    return next((found for found in map(_updates_before, inputs) if found is not None), None)


def _has_ended(metadata: str) -> bool:
    found = OffsetMetadata.decode(metadata)
    return found is not None and found.ended


def _stamp_of(record: LogRecord) -> str | None:
    return next((value.decode() for name, value in record.headers or () if name == STAMP and value is not None), None)


def _sources_of(numbered: Hashable, sources: Mapping[str, Source]) -> tuple[Source, ...]:
    assert isinstance(numbered, tuple)  # noqa: S101 - made by _numbered
    return tuple(sources[part] for part in numbered[0] if part in sources)


def _numbered(identities: Iterable[Hashable]) -> Iterator[Hashable]:
    seen: Counter[Hashable] = Counter()
    for identity in identities:
        seen[identity] += 1
        yield identity, seen[identity]


def _duplicates(found: Sequence[Found], baseline: Counter[Hashable]) -> Iterator[Found]:
    """More copies of a result than there must be are duplicates of the last one that must be there."""
    for one in found:
        assert isinstance(one.identity, tuple)  # noqa: S101 - made by `check`
        identity, copy = one.identity
        most = baseline[identity]
        yield Found((identity, most), one.content, one.at, one.sources) if copy > most > 0 else one
