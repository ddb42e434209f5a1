"""The door to an embedded cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamkit.kafka.memory.client.admin import MemoryAdmin
from streamkit.kafka.memory.client.consumer import MemoryConsumer
from streamkit.kafka.memory.client.group_settings import GroupProtocol, GroupSettings
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.client.producer import MemoryProducer
from streamkit.kafka.memory.client.reader import MemoryReader
from streamkit.kafka.memory.cluster import Cluster
from streamkit.kafka.memory.network import Network


class MemoryClient:
    """Implements `KafkaClient`: one process's door to `cluster`. ``client_id`` names it in member ids and in faults.

    ``network`` is its way to the cluster (the cluster's own by default), ``group`` how it takes part in groups (of which
    ``group_protocol`` and ``group_instance_id`` may be given on their own). ``guards`` is
    whether producers refuse, like our client of a real Kafka, offsets that no broker would fence.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        client_id: str = "streamkit",
        transaction_timeout_ms: int = 60_000,
        group: GroupSettings | None = None,
        group_protocol: GroupProtocol | None = None,
        group_instance_id: str | None = None,
        network: Network | None = None,
        guards: bool = True,
    ) -> None:
        self._cluster = cluster
        self._link = Link(cluster.broker, cluster.faults, client_id, network or cluster.network)
        self._transaction_timeout_ms = transaction_timeout_ms
        settings = group or GroupSettings()
        self._group = replace(
            settings,
            protocol=group_protocol or settings.protocol,
            instance_id=group_instance_id or settings.instance_id,
        )
        self._guards = guards
        self._consumers: list[MemoryConsumer] = []
        cluster.register(self)

    def consumer(self, group_id: str) -> MemoryConsumer:
        consumer = MemoryConsumer(self._link, group_id, self._group)
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
        return MemoryProducer(self._link, transactional_id, self._transaction_timeout_ms, guards=self._guards)

    def admin(self) -> MemoryAdmin:
        return MemoryAdmin(self._link)

    def describe(self) -> str:
        return "embedded broker"

    def background(self) -> float | None:
        """What the client library's own threads do beside the calls: heartbeats, and leaving a group whose consumer does not
        poll. To be called while the process runs (not while it is stopped); returns when it wants to be called next
        (monotonic), or None for not before a consumer has joined."""
        if self._link.is_cut:
            return None
        return min((due for consumer in self._consumers if (due := consumer.background()) is not None), default=None)

    def living_members(self) -> list[tuple[str, str]]:
        """(group, member id) of the consumers whose heartbeats go on."""
        if self._link.is_cut:
            return []
        return [member for consumer in self._consumers if (member := consumer.living_member()) is not None]

    def crash(self, *, expire: bool = True) -> None:
        """The process dies: nothing that was made here reaches the cluster any more, and its transaction stays open until
        a successor takes the transactional id. With `expire` its group memberships end at once, as after the session time-out."""
        members = [consumer.group_metadata() for consumer in self._consumers]
        self._link.cut()
        for member in members:
            if expire and member.member_id and self._cluster.has_member(member.group_id, member.member_id):
                self._cluster.expire(member.member_id)
