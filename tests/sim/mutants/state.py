"""Mutants of restore, of state in blocks, and of where a new app begins (R13, R14, R27, R29)."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.kafka.memory.server.log import Isolation
from streamkit.kafka.memory.server.offsets import GroupOffsets
from streamkit.kafka.memory.server.requests import list_offsets
from streamkit.runtime import takeover
from streamkit.runtime.decide.start import FromEarliest, Refuse, start
from streamkit.runtime.restore import Restore
from streamkit.runtime.takeover import TakeOver
from streamkit.state.changelog import BlockChangelog
from tests.sim.mutants.mutant import Patch, mutant

_MOVES = ("kill-in-commit", "leave", "join", "rebalance-storm")


@mutant("R13", "a restore ends at the last stable offset of the changelog (KAFKA-10167)", scenarios=["tumbling", "repartitioned"],
        kinds=("leave", "join", "rebalance-storm"), faults=6)  # fmt: skip
def restore_to_the_stable_offset() -> Sequence[Patch]:
    list_end_offsets = list_offsets.list_end_offsets

    def of_changelogs(broker, partitions, isolation):
        changelogs = all(tp.topic.endswith(".changelog") for tp in partitions)
        return list_end_offsets(broker, partitions, Isolation.READ_COMMITTED if changelogs else isolation)

    return [(list_offsets, "list_end_offsets", of_changelogs)]


@mutant(
    "R13",
    "committed positions are taken while a transaction holds them pending",
    scenarios=["tumbling", "stateless"],
    kinds=_MOVES,
    faults=6,
)
def unstable_positions() -> Sequence[Patch]:
    return [(GroupOffsets, "is_pending", lambda *_: False)]


@mutant("R14", "a restore ends at the last record, not at the position (KAFKA-12951)", scenarios=["tumbling"], kinds=_MOVES)
def restore_to_the_last_record() -> Sequence[Patch]:
    read = Restore._read

    def reading(self, timeout):
        poll = self._reader.poll

        def without_ends(*given):
            polled = poll(*given)
            polled.ends.clear()
            return polled

        self._reader.poll = without_ends
        try:
            return read(self, timeout)
        finally:
            if self._reader is not None:
                del self._reader.poll

    return [(Restore, "_read", reading)]


@mutant("R14", "state without a position counts as a new app", scenarios=["offsets-gone"], faults=0)
def state_without_a_position_is_new() -> Sequence[Patch]:
    def starting(facts):
        decision = start(facts)
        return FromEarliest(facts.log_start) if isinstance(decision, Refuse) and facts.committed is None else decision

    return [(takeover, "start", starting)]


@mutant("R27", "block keys do not name the writer, so a new owner overwrites its predecessor's blocks",
        scenarios=["tumbling", "cumulating"],
        kinds=("leave", "kill", "logs-cleaned"), faults=6)  # fmt: skip
def blocks_without_the_writer() -> Sequence[Patch]:
    write = BlockChangelog._write

    def writing(self, sections):
        self.incarnation = "same"
        yield from write(self, sections)

    return [(BlockChangelog, "_write", writing)]


@mutant("R27", "the oldest block is dropped without its open rows being written anew", scenarios=["tumbling", "cumulating"],
        kinds=("leave", "kill", "logs-cleaned"), faults=6)  # fmt: skip
def rewrites_write_nothing() -> Sequence[Patch]:
    def dropping(self, store):
        dropped = []
        while len(self._directory) > 1:
            dropped.append(self._pop())
        return dropped

    return [(BlockChangelog, "_rewrite_oldest", dropping)]


@mutant(
    "R29",
    "the position of a new app is committed with its first record only",
    scenarios=["source-cut-before-the-first-record"],
    faults=0,
)
def no_commit_of_the_start() -> Sequence[Patch]:
    place = TakeOver._place

    def placing(self, task, position, log_start, log_end, *, unfinished):
        touched = task.touched
        place(self, task, position, log_start, log_end, unfinished=unfinished)
        task.touched = touched

    return [(TakeOver, "_place", placing)]
