"""The door to one cluster: makes its clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import confluent_kafka as ck

from streamkit.errors import ConfigError
from streamkit.kafka.confluent.admin import ClusterAdmin
from streamkit.kafka.confluent.consumer import GroupConsumer
from streamkit.kafka.confluent.native import Extension, extension
from streamkit.kafka.confluent.producer import TransactionalProducer
from streamkit.kafka.confluent.reader import ChangelogReader
from streamkit.kafka.confluent.settings import ConnectionSettings

_Made = TypeVar("_Made")


class ConfluentClient:
    """Implements KafkaClient with librdkafka. Nothing connects before a client is made."""

    def __init__(self, settings: ConnectionSettings, *, extension: Extension = extension) -> None:
        self.settings = settings
        self._extension = extension
        self._suspects: set[str] = set()  # transactional ids whose replay has to find a record that the broker refuses

    def consumer(self, group_id: str) -> GroupConsumer:
        return self._make(lambda: GroupConsumer(self.settings, group_id, extension=self._extension))

    def reader(self) -> ChangelogReader:
        return self._make(lambda: ChangelogReader(self.settings))

    def producer(self, transactional_id: str, *, on_log: Callable[[str], None] | None = None) -> TransactionalProducer:
        return self._make(
            lambda: TransactionalProducer(
                self.settings, transactional_id, on_log=on_log, suspects=self._suspects, extension=self._extension
            )
        )

    def admin(self) -> ClusterAdmin:
        return self._make(lambda: ClusterAdmin(self.settings))

    def describe(self) -> str:
        return self.settings.bootstrap_servers

    def _make(self, make: Callable[[], _Made]) -> _Made:
        """Properties are only judged by librdkafka when a client is made: an unknown name, or a value out of range."""
        try:
            return make()
        except (ck.KafkaException, TypeError, ValueError) as raised:
            text = raised.args[0].str() if isinstance(raised, ck.KafkaException) else str(raised)
            raise ConfigError(f"kafka: librdkafka refuses the configuration: {text}") from None
