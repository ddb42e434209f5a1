"""What the broker side keeps: topics, groups, transactions and a clock, behind one lock."""

from __future__ import annotations

import threading

from streamkit.clock import Clock
from streamkit.kafka.client import TopicPartition
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.group import Group
from streamkit.kafka.memory.server.log import PartitionLog
from streamkit.kafka.memory.server.topic import Topic
from streamkit.kafka.memory.server.transaction import TransactionCoordinator


class Broker:
    """The state that requests read and change. Requests run one at a time, under `changed`'s lock; whatever may end
    somebody's wait (records, markers, group changes) calls `touch`."""

    def __init__(self, clock: Clock, cluster_id: str) -> None:
        self.clock = clock
        self.cluster_id = cluster_id
        self.topics: dict[str, Topic] = {}
        self.groups: dict[str, Group] = {}
        self.transactions = TransactionCoordinator()
        self.changed = threading.Condition(threading.RLock())
        self.version = 0
        self._made = 0

    def touch(self) -> None:
        self.version += 1
        self.changed.notify_all()

    def next_number(self) -> int:
        """A number that was not used before in this cluster: for member ids and incarnations of topics."""
        self._made += 1
        return self._made

    def partition_count(self, topic: str) -> int:
        found = self.topics.get(topic)
        return len(found.logs) if found is not None else 0

    def log(self, tp: TopicPartition) -> PartitionLog:
        topic = self.topics.get(tp.topic)
        if topic is None or not 0 <= tp.partition < len(topic.logs):
            raise BrokerError("UNKNOWN_TOPIC_OR_PART", f"{tp} does not exist")
        return topic.logs[tp.partition]

    def group(self, group_id: str) -> Group:
        """The group, made if need be."""
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = Group(group_id, self.partition_count)
        return group
