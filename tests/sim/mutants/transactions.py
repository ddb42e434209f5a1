"""Mutants of what a transaction contains, how it ends, and how errors are answered (R1-R7)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from streamkit.errors import FencedError, RetriableError, StateError
from streamkit.kafka.memory.client.producer import MemoryProducer
from streamkit.runtime import layout
from streamkit.runtime.commit import Committer
from streamkit.runtime.task import Task
from streamkit.runtime.transaction import Transaction
from streamkit.runtime.worker import Worker
from tests.sim.mutants.mutant import Patch, mutant

_IN_COMMIT = ("kill-in-commit", "kill", "stop-past-session")


@mutant(
    "R1", "a transaction whose inputs did not advance sends no offsets, so nobody fences it",
    scenarios=["idle"], kinds=["stop-past-session"], faults=6, request="ListOffsets",
)  # fmt: skip
def no_offsets_without_progress() -> Sequence[Patch]:
    commit = Transaction.commit

    def committing(self, offsets, group, within_s=None):
        before = self.__dict__.setdefault("sent", {})
        advanced = any(before.get(tp) != committed.offset for tp, committed in offsets.items())
        before.update({tp: committed.offset for tp, committed in offsets.items()})
        retry = self._retry
        if not advanced:
            self._retry = _without("send_offsets", retry)
        try:
            commit(self, offsets, group, within_s)
        finally:
            self._retry = retry

    return [(Transaction, "commit", committing)]


def _without(name, retry):
    return lambda called, call, seconds: None if called == name else retry(called, call, seconds)


@mutant(
    "R1",
    "offsets are committed in a transaction of their own, after the results",
    scenarios=["stateless", "tumbling"],
    kinds=_IN_COMMIT,
)
def offsets_apart() -> Sequence[Patch]:
    commit = Transaction.commit

    def committing(self, offsets, group, within_s=None):
        send, self._retry = self._retry, _without("send_offsets", self._retry)
        try:
            commit(self, offsets, group, within_s)
        finally:
            self._retry = send
        commit(self, offsets, group, within_s)

    return [(Transaction, "commit", committing)]


@mutant("R2", "a transaction stays open while nothing comes", scenarios=["stateless", "tumbling"], kinds=["kill"], faults=0)
def idle_transactions() -> Sequence[Patch]:
    process, if_due = Worker._process, Committer.commit_if_due

    def processing(self, polled):
        self._committer.has_records = bool(polled.batches)
        return process(self, polled)

    return [
        (Worker, "_process", processing),
        (Committer, "commit_if_due", lambda self: bool(getattr(self, "has_records", True) and if_due(self))),
        (Committer, "within", lambda *given: given[1]),
    ]


@mutant(
    "R3", "the offset of the last record is committed, not the one behind it", scenarios=["stateless"], kinds=["kill", "leave"]
)
def offset_of_the_last_record() -> Sequence[Patch]:
    offsets = Task.offsets

    def one_less(self):
        return {tp: c._replace(offset=max(c.offset - 1, 0)) for tp, c in offsets(self).items()}

    return [(Task, "offsets", one_less)]


@mutant(
    "R3", "the consumer's position is committed: what was fetched counts as processed", scenarios=["stateless"], kinds=["kill"]
)
def position_of_the_consumer() -> Sequence[Patch]:
    process = Worker._process

    def processing(self, polled):
        for batch in polled.batches:
            task = self._tasks.of(batch.tp)
            if task is not None:
                task.inputs[batch.tp].next_offset = batch.next_offset
                task.touched = True
        self._committer.remember_epochs(self._tasks.running())
        if polled.batches:
            self._committer.commit_if_due()
        return process(self, polled)

    return [(Worker, "_process", processing)]


@mutant(
    "R4",
    "the worker goes on taking records between the offsets and the end of the commit",
    scenarios=["stateless"],
    kinds=["kill"],
)
def feeding_while_committing() -> Sequence[Patch]:
    offsets = Task.offsets

    def early(self):
        """The positions of the commit before."""
        now = offsets(self)
        before, self.positions_before = getattr(self, "positions_before", now), now
        return before

    class Slotless(Task):
        """A Task with room for more."""

    return [(Slotless, "offsets", early), (layout, "Task", Slotless)]


@mutant(
    "R4",
    "the state counts as committed before the commit is acknowledged",
    scenarios=["tumbling"],
    kinds=["broker-restart", "stop-past-transaction", "transaction-coordinator-moves"],
)
def published_too_early() -> Sequence[Patch]:
    def roll_back_nothing(self, error):
        self._instrument.event("rolled-back", error=str(error))
        self._transaction.replace() if isinstance(error, FencedError) else self._transaction.abort()
        for task in self._tasks:
            with suppress(KeyError):
                task.committed(task.offsets())

    return [(Worker, "_roll_back", roll_back_nothing)]


@mutant(
    "R5",
    "a fenced producer is kept",
    scenarios=["stateless"],
    kinds=["stop-past-transaction", "same-instance-twice", "end-delayed"],
)
def fenced_producers_live_on() -> Sequence[Patch]:
    roll_back = Worker._roll_back

    def keep(self, error):
        replace_, self._transaction.replace = self._transaction.replace, lambda: None
        try:
            roll_back(self, error)
        finally:
            self._transaction.replace = replace_

    return [(Worker, "_roll_back", keep)]


@mutant(
    "R5",
    "a retriable error is not repeated but stops the worker",
    scenarios=["stateless"],
    kinds=["answer-lost", "broker-restart", "transaction-coordinator-moves"],
)
def retriable_errors_are_fatal() -> Sequence[Patch]:
    def once(self, name, call, seconds):
        try:
            self._call(name, call, 0.05)
        except RetriableError as error:
            raise StateError(str(error)) from error

    return [(Transaction, "_retry", once)]


@mutant(
    "R6",
    "a producer whose EndTxn was disturbed is used again",
    scenarios=["stateless", "tumbling"],
    kinds=["end-delayed", "end-repeated"],
    faults=4,
)
def disturbed_producers_live_on() -> Sequence[Patch]:
    return [(Transaction, "_recycle_if_disturbed", lambda *_: None)]


@mutant(
    "R6",
    "a producer whose offsets may still be on their way is used again",
    scenarios=["stateless", "tumbling"],
    kinds=["request-repeated", "request-delayed"],
    faults=6,
    request="TxnOffsetCommit",
)
def late_offsets_are_nothing() -> Sequence[Patch]:
    return [(MemoryProducer, "_note_lost", lambda *_: None)]


@mutant(
    "R6",
    "a commit whose outcome is not known counts as done",
    scenarios=["stateless", "tumbling"],
    kinds=["cut-in-commit"],
    faults=4,
    request="EndTxn",
    seconds=2.6,
)
def unknown_outcomes_count_as_done() -> Sequence[Patch]:
    call = Transaction._call

    def calling(self, name, what, timeout):
        try:
            call(self, name, what, timeout)
        except RetriableError:
            if name != "commit":
                raise
            self.replace()

    return [(Transaction, "_call", calling)]


@mutant(
    "R7",
    "an abort leaves what is in memory as it is",
    scenarios=["stateless", "tumbling"],
    kinds=["transaction-coordinator-moves", "stop-past-transaction", "broker-restart"],
)
def nothing_is_rewound() -> Sequence[Patch]:
    def roll_back(self, error):
        self._transaction.replace() if isinstance(error, FencedError) else self._transaction.abort()
        for task in self._tasks:
            task.touched = False

    return [(Worker, "_roll_back", roll_back)]


@mutant(
    "R7",
    "after an abort only the partitions are rewound, the state is not",
    scenarios=["tumbling"],
    kinds=["transaction-coordinator-moves", "stop-past-transaction", "broker-restart"],
)
def state_is_not_rewound() -> Sequence[Patch]:
    def roll_back(self, error):
        self._instrument.event("rolled-back", error=str(error))
        self._transaction.replace() if isinstance(error, FencedError) else self._transaction.abort()
        for task in self._tasks:
            for tp, position in task.inputs.items():
                if tp in task.last_committed:
                    position.next_offset = task.last_committed[tp].offset
                    self._consumer.seek(tp, position.next_offset)
            task.touched = False

    return [(Worker, "_roll_back", roll_back)]
