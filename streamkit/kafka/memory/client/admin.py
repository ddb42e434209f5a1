"""Questions about the embedded cluster and changes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

from streamkit.errors import RetriableError
from streamkit.kafka.client import Committed, NewTopic, TopicInfo, TopicPartition
from streamkit.kafka.memory.client.classify import classified
from streamkit.kafka.memory.client.link import Link
from streamkit.kafka.memory.client.stable_offsets import stable_offsets
from streamkit.kafka.memory.faults import Faults, faulty
from streamkit.kafka.memory.server.broker import Broker
from streamkit.kafka.memory.server.errors import BrokerError
from streamkit.kafka.memory.server.log import Isolation
from streamkit.kafka.memory.server.requests import list_offsets, metadata
from streamkit.kafka.memory.server.requests.create_topics import create_topic
from streamkit.kafka.memory.server.requests.delete_groups import delete_group
from streamkit.kafka.memory.server.requests.delete_records import delete_records
from streamkit.kafka.memory.server.requests.delete_topics import delete_topic
from streamkit.kafka.memory.server.requests.describe_group_configs import session_timeout_ms

P = ParamSpec("P")
R = TypeVar("R")


def _cluster_id(broker: Broker) -> str:
    return broker.cluster_id


class MemoryAdmin:
    """Implements `Admin`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def faults(self) -> Faults:
        return self._link.faults

    @property
    def client_id(self) -> str:
        return self._link.client_id

    @faulty
    def cluster_id(self, timeout: float) -> str:
        return self._ask(timeout, "cluster_id", "Metadata", _cluster_id)

    @faulty
    def topic_names(self, timeout: float) -> list[str]:
        return self._ask(timeout, "topic_names", "Metadata", metadata.list_topics)

    @faulty
    def describe_topics(self, names: Sequence[str], timeout: float) -> dict[str, TopicInfo | None]:
        return self._ask(timeout, "describe_topics", "Metadata", metadata.describe_topics, names)

    @faulty
    def create_topics(self, new_topics: Sequence[NewTopic], timeout: float) -> None:
        call = self._link.call("create_topics", timeout)
        for new in new_topics:
            with self._unless("TOPIC_ALREADY_EXISTS", "create_topics"):
                call.send("CreateTopics", create_topic, new)

    @faulty
    def delete_topics(self, names: Sequence[str], timeout: float) -> None:
        """One that does not exist is not an error."""
        call = self._link.call("delete_topics", timeout)
        for name in names:
            with self._unless("UNKNOWN_TOPIC_OR_PART", "delete_topics"):
                call.send("DeleteTopics", delete_topic, name)

    @faulty
    def end_offsets(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, int]:
        self._require_leaders(timeout, "end_offsets", partitions)
        return self._ask(
            timeout, "end_offsets", "ListOffsets", list_offsets.list_end_offsets, partitions, Isolation.READ_UNCOMMITTED
        )

    @faulty
    def start_offsets(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, int]:
        self._require_leaders(timeout, "start_offsets", partitions)
        return self._ask(timeout, "start_offsets", "ListOffsets", list_offsets.list_start_offsets, partitions)

    @faulty
    def delete_records(self, before: Mapping[TopicPartition, int], timeout: float) -> None:
        self._require_leaders(timeout, "delete_records", before)
        self._ask(timeout, "delete_records", "DeleteRecords", delete_records, before)

    @faulty
    def group_offsets(self, group: str, timeout: float) -> dict[TopicPartition, Committed]:
        found = stable_offsets(self._link, "group_offsets", group, None, timeout)
        return {tp: committed for tp, committed in found.items() if committed is not None}

    @faulty
    def group_session_timeout_ms(self, group: str, timeout: float) -> int | None:
        return self._ask(timeout, "group_session_timeout_ms", "DescribeConfigs", session_timeout_ms, group)

    @faulty
    def delete_group(self, group: str, timeout: float) -> None:
        """A group that does not exist is not an error; one that still has members is."""
        with self._unless("GROUP_ID_NOT_FOUND", "delete_group"):
            self._link.call("delete_group", timeout).send("DeleteGroups", delete_group, group)

    def close(self) -> None:
        pass

    def _require_leaders(self, timeout: float, call: str, partitions: Iterable[TopicPartition]) -> None:
        """Librdkafka asks the partitions' leaders; where no partition has one, it has nobody to ask."""
        asking = self._link.call(call, timeout)
        counts = [(tp.partition, asking.send("Metadata", metadata.partition_count, tp.topic)) for tp in partitions]
        if counts and all(partition >= count for partition, count in counts):
            raise RetriableError("none of the partitions exists", code="_NOENT", call=call)

    @contextmanager
    def _unless(self, expected: str, call: str) -> Iterator[None]:
        """Takes an answer with the code `expected` for success."""
        try:
            yield
        except BrokerError as error:
            if error.code != expected:
                raise classified(error, call) from error

    def _ask(
        self,
        timeout: float,
        call: str,
        request: str,
        handler: Callable[Concatenate[Broker, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        try:
            return self._link.call(call, timeout).send(request, handler, *args, **kwargs)
        except BrokerError as error:
            raise classified(error, call) from error
