"""What a chaos run must have left behind, by the checker that the simulator uses: outputs, state, time, offsets."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime

from streamkit.kafka.client import TopicPartition
from streamkit.kafka.murmur2 import partition_for
from streamkit.testing.checker import (
    Commit,
    Expected,
    Found,
    Source,
    Verdict,
    final_results,
    fold,
    frontiers,
    results,
    settled,
    single_writer,
    state,
    times,
)
from tests.chaos import topics
from tests.chaos.load import LoadError
from tests.support.apps.chaos import OUT_OF_ORDERNESS_MS, SIZE_MS, STORES, group
from tests.support.workload import Event, payload, tumbling_reference

Read = Callable[[str], list[topics.Entry]]
"""The committed records of a topic, partition by partition."""


class Reference:
    """The serial run without a fault, from the events in the order of their partitions."""

    def __init__(self, run: str, events: Sequence[Event], partitions: int) -> None:
        self.run = run
        self.events = events
        self.partitions = partitions
        self.rows: dict[tuple[str, int], tuple[int, int, int]] = {}  # (key, window start) -> count, sum, max
        self._late: set[tuple[int, int]] = set()
        for partition in range(partitions):  # a key stays in its partition, so each can be taken alone
            mine = [event for event in events if event.partition == partition]
            expected = tumbling_reference(mine, size_ms=SIZE_MS, out_of_orderness_ms=OUT_OF_ORDERNESS_MS)
            self.rows |= expected.windows
            self._late |= {(partition, number) for number in expected.late}

    def source(self, event: Event) -> Source:
        return Source(f"events-{self.run}", event.partition, event.number, event.number)

    def passed(self) -> list[Expected]:
        return [
            Expected(("passed", e.partition, e.number), (e.key, e.value, e.at_ms), ("passed", e.key), (self.source(e),))
            for e in self.events
        ]

    def late(self) -> list[Expected]:
        return [
            Expected(("late", e.partition, e.number), (e.key, e.value, e.at_ms), ("late", e.key), (self.source(e),))
            for e in self.events
            if (e.partition, e.number) in self._late
        ]

    def windows(self, name: str) -> list[Expected]:
        ordered = sorted(self.rows.items(), key=lambda item: item[0][1])
        return [Expected((name, key, start), row, (name, key)) for (key, start), row in ordered]


def inputs(read: Read, reference: Reference) -> None:
    """That the log has the events as they were sent, each at the offset of its number; else the run proves nothing."""
    there = [(e.partition, e.offset, e.value) for e in read(f"events-{reference.run}")]
    sent = sorted((e.partition, e.number, payload(e)) for e in reference.events)
    if there != sent:
        raise LoadError(f"the input has {len(there)} events, not the {len(sent)} that were sent, or others, or elsewhere")


def outputs(read: Read, reference: Reference) -> Verdict:
    """I1 and I6, at the end of the input."""
    run = reference.run
    verdict = results(reference.passed(), _events(read(f"passed-{run}"), "passed", reference.partitions))
    verdict += results(reference.late(), _events(read(f"late-{run}"), "late", reference.partitions))
    for name in ("own", "totals"):
        verdict += final_results(reference.windows(name), _windows(read(f"{name}-{run}"), name))
    return verdict


def _events(entries: Iterable[topics.Entry], kind: str, partitions: int) -> list[Found]:
    found = []
    for entry in entries:
        value = json.loads(entry.value or b"null")
        identity = (kind, int(value["key"][1:]) % partitions, value["number"])
        found.append(Found(identity, (value["key"], value["value"], value["at"]), entry.at))
    return found


def _windows(entries: Iterable[topics.Entry], name: str) -> list[Found]:
    found = []
    for entry in entries:
        value = json.loads(entry.value or b"null")
        start = round(datetime.fromisoformat(value["window_start"]).timestamp() * 1000)
        found.append(Found((name, value["key"], start), (value["n"], value["total"], value["high"]), entry.at))
    return found


def stores(read: Read, reference: Reference) -> Verdict:
    """I3 and I6, while windows are still open: the changelogs fold to the reference; persisted time never goes back."""
    verdict = Verdict()
    for store in STORES:
        entries = read(f"{group(reference.run)}.{store}.changelog")
        for partition in range(reference.partitions):
            mine = [entry for entry in entries if entry.partition == partition]
            told = times(mine)
            where = f"store '{store}', partition {partition}"
            verdict += frontiers((f"{where}: frontier", one.frontier) for one in told)
            verdict += frontiers((f"{where}: closed through", one.closed_through) for one in told)
            closed_through = told[-1].closed_through if told else None
            must: dict[Hashable, Hashable] = {
                (start + SIZE_MS, key): row
                for (key, start), row in reference.rows.items()
                if _partition_of(store, key, reference.partitions) == partition
                and (closed_through is None or start + SIZE_MS > closed_through)
            }
            verdict += state(must, dict(fold(mine)), where=where)
    return verdict


def _partition_of(store: str, key: str, partitions: int) -> int:
    """State beside the source lies where the load put the key; behind the repartition topic, where Kafka's partitioner does."""
    return int(key[1:]) % partitions if store == "per-own-key" else partition_for(key.encode(), partitions)


def offsets(committed: Iterable[topics.CommittedOffset]) -> Verdict:
    """I5, from the offsets topic itself: what was committed for a partition never goes back."""
    return single_writer(Commit("the group", {TopicPartition(one.topic, one.partition): one.offset}) for one in committed)


def last_records(bootstrap: str, names: Iterable[str]) -> dict[TopicPartition, int]:
    """1 + the offset of the last committed record of every partition; 0 where there is none."""
    last = {TopicPartition(tp.topic, tp.partition): 0 for tp in topics.partitions(bootstrap, names)}
    for name in names:
        for entry in topics.read(bootstrap, name):
            last[TopicPartition(entry.topic, entry.partition)] = entry.offset + 1
    return last


def at_rest(bootstrap: str, run: str, last: dict[TopicPartition, int], committed: dict[TopicPartition, int]) -> Verdict:
    """I7: everything was processed, and no transaction is open anywhere."""
    mine = [name for name in topics.names(bootstrap) if run in name or name == "__consumer_offsets"]
    stable = {TopicPartition(*tp): ends for tp, ends in topics.stable_ends(bootstrap, mine).items()}
    return settled(last, committed, stable, ())
