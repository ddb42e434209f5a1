"""Public failures of other engines and clients, each as a scripted run: ours bears it, and ours with the rule broken does not.

The issues: KAFKA-17754, -10167, -12951, -20099, -6634, -9274, -7994, -20416, KIP-1287 of Apache Kafka, #1017 of Quix Streams,
#5456 of librdkafka, #1222 of franz-go. The sequences are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamkit.testing.sim.campaign import run
from streamkit.testing.sim.faults import Fault
from streamkit.testing.sim.world import Outcome, Plan
from tests.sim.mutants.catalogue import MUTANTS
from tests.sim.scenarios import ALL

BY_NAME = {one.name: one for one in MUTANTS}


@dataclass(frozen=True)
class Case:
    """``issue`` as it is known, what happened there, the faults that stage it, the mutant that has that very failure."""

    issue: str
    story: str
    scenario: str
    faults: tuple[Fault, ...]
    mutant: str
    workers: int = 2
    seeds: int = 40


def every(kind: str, *, since: float = 0.6, until: float = 4.6, step: float = 0.5, **how) -> tuple[Fault, ...]:
    """The same fault again and again: what it hits depends on the seed."""
    times = [since + number * step for number in range(int((until - since) / step))]
    return tuple(Fault(kind, round(at, 3), **how) for at in times)


CASES = [
    Case(
        "KAFKA-17754",
        "an EndTxn that was delayed commits the next transaction of the same epoch, half-written",
        "stateless",
        every("end-delayed", step=0.7, request="EndTxn", seconds=0.9),
        "disturbed_producers_live_on",
    ),
    Case(
        "KAFKA-10167",
        "a restore that ends at the last stable offset misses what was committed a moment before",
        "tumbling",
        (*every("rebalance-storm", step=0.8, seconds=0.2), *every("leave", since=0.9, step=0.8, worker=0, seconds=0.1)),
        "restore_to_the_stable_offset",
        seeds=120,
    ),
    Case(
        "KAFKA-12951",
        "a restore waits for a record at the end of a log where only a transaction marker is",
        "tumbling",
        (Fault("kill", 2.0, 0, seconds=0.1),),
        "restore_to_the_last_record",
    ),
    Case(
        "Quix-1017",
        "recovery compares the offset of the last record with the end of a changelog that ends in markers, and never finishes",
        "repartitioned",
        (Fault("kill", 2.0, 0, seconds=0.1), Fault("kill", 3.0, 1, seconds=0.1)),
        "restore_to_the_last_record",
    ),
    Case(
        "KAFKA-20099",
        "operators lose their stream time at a fail-over, so late records count as on time",
        "late",
        every("leave", step=0.4, worker=0, seconds=0.1),
        "watermarks_are_forgotten",
        workers=1,
    ),
    Case(
        "KAFKA-6634",
        "a transaction is begun and then held open while nothing comes",
        "stateless",
        (),
        "idle_transactions",
    ),
    Case(
        "KAFKA-9274",
        "a commit that timed out is taken for one that happened",
        "stateless",
        every("cut-in-commit", step=1.0, request="EndTxn", seconds=2.6),
        "unknown_outcomes_count_as_done",
    ),
    Case(
        "KAFKA-7994",
        "what a window had fired is not in the transaction of its result, and comes again after a restart",
        "tumbling",
        every("leave", step=0.5, worker=0, seconds=0.1),
        "fired_windows_come_back",
        workers=1,
    ),
    Case(
        "KAFKA-20416",
        "a group without positions starts anew beside state that is there",
        "offsets-gone",
        (),
        "state_without_a_position_is_new",
    ),
    Case(
        "KIP-1287",
        "brokers do not check who owns a partition: without an identity a worker of the past commits its work as well",
        "stateless",
        every("stop-past-session", step=0.6, request="Fetch", seconds=4.0),
        "no_identity",
    ),
    Case(
        "the-duplicate-of-R9",
        "a worker that had lost its partitions commits what it had in hand with the metadata of its next membership",
        "stateless",
        every("stop-past-session", step=1.0, request="Heartbeat", seconds=4.0),
        "lost_work_is_committed",
        workers=3,
    ),
    Case(
        "the-empty-offsets-of-R1",
        "a transaction without an advanced input sends no offsets, so nobody fences the worker of the past",
        "idle",
        every("stop-past-session", step=0.6, request="ListOffsets", seconds=4.0),
        "no_offsets_without_progress",
    ),
    Case(
        "librdkafka-5456",
        "send_offsets_to_transaction never returns, and nobody notices",
        "stateless",
        every("call-never-returns", step=1.0, request="TxnOffsetCommit"),
        "nobody_watches",
    ),
    Case(
        "franz-go-1222",
        "an abort rewinds the partitions that were revoked, not those that stayed",
        "stateless",
        every("transaction-coordinator-moves", step=1.0, seconds=2.4),
        "nothing_is_rewound",
    ),
]


def plan(case: Case, seed: int) -> Plan:
    return Plan(case.scenario, seed, case.workers, case.faults)


def staged(case: Case) -> Outcome | None:
    """The first run in which the failure shows, with the rule broken."""
    with BY_NAME[case.mutant].applied():
        for seed in range(1, case.seeds + 1):
            outcome = run(ALL[case.scenario], plan(case, seed))
            if not outcome.ok:
                return outcome
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.issue)
def test_what_others_failed_at_is_borne(case):
    failed = staged(case)
    assert failed is not None, f"{case.issue}: the failure does not show with the rule broken: {case.story}"
    borne = run(ALL[case.scenario], failed.plan)
    assert borne.ok, f"{case.issue}: {case.story}\n{borne.verdict}\n{borne.trace.text(requests=False, last=60)}"
