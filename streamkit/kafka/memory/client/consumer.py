"""A member of a consumer group on the embedded cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamkit.errors import FatalError
from streamkit.kafka.client import Committed, GroupMetadata, Polled, RebalanceListener, TopicPartition
from streamkit.kafka.memory.client.classic_membership import ClassicMembership
from streamkit.kafka.memory.client.consumer_membership import ConsumerMembership
from streamkit.kafka.memory.client.fetcher import Fetcher
from streamkit.kafka.memory.client.group_settings import GroupSettings
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.client.membership import Membership
from streamkit.kafka.memory.client.stable_offsets import stable_offsets
from streamkit.kafka.memory.faults import Faults, faulty


class MemoryConsumer:
    """Implements `Consumer`."""

    def __init__(self, link: Link, group_id: str, settings: GroupSettings) -> None:
        self._link = link
        self._group_id = group_id
        self._settings = settings
        self._fetcher = Fetcher(link)
        self._membership: Membership | None = None

    @property
    def faults(self) -> Faults:
        return self._link.faults

    @property
    def client_id(self) -> str:
        return self._link.client_id

    @faulty
    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        kind = ClassicMembership if self._settings.protocol == "classic" else ConsumerMembership
        self._membership = kind(
            self._link, self._group_id, topics, listener, self._settings, self._fetcher.add, self._fetcher.remove
        )

    @faulty
    def poll(self, max_records: int, timeout: float) -> Polled:
        membership = self._membership
        if membership is None:
            raise FatalError("poll before subscribe", code="_STATE", call="poll")
        deadline = self._link.clock.monotonic() + timeout
        while True:
            seen = self._link.version
            membership.keep_up()
            polled = self._fetcher.fetch(max_records)
            if polled.batches or polled.ends:
                return polled
            beat = membership.next_heartbeat()
            until = deadline if beat is None else min(deadline, beat)
            if not self._fetcher.wait(seen, until) and until >= deadline:
                return polled

    def background(self) -> float | None:
        """What librdkafka's own thread does, see `Membership.background`."""
        return None if self._membership is None else self._membership.background()

    def living_member(self) -> tuple[str, str] | None:
        """Group and member id, while its heartbeats go on."""
        membership = self._membership
        return (self._group_id, membership.member_id) if membership is not None and membership.lives() else None

    @faulty
    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._fetcher.pause(partitions)

    @faulty
    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._fetcher.resume(partitions)

    @faulty
    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._fetcher.seek(tp, offset)

    @faulty
    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, Committed | None]:
        return stable_offsets(self._link, "committed", self._group_id, list(partitions), timeout)

    @faulty
    def group_metadata(self) -> GroupMetadata:
        membership = self._membership
        if membership is None:
            return GroupMetadata(self._group_id, -1, "", self._settings.instance_id)
        return GroupMetadata(self._group_id, membership.generation, membership.member_id, self._settings.instance_id)

    @faulty
    def close(self) -> None:
        if self._membership is not None:
            self._membership.leave()
            self._membership = None
