"""A member of a consumer group with the range assignor (R21): by the classic protocol, or by that of KIP-848.

With the classic one every callback has the whole assignment. With KIP-848 callbacks are incremental, and so are the calls that
answer them; librdkafka also tells, by an empty one, that nothing came.

A static member that was killed is not released by KIP-848 before its session has expired, and its successor is refused until
then. For librdkafka that refusal ends a consumer, so we make another one and ask again, for as long as a session may last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import confluent_kafka as ck

from streamkit.errors import DuplicateInstanceError, GenerationError, RetriableError
from streamkit.kafka.client import Committed, GroupMetadata, Polled, RebalanceListener, TopicPartition
from streamkit.kafka.confluent import group_metadata
from streamkit.kafka.confluent.classify import classify, error_of
from streamkit.kafka.confluent.committed import committed_of
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, attach, logger
from streamkit.kafka.confluent.fetch import Fetch
from streamkit.kafka.confluent.intake import ByColumn, ByMessage
from streamkit.kafka.confluent.native import Extension, extension
from streamkit.kafka.confluent.settings import ConnectionSettings

_UNRELEASED: Final = "UNRELEASED_INSTANCE_ID"
_UNRELEASED_PAUSE_S: Final = 0.5


class GroupConsumer:
    """Implements Consumer. One thread owns it; callbacks run inside `poll` and `close`."""

    def __init__(self, settings: ConnectionSettings, group_id: str, *, extension: Extension = extension) -> None:
        self._group_id = group_id
        self._extension = extension
        self._settings = settings
        self._incremental = settings.group_protocol == "consumer"
        self._topics: list[str] = []
        self._listener: RebalanceListener | None = None
        self._release_by: float | None = None  # until when a predecessor may still hold our instance id
        self._connect()

    def _connect(self) -> None:
        self.events = ErrorEvents(f"consumer of group '{self._group_id}'")
        tap = LogTap(debug=self._settings.debugs)
        config = attach(self._settings.consumer_config(self._group_id), tap, self.events)
        self._consumer, reader = self._extension.reader(ck.Consumer, config)
        native = self._extension.native
        intake = ByMessage(self._consumer) if native is None or reader is None else ByColumn(self._consumer, native, reader)
        self._fetch = Fetch(
            self._consumer, self.events, about=f"group '{self._group_id}'", intake=intake, incremental=self._incremental
        )

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self._topics, self._listener = list(topics), listener
        self._release_by = time.monotonic() + self._settings.session_timeout_ms / 1000
        self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def poll(self, max_records: int, timeout: float) -> Polled:
        """RetriableError also where librdkafka itself says nothing: if no broker is connected any more and nothing came."""
        try:
            polled = self._fetch.poll(max_records, timeout)
        except DuplicateInstanceError as error:
            if error.code != _UNRELEASED or self._release_by is None or time.monotonic() > self._release_by:
                raise
            self._ask_again(error)
            return Polled()
        all_down, self.events.all_down = self.events.all_down, False
        if all_down and not polled.batches and not polled.ends:
            raise RetriableError(self.events.lately() or "no broker is connected", code="_ALL_BROKERS_DOWN", call="poll")
        return polled

    def _ask_again(self, error: DuplicateInstanceError) -> None:
        logger.info("waiting for the session of a predecessor to expire: %s", error)
        self._fetch.close()
        self._consumer.close()
        time.sleep(_UNRELEASED_PAUSE_S)
        self._connect()
        self._subscribe()

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
        """GenerationError where librdkafka has none any more: seen once, inside `close`."""
        try:
            opaque = self._consumer.consumer_group_metadata()
        except RuntimeError as raised:
            raise GenerationError(
                f"group '{self._group_id}': {raised}", code="UNKNOWN_MEMBER_ID", call="consumer_group_metadata"
            ) from raised
        return group_metadata.decode(opaque)

    def close(self) -> None:
        """What is still held of librdkafka goes when it destroys the client, behind the callbacks: a listener that commits in
        one may want headers of records that it was given before."""
        self._consumer.close()
        self._fetch.close()
        if self._fetch.raised:
            raise self._fetch.raised.pop(0)

    # ---- rebalance callbacks: no exception leaves them (R12) ---------------------------------------------------------

    def _on_assign(self, _consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        self._release_by = None  # from now on the instance id is ours, and another one's is a second owner
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
