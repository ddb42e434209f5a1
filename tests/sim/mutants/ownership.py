"""Mutants of who may commit what (R8-R12, R17, R21)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from streamkit.errors import KafkaError
from streamkit.kafka.client import GroupMetadata, TopicPartition
from streamkit.kafka.memory.server import classic_group, consumer_group
from streamkit.runtime import takeover, transaction
from streamkit.runtime.assignment import Assignment
from streamkit.runtime.commit import Committer
from streamkit.runtime.restore import Restore
from streamkit.runtime.takeover import TakeOver
from streamkit.runtime.task import TaskState
from streamkit.runtime.transaction import Transaction
from streamkit.runtime.worker import Worker
from streamkit.testing.sim import process
from tests.sim.mutants.mutant import Patch, mutant

_REBALANCES = ("join", "leave", "rebalance-storm", "rolling-restart")


@mutant(
    "R8",
    "what is in hand when partitions are revoked is committed later, not inside the callback",
    scenarios=["stateless", "tumbling"],
    kinds=_REBALANCES,
)
def commit_after_the_callback() -> Sequence[Patch]:
    return [
        (Assignment, "on_revoked", Assignment._gone),  # neither committed nor aborted, and the tasks stay
        (Committer, "_check_ownership", lambda *_: None),
    ]


@mutant("R8", "a commit that failed inside the callback counts as done: the task is parked as it is",
        scenarios=["tumbling", "stateless"],
        kinds=["rebalance-storm", "transaction-coordinator-moves", "join"], faults=8)  # fmt: skip
def failed_commit_inside_the_callback_is_ignored() -> Sequence[Patch]:
    def before_revoke(self):
        try:
            self._committer.hurry()
            if self._tasks.touched:
                self._committer.commit(within_s=0.3)
        except KafkaError:
            self._transaction.abort()
            for task in self._tasks:
                task.touched = False

    return [(Worker, "_commit_before_revoke", before_revoke)]


@mutant(
    "R9",
    "what was in hand when partitions were lost is committed with the metadata of the next membership",
    scenarios=["stateless", "tumbling"],
    kinds=["stop-past-session"],
    faults=4,
    workers=3,
    request="Heartbeat",
)
def lost_work_is_committed() -> Sequence[Patch]:
    """The tasks stay, the transaction stays open, and nobody compares epochs."""
    return [
        (Worker, "_lost", lambda *_: None),
        (Worker, "_leave", lambda *_: []),
        (Committer, "_check_ownership", lambda *_: None),
    ]


@mutant("R10", "the identity in the group is read once and kept", scenarios=["stateless"], kinds=_REBALANCES)
def cached_metadata() -> Sequence[Patch]:
    commit = Transaction.commit

    def committing(self, offsets, group, within_s=None):
        self.cached = getattr(self, "cached", group)
        commit(self, offsets, self.cached, within_s)

    return [(Transaction, "commit", committing)]


@mutant("R10", "offsets are sent without an identity, which brokers take unfenced", scenarios=["stateless", "tumbling"],
        kinds=["stop-past-session"], faults=4)  # fmt: skip
def no_identity() -> Sequence[Patch]:
    commit = Transaction.commit

    def committing(self, offsets, group, within_s=None):
        commit(self, offsets, GroupMetadata(group.group_id, -1, ""), within_s)

    return [(Transaction, "commit", committing), (transaction, "_refuse_unfenced", lambda *_: None)]


@mutant(
    "R11",
    "tasks whose partitions were lost are not discarded",
    scenarios=["tumbling", "stateless"],
    kinds=["stop-past-session", "slow"],
    faults=4,
)
def lost_tasks_are_kept() -> Sequence[Patch]:
    return [(Worker, "_lost", lambda *_: None)]


@mutant("R12", "a task runs while it is restored", scenarios=["tumbling", "repartitioned"], kinds=["kill", "leave", "join"])
def runs_before_it_is_restored() -> Sequence[Patch]:
    def at_once(self, timeout):
        self._finish()
        return True

    return [(Restore, "step", at_once)]


@mutant("R12", "a task runs with only some of its inputs", scenarios=["idle"], kinds=_REBALANCES)
def runs_without_all_inputs() -> Sequence[Patch]:
    def wanted(self):
        here = {task.id for task in self._tasks}
        owned = self._assignment.owned
        return {task: inputs for task, inputs in self._layout.task_inputs().items() if task not in here and owned & set(inputs)}

    def leave(self, partitions):
        return [task for task in self._tasks.among(partitions) if task.state is TaskState.RUNNING and not self._assignment.owned]

    return [(TakeOver, "_wanted", wanted), (Worker, "_leave", leave), (classic_group, "assign_range", _apart)]


def _apart(subscriptions, partition_count) -> dict[str, list[TopicPartition]]:
    """An assignor that does not keep partition n of all topics together."""
    members = sorted(subscriptions)
    shares: dict[str, list[TopicPartition]] = {member: [] for member in members}
    for index, topic in enumerate(sorted({topic for wanted in subscriptions.values() for topic in wanted})):
        for number in range(partition_count(topic)):
            shares[members[(index + number) % len(members)]].append(TopicPartition(topic, number))
    return shares


@mutant("R17", "every start takes a transactional id of its own, so nobody ends what a dead worker left open",
        scenarios=["stateless", "tumbling"],
        kinds=["kill-in-commit"])  # fmt: skip
def transactional_ids_are_drawn() -> Sequence[Patch]:
    number = count()
    worker = process.Worker

    def making(*given, transactional_id, **named):
        return worker(*given, transactional_id=f"{transactional_id}-{next(number)}", **named)

    return [(process, "Worker", making)]


@mutant("R21", "an assignor is used that does not keep co-partitioned topics together", scenarios=["idle"], kinds=["join"])
def round_robin() -> Sequence[Patch]:
    return [(classic_group, "assign_range", _apart), (consumer_group, "assign_range", _apart)]


@mutant(
    "R8",
    "a parked task goes on without a look at what was committed meanwhile",
    scenarios=["stateless", "tumbling"],
    kinds=["rebalance-storm", "leave", "join", "stop-past-session"],
    faults=6,
    workers=3,
)
def parked_tasks_resume_unseen() -> Sequence[Patch]:
    return [(takeover, "may_resume", lambda *_: True)]
