"""A member of a consumer group with the range assignor (R21): by the classic protocol, or by that of KIP-848.

With the classic one every callback has the whole assignment. With KIP-848 callbacks are incremental, and so are the calls that
answer them; librdkafka also tells, by an empty one, that nothing came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import confluent_kafka as ck

from streamkit.errors import RetriableError
from streamkit.kafka.client import Committed, GroupMetadata, Polled, RebalanceListener, TopicPartition
from streamkit.kafka.confluent import group_metadata
from streamkit.kafka.confluent.classify import classify, error_of
from streamkit.kafka.confluent.committed import committed_of
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, attach
from streamkit.kafka.confluent.fetch import Fetch
from streamkit.kafka.confluent.settings import ConnectionSettings


class GroupConsumer:
    """Implements Consumer. One thread owns it; callbacks run inside `poll` and `close`."""

    def __init__(self, settings: ConnectionSettings, group_id: str) -> None:
        self._group_id = group_id
        self._incremental = settings.group_protocol == "consumer"
        self.events = ErrorEvents(f"consumer of group '{group_id}'")
        config = attach(settings.consumer_config(group_id), LogTap(debug=settings.debugs), self.events)
        self._consumer = ck.Consumer(config)
        self._fetch = Fetch(self._consumer, self.events, about=f"group '{group_id}'", incremental=self._incremental)
        self._listener: RebalanceListener | None = None

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self._listener = listener
        self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def poll(self, max_records: int, timeout: float) -> Polled:
        """RetriableError also where librdkafka itself says nothing: if no broker is connected any more and nothing came."""
        polled = self._fetch.poll(max_records, timeout)
        all_down, self.events.all_down = self.events.all_down, False
        if all_down and not polled.batches and not polled.ends:
            raise RetriableError(self.events.lately() or "no broker is connected", code="_ALL_BROKERS_DOWN", call="poll")
        return polled

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._fetch.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._fetch.resume(partitions)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._fetch.seek(tp, offset)

    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, Committed | None]:
        """Librdkafka asks for stable offsets because isolation.level is read_committed (R13)."""
        if not partitions:
            return {}
        try:
            found = self._consumer.committed([ck.TopicPartition(tp.topic, tp.partition) for tp in partitions], timeout)
        except ck.KafkaException as raised:
            raise self.events.classified(error_of(raised), "committed", about=f"group '{self._group_id}'") from raised
        result: dict[TopicPartition, Committed | None] = {}
        for one in found:
            tp = TopicPartition(one.topic, one.partition)
            if one.error is not None:
                raise classify(one.error, "committed", about=f"group '{self._group_id}', {tp}")
            result[tp] = committed_of(one)
        return result

    def group_metadata(self) -> GroupMetadata:
        return group_metadata.decode(self._consumer.consumer_group_metadata())

    def close(self) -> None:
        self._consumer.close()
        if self._fetch.raised:
            raise self._fetch.raised.pop(0)

    # ---- rebalance callbacks: no exception leaves them (R12) ---------------------------------------------------------

    def _on_assign(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        tps = _ours(partitions)
        taken = self._kept(lambda: self._fetch.assign_paused(tps))
        if taken and self._listener is not None and (tps or not self._incremental):
            listener = self._listener
            self._kept(lambda: listener.on_assigned(tps))

    def _on_revoke(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        # The listener first: while it commits, the partitions are still ours (R8).
        if self._listener is not None:
            listener = self._listener
            self._kept(lambda: listener.on_revoked(_ours(partitions)))
        self._kept(lambda: self._fetch.unassign(_ours(partitions)))

    def _on_lost(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        if self._listener is not None:
            listener = self._listener
            self._kept(lambda: listener.on_lost(_ours(partitions)))
        self._kept(lambda: self._fetch.unassign(_ours(partitions)))

    def _kept(self, step: Callable[[], None]) -> bool:
        """Runs a step; what it raises is kept, and raised by the poll or close that the callback runs in."""
        try:
            step()
        except BaseException as raised:  # noqa: BLE001 - a callback must not raise, whatever it is
            self._fetch.raised.append(raised)
            return False
        return True


def _ours(partitions: Iterable[ck.TopicPartition]) -> list[TopicPartition]:
    return [TopicPartition(one.topic, one.partition) for one in partitions]
