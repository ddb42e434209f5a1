"""Questions about the cluster and changes to it, through librdkafka's admin client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, TypeVar

import confluent_kafka as ck
from confluent_kafka import KafkaError
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not say what they re-export
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)
from confluent_kafka.admin import NewTopic as KafkaNewTopic  # type: ignore[attr-defined]

from streamkit.errors import RetriableError
from streamkit.kafka.client import Committed, NewTopic, TopicInfo, TopicPartition
from streamkit.kafka.confluent.classify import classify, error_of
from streamkit.kafka.confluent.committed import committed_of
from streamkit.kafka.confluent.events import ErrorEvents, LogTap, attach
from streamkit.kafka.confluent.settings import ConnectionSettings

_Result = TypeVar("_Result")
_UNKNOWN = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_NO_SUCH_GROUP = frozenset({KafkaError.GROUP_ID_NOT_FOUND})
_NO_GROUP_CONFIGS = frozenset({KafkaError.INVALID_REQUEST, KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})
_PASSING = ("UNSTABLE_OFFSET_COMMIT", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")
_POLL_S = 0.03
_SLICE_S = 0.5
_NO_LEADER = "_NOENT"
_LEARN_S = 0.5
_NEWS_TRAVELS_S = 15.0
"""So long after a topic was created, a broker that does not know it is taken to be behind the others."""


class ClusterAdmin:
    """Implements Admin. Time-outs bound the whole call."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._where = settings.bootstrap_servers
        self._events = ErrorEvents("admin")
        self._admin = AdminClient(attach(settings.admin_config(), LogTap(debug=settings.debugs), self._events))
        self._created: dict[str, float] = {}  # topics that we saw made -> when

    # ---- cluster and topics ------------------------------------------------------------------------------------------

    def cluster_id(self, timeout: float) -> str:
        """Asked in slices: that the cluster refuses us comes as an event, which would have to wait for the end of the call."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._call("cluster_id", lambda: str(self._admin.cluster_id(timeout=min(_left(deadline), _SLICE_S))))
            except RetriableError as raised:
                if time.monotonic() >= deadline:
                    why = self._events.lately() or "no answer"
                    raise RetriableError(why, code=raised.code, call="cluster_id") from raised

    def topic_names(self, timeout: float) -> list[str]:
        return sorted(self._call("list_topics", lambda: self._admin.list_topics(timeout=timeout)).topics)

    def describe_topics(self, names: Sequence[str], timeout: float) -> dict[str, TopicInfo | None]:
        if not names:
            return {}
        deadline = time.monotonic() + timeout
        while True:
            found = self._described(names, deadline)
            now = time.monotonic()
            # Each question may go to another broker, and not every broker hears of a new topic at the same moment.
            is_new = {name for name, at in self._created.items() if now - at < _NEWS_TRAVELS_S}
            if now > deadline or not any(info is None and name in is_new for name, info in found.items()):
                return found
            time.sleep(_POLL_S)

    def _described(self, names: Sequence[str], deadline: float) -> dict[str, TopicInfo | None]:
        asked = self._call(
            "describe_topics",
            lambda: self._admin.describe_topics(ck.TopicCollection(list(names)), request_timeout=_left(deadline)),
        )
        found = {
            name: self._answer(
                "describe_topics", asked[name], deadline, about=f"topic '{name}'", operation="DESCRIBE", absent=_UNKNOWN
            )
            for name in names
        }
        configs = self._topic_configs([name for name, topic in found.items() if topic is not None], deadline)
        return {
            name: None
            if topic is None or name not in configs
            else TopicInfo(name, len(topic.partitions), str(topic.topic_id), configs[name])
            for name, topic in found.items()
        }

    def _topic_configs(self, names: Iterable[str], deadline: float) -> dict[str, dict[str, str]]:
        resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in names}
        if not resources:
            return {}
        wanted = list(resources.values())
        asked = self._call("describe_configs", lambda: self._admin.describe_configs(wanted, request_timeout=_left(deadline)))
        configs: dict[str, dict[str, str]] = {}
        for name, resource in resources.items():
            entries = self._answer(
                "describe_configs",
                asked[resource],
                deadline,
                about=f"topic '{name}'",
                operation="DESCRIBE_CONFIGS",
                absent=_UNKNOWN,
            )
            if entries is not None:  # deleted since it was described
                configs[name] = {key: entry.value for key, entry in entries.items() if entry.value is not None}
        return configs

    def create_topics(self, topics: Sequence[NewTopic], timeout: float) -> None:
        if not topics:
            return
        deadline = time.monotonic() + timeout
        wanted = [KafkaNewTopic(t.name, t.partitions, t.replication_factor, config=dict(t.config)) for t in topics]
        asked = self._call("create_topics", lambda: self._admin.create_topics(wanted, request_timeout=timeout))
        exists = frozenset({KafkaError.TOPIC_ALREADY_EXISTS})
        for name, future in asked.items():
            self._answer("create_topics", future, deadline, about=f"topic '{name}'", operation="CREATE", absent=exists)
        self._await(
            "create_topics",
            deadline,
            lambda known: [t.name for t in topics if not _usable(known.topics.get(t.name))],
            "have no leader yet",
        )
        self._created |= dict.fromkeys((t.name for t in topics), time.monotonic())

    def delete_topics(self, names: Sequence[str], timeout: float) -> None:
        """Returns when the topics are gone. One that does not exist is not an error."""
        if not names:
            return
        deadline = time.monotonic() + timeout
        for name in names:
            self._created.pop(name, None)
        asked = self._call("delete_topics", lambda: self._admin.delete_topics(list(names), request_timeout=timeout))
        for name, future in asked.items():
            self._answer("delete_topics", future, deadline, about=f"topic '{name}'", operation="DELETE", absent=_UNKNOWN)
        self._await("delete_topics", deadline, lambda known: [name for name in names if name in known.topics], "are still there")

    def _await(self, call: str, deadline: float, missing: Callable[[ClusterMetadata], list[str]], complaint: str) -> None:
        """Polls the metadata of the cluster until nothing is missing."""
        while True:
            names = missing(self._call(call, lambda: self._admin.list_topics(timeout=_left(deadline))))
            if not names:
                return
            if time.monotonic() > deadline:
                raise RetriableError(f"topics {', '.join(names)} {complaint}", code="_TIMED_OUT", call=call)
            time.sleep(_POLL_S)

    # ---- offsets -----------------------------------------------------------------------------------------------------

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, int]:
        return self._offsets(partitions, OffsetSpec.latest(), timeout)  # type: ignore[no-untyped-call]

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, int]:
        return self._offsets(partitions, OffsetSpec.earliest(), timeout)  # type: ignore[no-untyped-call]

    def _offsets(self, partitions: Sequence[TopicPartition], spec: OffsetSpec, timeout: float) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        try:
            return self._ask_leaders(partitions, spec, timeout)
        except RetriableError as error:
            self._learn_leaders({tp.topic for tp in partitions})
            if error.code != _NO_LEADER:
                raise
        return self._ask_leaders(partitions, spec, timeout)  # seen on a busy machine: with what is known now, it is answered

    def _learn_leaders(self, topics: Iterable[str]) -> None:
        """Reads the metadata anew. An admin client asks the leaders that it once heard of, whatever they answer, for ten seconds
        and more after they were killed, stopped or replaced (librdkafka 2.16)."""
        deadline = time.monotonic() + _LEARN_S
        for topic in sorted(topics):
            with suppress(ck.KafkaException):  # the broker that was chosen may be the one that is gone: the next call learns more
                self._admin.list_topics(topic, timeout=_left(deadline))

    def _ask_leaders(self, partitions: Sequence[TopicPartition], spec: OffsetSpec, timeout: float) -> dict[TopicPartition, int]:
        deadline = time.monotonic() + timeout
        wanted = {tp: ck.TopicPartition(tp.topic, tp.partition) for tp in partitions}
        asked = self._call(
            "list_offsets",
            # read_committed would give the last stable offset, which lies before data of transactions still open (R13, R26).
            lambda: self._admin.list_offsets(
                dict.fromkeys(wanted.values(), spec),
                isolation_level=ck.IsolationLevel.READ_UNCOMMITTED,
                request_timeout=timeout,
            ),
        )
        found = {
            tp: int(self._answer("list_offsets", asked[one], deadline, about=str(tp), operation="DESCRIBE").offset)
            for tp, one in wanted.items()
        }
        # A request that timed out is answered with -1001 and no error (librdkafka 2.16; seen with a stopped broker).
        unknown = [str(tp) for tp, offset in found.items() if offset < 0]
        if unknown:
            raise RetriableError(f"no answer in time for {', '.join(unknown)}", code="_TIMED_OUT", call="list_offsets")
        return found

    def delete_records(self, before: Mapping[TopicPartition, int], timeout: float) -> None:
        if not before:
            return
        deadline = time.monotonic() + timeout
        wanted = [ck.TopicPartition(tp.topic, tp.partition, offset) for tp, offset in before.items()]
        asked = self._call("delete_records", lambda: self._admin.delete_records(wanted, request_timeout=timeout))
        for one, future in asked.items():
            self._answer("delete_records", future, deadline, about=f"{one.topic}-{one.partition}", operation="DELETE")

    # ---- groups ------------------------------------------------------------------------------------------------------

    def group_offsets(self, group: str, timeout: float) -> dict[TopicPartition, Committed]:
        """What is committed, once no transaction holds offsets of the group pending; empty for a group that does not exist.

        A commit returns before the offsets are out of the coordinator's pending state, so without waiting for that the
        offsets of a moment ago would be the old ones. RetriableError if it takes longer than the time-out. Of a partition that
        the group commits for the first time the broker says nothing until then: `Consumer.committed` asks for it by name
        and waits for it, which a question about the whole group cannot.
        """

        def ask(deadline: float) -> dict[TopicPartition, Committed]:
            # A coordinator that answers this question with "not me" or "loading" crashes the process: librdkafka 2.16 then looks
            # for the consumer group of a client that has none (seen on a fresh broker, in rd_kafka_handle_OffsetFetch). So the
            # coordinator is first asked something whose refusals it can take.
            self._describe_group(group, deadline)
            return self._stable_offsets(group, deadline)

        return self._once_passed(ask, timeout)

    def _describe_group(self, group: str, deadline: float) -> None:
        call = "describe_consumer_groups"
        asked = self._call(call, lambda: self._admin.describe_consumer_groups([group], request_timeout=_left(deadline)))
        self._answer(call, asked[group], deadline, about=f"group '{group}'", operation="DESCRIBE", absent=_NO_SUCH_GROUP)

    def _stable_offsets(self, group: str, deadline: float) -> dict[TopicPartition, Committed]:
        call, about = "list_consumer_group_offsets", f"group '{group}'"
        request = [ck.ConsumerGroupTopicPartitions(group)]
        asked = self._call(
            call, lambda: self._admin.list_consumer_group_offsets(request, require_stable=True, request_timeout=_left(deadline))
        )
        answer = self._answer(call, asked[group], deadline, about=about, operation="DESCRIBE", absent=_NO_SUCH_GROUP)
        found: dict[TopicPartition, Committed] = {}
        for one in answer.topic_partitions if answer is not None else ():
            if one.error is not None:
                raise classify(one.error, call, about=f"{about}, {one.topic}-{one.partition}")
            committed = committed_of(one)
            if committed is not None:
                found[TopicPartition(one.topic, one.partition)] = committed
        return found

    def group_session_timeout_ms(self, group: str, timeout: float) -> int | None:
        deadline = time.monotonic() + timeout
        call, resource = "describe_configs", ConfigResource(ResourceType.GROUP, group)
        asked = self._call(call, lambda: self._admin.describe_configs([resource], request_timeout=_left(deadline)))
        entries = self._answer(
            call, asked[resource], deadline, about=f"group '{group}'", operation="DESCRIBE_CONFIGS", absent=_NO_GROUP_CONFIGS
        )
        entry = (entries or {}).get("consumer.session.timeout.ms")
        return None if entry is None else int(entry.value)

    def delete_group(self, group: str, timeout: float) -> None:
        """A group that does not exist is not an error; one that still has members is."""

        def delete(deadline: float) -> None:
            asked = self._call(
                "delete_group", lambda: self._admin.delete_consumer_groups([group], request_timeout=_left(deadline))
            )
            self._answer(
                "delete_group", asked[group], deadline, about=f"group '{group}'", operation="DELETE", absent=_NO_SUCH_GROUP
            )

        self._once_passed(delete, timeout)

    def close(self) -> None:
        self._admin.poll(0)
        del self._admin

    @staticmethod
    def _once_passed(ask: Callable[[float], _Result], timeout: float) -> _Result:
        """Asks again while the group's coordinator is only not ready: on a fresh broker it loads for a moment."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return ask(deadline)
            except RetriableError as raised:
                if raised.code not in _PASSING or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    # ---- calls -------------------------------------------------------------------------------------------------------

    def _call(self, call: str, function: Callable[[], _Result]) -> _Result:
        try:
            return function()
        except ck.KafkaException as raised:
            raise self._classified(raised, call, f"broker {self._where}", "") from raised

    def _answer(
        self,
        call: str,
        future: Future[Any],
        deadline: float,
        *,
        about: str,
        operation: str,
        absent: frozenset[int] = frozenset(),
    ) -> Any:
        """The result of a future; None if the error is one of `absent`."""
        try:
            # librdkafka bounds the request by the same deadline; the extra is for its answer to arrive.
            return future.result(_left(deadline) + 0.5)
        except ck.KafkaException as raised:
            if error_of(raised).code() in absent:
                return None
            raise self._classified(raised, call, about, operation) from raised
        except FutureTimeout as raised:
            raise RetriableError(f"{about}: no answer in time", code="_TIMED_OUT", call=call) from raised

    def _classified(self, raised: ck.KafkaException, call: str, about: str, operation: str) -> Exception:
        self._admin.poll(0)  # error events arrive only while the client is polled
        return self._events.classified(error_of(raised), call, about=about, operation=operation)


def _left(deadline: float) -> float:
    """What remains, at least a moment: librdkafka takes 0 for its default."""
    return max(0.05, deadline - time.monotonic())


def _usable(topic: TopicMetadata | None) -> bool:
    return (
        topic is not None
        and topic.error is None
        and bool(topic.partitions)
        and all(p.leader >= 0 for p in topic.partitions.values())
    )
