"""A consumer that belongs to no group: reads the committed records of changelog partitions it is told."""

from __future__ import annotations

from collections.abc import Mapping

import confluent_kafka as ck
from confluent_kafka import KafkaError

from streamkit.kafka.client import Polled, TopicPartition
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, attach
from streamkit.kafka.confluent.fetch import Fetch
from streamkit.kafka.confluent.settings import ConnectionSettings


class ChangelogReader:
    """Implements Reader. librdkafka insists on a group id; nothing is ever committed or joined under it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        events = ErrorEvents("reader")
        # A restore ends with the report of the end, and that comes with a fetch that found nothing: no need to wait long for it.
        wanted = {**settings.consumer_config(f"{settings.client_id}-reader"), "fetch.wait.max.ms": 20}
        config = attach(wanted, LogTap(debug=settings.debugs), events)
        self._consumer = ck.Consumer(config)
        self._fetch = Fetch(self._consumer, events, about="reader", ignore=_about_the_group)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._fetch.assign_at(positions)

    def poll(self, max_records: int, timeout: float) -> Polled:
        return self._fetch.poll(max_records, timeout)

    def close(self) -> None:
        self._consumer.close()


def _about_the_group(error: KafkaError) -> bool:
    """Librdkafka looks for the coordinator of the unused group id, which a principal may well not be allowed to."""
    return error.code() in (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.COORDINATOR_NOT_AVAILABLE)
