"""Mutants of time: watermarks, closing, the frontier, idleness (R18, R19, R25, R26); and of pace and patience (R30, R31)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from streamkit.eventtime.generators import GeneratedWatermark
from streamkit.eventtime.watermark import NO_TIME
from streamkit.operators.window_aggregate import WindowAggregateOperator
from streamkit.runtime import alignment, layout, worker
from streamkit.runtime.alignment import Alignment
from streamkit.runtime.commit import Committer
from streamkit.runtime.deadlines import NoGuard
from streamkit.runtime.idleness import Idleness
from streamkit.runtime.takeover import TakeOver
from streamkit.runtime.task import Task
from tests.sim.mutants.mutant import Patch, mutant

_MOVES = ("kill", "leave", "kill-in-commit", "join")


@mutant(
    "R18",
    "the watermark of a partition begins anew after a restore",
    scenarios=["late"],
    kinds=("leave", "kill"),
    faults=8,
)
def watermarks_are_forgotten() -> Sequence[Patch]:
    take_up = TakeOver._take_up

    def taking(self, task, position, decision):
        take_up(self, task, position, decision)
        if position.watermark is not None:
            position.watermark.max_timestamp = NO_TIME

    return [(TakeOver, "_take_up", taking)]


@mutant(
    "R18",
    "what a rule for watermarks remembers of a partition begins anew after a restore",
    scenarios=["remembering"],
    kinds=("leave", "kill"),
    faults=8,
)
def the_state_of_a_rule_is_forgotten() -> Sequence[Patch]:
    restore = GeneratedWatermark.restore

    def restoring(self, max_timestamp, kept):
        begun = self.state
        restore(self, max_timestamp, kept)
        self.state = begun

    return [(GeneratedWatermark, "restore", restoring)]


@mutant(
    "R18",
    "the watermark that a rule had come to begins anew after a restore",
    scenarios=["by-field"],
    kinds=("leave", "kill"),
    faults=8,
)
def what_a_rule_has_reached_is_forgotten() -> Sequence[Patch]:
    restore = GeneratedWatermark.restore

    def restoring(self, max_timestamp, kept):
        restore(self, max_timestamp, kept)
        self.reached = NO_TIME

    return [(GeneratedWatermark, "restore", restoring)]


@mutant(
    "R7",
    "batches that were kept in hand are processed although their partition is read from elsewhere",
    scenarios=["drifting"],
    kinds=("join", "leave", "rebalance-storm", "leaders-move"),
    faults=6,
)
def what_is_in_hand_stays() -> Sequence[Patch]:
    return [(Alignment, "drop", lambda *_: None), (Alignment, "drop_all", lambda *_: None)]


@mutant("R7", "of several batches in hand the latest is processed first", scenarios=["drifting"], kinds=("kill", "leave"))
def the_latest_in_hand_goes_first() -> Sequence[Patch]:
    class Stack(deque):
        popleft = deque.pop

    return [(alignment, "deque", Stack)]


@mutant(
    "R19",
    "a window that has fired is not deleted with its result",
    scenarios=["tumbling", "repartitioned"],
    kinds=_MOVES,
    faults=5,
)
def fired_windows_come_back() -> Sequence[Patch]:
    def nothing(self):
        self.progress.frontier = self.progress.closed_through = NO_TIME

    return [(WindowAggregateOperator, "restored", nothing)]


@mutant("R25", "the watermark is persisted before what it releases has been fired", scenarios=["tumbling", "repartitioned"],
        kinds=("kill", "kill-in-commit"), faults=6)  # fmt: skip
def watermark_for_frontier() -> Sequence[Patch]:
    class Announcing(Task):
        """Says one step early how far time has come."""

        def _fire(self, watermark):
            announced = getattr(self, "announced", None)
            if announced is not None:
                reached, before = announced
                for operator, (frontier, closed_through) in zip(self.chain.aggregates.values(), before, strict=True):
                    operator.progress.frontier, operator.progress.closed_through = frontier, closed_through
                self.announced = None
                super()._fire(reached)
            elif watermark > self.fired:
                operators = list(self.chain.aggregates.values())
                self.announced = (watermark, [(o.progress.frontier, o.progress.closed_through) for o in operators])
                for operator in operators:
                    operator.progress.frontier = watermark
                    passed = operator.window.previous_end(int(operator.window.first_open_end(np.array([watermark]))[0]))
                    operator.progress.closed_through = max(operator.progress.closed_through, passed)
                self.touched = True

    return [(layout, "Task", Announcing)]


@mutant("R25", "an aggregate passes its watermark on without the grace", scenarios=["chained"], kinds=(), faults=0)
def grace_is_passed_over() -> Sequence[Patch]:
    return [(WindowAggregateOperator, "_passed_on", lambda *given: given[1])]


@mutant(
    "R26", "a silent partition is idle without proof", scenarios=["idle"], kinds=("stop-past-transaction",), seconds=2.3, faults=4
)
def silence_is_idleness() -> Sequence[Patch]:
    def silent(self, tasks, now):
        return frozenset(p.tp for task in tasks for p in task.inputs.values() if self._silent(p, task.time, now))

    return [(Idleness, "newly_idle", silent)]


@mutant(
    "R26",
    "the end of a partition is asked for once and remembered",
    scenarios=["idle"],
    kinds=("stop-past-transaction",),
    seconds=2.3,
    faults=4,
)
def remembered_ends() -> Sequence[Patch]:
    newly_idle = Idleness.newly_idle

    def with_memory(self, tasks, now):
        tasks = list(tasks)
        known = self.__dict__.setdefault("known", {})
        new = [tp for task in tasks for tp in task.inputs if tp not in known]
        admin = self._admin
        if new:
            known.update(admin.end_offsets(new, 1.0))
        self._admin = SimpleNamespace(end_offsets=lambda partitions, _: {tp: known[tp] for tp in partitions})
        try:
            return newly_idle(self, tasks, now)
        finally:
            self._admin = admin

    return [(Idleness, "newly_idle", with_memory)]


@mutant("R30", "commits follow each other without a pause", scenarios=["stateless", "repartitioned"], faults=0)
def no_pause_between_commits() -> Sequence[Patch]:
    publish = Committer._publish

    def publishing(self, tasks, offsets, words):
        publish(self, tasks, offsets, words)
        self._next = 0.0

    return [(Committer, "_publish", publishing)]


@mutant("R31", "nobody looks whether a call comes back", scenarios=["stateless", "tumbling"], kinds=("call-never-returns",))
def nobody_watches() -> Sequence[Patch]:
    make = worker.Worker.__init__

    def making(self, *given, guard=None, **named):
        make(self, *given, guard=NoGuard(), **named)

    return [(worker.Worker, "__init__", making)]
