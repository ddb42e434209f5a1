"""The door to an embedded cluster."""

from __future__ import annotations

from collections.abc import Callable

from streamkit.kafka.memory.client.admin import MemoryAdmin
from streamkit.kafka.memory.client.consumer import MemoryConsumer
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.client.producer import MemoryProducer
from streamkit.kafka.memory.client.reader import MemoryReader
from streamkit.kafka.memory.cluster import Cluster


class MemoryClient:
    """Implements `KafkaClient`: one process's door to `cluster`. ``client_id`` names it in member ids and in faults."""

    def __init__(self, cluster: Cluster, *, client_id: str = "streamkit", transaction_timeout_ms: int = 60_000) -> None:
        self._cluster = cluster
        self._link = Link(cluster.broker, cluster.faults, client_id)
        self._transaction_timeout_ms = transaction_timeout_ms
        self._consumers: list[MemoryConsumer] = []

    def consumer(self, group_id: str) -> MemoryConsumer:
        consumer = MemoryConsumer(self._link, group_id)
        self._consumers.append(consumer)
        return consumer

    def reader(self) -> MemoryReader:
        return MemoryReader(self._link)

    def producer(
        self,
        transactional_id: str,
        *,
        on_log: Callable[[str], None] | None = None,  # noqa: ARG002 - there is no connection that could log
    ) -> MemoryProducer:
        return MemoryProducer(self._link, transactional_id, self._transaction_timeout_ms)

    def admin(self) -> MemoryAdmin:
        return MemoryAdmin(self._link)

    def describe(self) -> str:
        return "embedded broker"

    def crash(self, *, expire: bool = True) -> None:
        """The process dies: nothing that was made here reaches the cluster any more, and its transaction stays open until
        a successor takes the transactional id. With `expire` its group memberships end at once, as after the session time-out."""
        members = [consumer.group_metadata() for consumer in self._consumers]
        self._link.cut()
        for member in members:
            if expire and member.member_id and self._cluster.has_member(member.group_id, member.member_id):
                self._cluster.expire(member.member_id)
