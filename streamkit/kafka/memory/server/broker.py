"""What the broker side keeps: topics, groups, transactions and a clock, behind one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from streamkit.clock import Clock
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory.server.classic_group import ClassicGroup
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.group import Group
from streamkit.kafka.memory.server.log import PartitionLog, ProducerId
from streamkit.kafka.memory.server.topic import Topic
from streamkit.kafka.memory.server.transaction import TransactionCoordinator

GROUP_REQUESTS: Final = frozenset(
    {
        "JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "ConsumerGroupHeartbeat", "OffsetFetch", "TxnOffsetCommit",
        "DeleteGroups",
    }
)  # fmt: skip
TRANSACTION_REQUESTS: Final = frozenset({"InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn"})
PARTITION_REQUESTS: Final = frozenset({"Produce", "Fetch", "ListOffsets", "DeleteRecords"})


@dataclass(frozen=True, slots=True)
class Outage:
    """Requests that are answered with an error until a moment (monotonic)."""

    requests: frozenset[str]
    code: str
    until: float


class Ended(NamedTuple):
    """The end of a transaction as a group sees it: its offsets have just become visible, or were dropped."""

    transactional_id: str
    producer: ProducerId
    commit: bool
    group_id: str
    offsets: Mapping[TopicPartition, Committed]


def _at_once(what: str, action: Callable[[], None]) -> None:  # noqa: ARG001 - a simulation chooses by it
    action()


class Broker:
    """The state that requests read and change. Requests run one at a time, under `changed`'s lock; whatever may end
    somebody's wait (records, markers, group changes) calls `touch`."""

    def __init__(self, clock: Clock, cluster_id: str) -> None:
        self.clock = clock
        self.cluster_id = cluster_id
        self.topics: dict[str, Topic] = {}
        self.groups: dict[str, Group] = {}
        self.transactions = TransactionCoordinator()
        self.outages: list[Outage] = []
        self.defer: Callable[[str, Callable[[], None]], None] = _at_once
        """Has the broker do, sooner or later, what follows from a decision: the markers of a transaction, one by one. A
        simulation puts a delay here; the actions may come in any order."""
        self.observers: list[Callable[[Ended], None]] = []
        self.changed = threading.Condition(threading.RLock())
        self.version = 0
        self.consumer_session_timeout_ms = 45_000  # group.consumer.session.timeout.ms
        self.consumer_heartbeat_interval_ms = 5_000  # group.consumer.heartbeat.interval.ms
        self._made = 0

    def touch(self) -> None:
        self.version += 1
        self.changed.notify_all()

    def tell(self, ended: Ended) -> None:
        for observer in self.observers:
            observer(ended)

    def next_number(self) -> int:
        """A number that was not used before in this cluster: for member ids and incarnations of topics."""
        self._made += 1
        return self._made

    # -- outages --------------------------------------------------------------------------------------------------------

    def begin_outage(self, requests: Iterable[str], code: str, until: float) -> None:
        """Has the requests answered with `code` until then. What is in memory and was acknowledged stays."""
        self.outages.append(Outage(frozenset(requests), code, until))

    def refuse_during_outage(self, request: str) -> None:
        now = self.clock.monotonic()
        for outage in self.outages:
            if outage.until > now and request in outage.requests:
                raise BrokerError(outage.code, f"{request} cannot be served at the moment")

    def outage_end(self, requests: frozenset[str]) -> float:
        """Until when all of these are refused; 0 if they are not."""
        return max((outage.until for outage in self.outages if requests <= outage.requests), default=0.0)

    def drop_ended_outages(self, now: float) -> bool:
        """Whether any has ended."""
        before = len(self.outages)
        self.outages[:] = [outage for outage in self.outages if outage.until > now]
        return len(self.outages) < before

    # -- topics and groups ----------------------------------------------------------------------------------------------

    def partition_count(self, topic: str) -> int:
        found = self.topics.get(topic)
        return len(found.logs) if found is not None else 0

    def log(self, tp: TopicPartition) -> PartitionLog:
        topic = self.topics.get(tp.topic)
        if topic is None or not 0 <= tp.partition < len(topic.logs):
            raise BrokerError("UNKNOWN_TOPIC_OR_PART", f"{tp} does not exist")
        return topic.logs[tp.partition]

    def announce(self, topic: str) -> None:
        """The topic came, went or grew: groups share anew, and whoever waits looks again."""
        for group in self.groups.values():
            group.on_metadata_change(topic, self.clock.monotonic())
        self.touch()

    def classic_group(self, group_id: str) -> ClassicGroup:
        """The members of a group that is there and speaks the classic protocol."""
        group = self.groups.get(group_id)
        if group is None or not isinstance(group.membership, ClassicGroup):
            raise BrokerError("UNKNOWN_MEMBER_ID", f"there is no group {group_id}")
        return group.membership

    def group(self, group_id: str) -> Group:
        """The group, made if need be."""
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = Group(group_id, self.partition_count)
        return group
