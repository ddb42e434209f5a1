"""What the engine needs of Kafka: four small protocols and the values that cross them.

Everything above `kafka/` sees Kafka through these protocols only; `confluent.py` implements them with librdkafka and
`memory/` with an in-process cluster. One conformance suite (tests/conformance) holds both to the same behaviour.

Time-outs are seconds (float); timestamps are milliseconds since 1970 UTC (int64); offsets are int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Headers = list[tuple[str, bytes | None]]


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Committed(NamedTuple):
    """A committed (or to be committed) position of the group: the next offset to read, and what was stored with it."""

    offset: int
    metadata: str = ""
    leader_epoch: int | None = None


class RecordBatch(Protocol):
    """Records of one partition in offset order, as one poll gave them. Columns are extracted on demand, in C where possible."""

    @property
    def tp(self) -> TopicPartition: ...
    def __len__(self) -> int: ...
    def values(self) -> list[bytes | None]: ...
    def keys(self) -> list[bytes | None]: ...
    def offsets(self) -> Int64s: ...
    def timestamps(self) -> Int64s: ...
    def headers(self, at: Int64s | None = None) -> list[Headers | None]:
        """Of the records at these positions (int64), or of all; to ask for few of many is cheap."""
        ...

    @property
    def first_offset(self) -> int: ...
    @property
    def next_offset(self) -> int:
        """Offset of the last record + 1 (R3: computed, never read from the consumer's position)."""
        ...

    @property
    def leader_epoch(self) -> int | None: ...


@dataclass(slots=True)
class Polled:
    """What one poll returned: batches, and the partitions whose end was reached, with the end offset (behind control records)."""

    batches: list[RecordBatch] = field(default_factory=list)
    ends: dict[TopicPartition, int] = field(default_factory=dict)


class RebalanceListener(Protocol):
    """Called inside `Consumer.poll` and `Consumer.close`, on the thread that polls. No exception may leave a callback.

    With the classic protocol each callback has the whole assignment. With that of KIP-848 it has only what changes: partitions
    that it does not name stay as they are, not paused and at their positions.
    """

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """The group gave us these partitions. The client has already paused them; nothing is fetched before `resume`."""
        ...

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """The group takes these partitions; offsets may still be committed inside this call."""
        ...

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """The partitions are already gone (session expired, fenced); nothing may be committed any more."""
        ...


@dataclass(frozen=True, slots=True)
class GroupMetadata:
    """The consumer's identity within its group, read at the moment of commit (R8, R10). `opaque` is the client's own object."""

    group_id: str
    generation: int
    member_id: str
    opaque: Any = None


class Consumer(Protocol):
    """A group member. One thread owns it."""

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None: ...
    def poll(self, max_records: int, timeout: float) -> Polled:
        """At most `max_records` records; waits up to `timeout` for the first one only, then takes what is there."""
        ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...
    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...
    def seek(self, tp: TopicPartition, offset: int) -> None:
        """The next record that poll returns for `tp` is at `offset` or later; records already fetched are dropped."""
        ...

    def committed(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, Committed | None]:
        """Stable committed positions (R13: waits while transactional offsets are pending; RetriableError on time-out)."""
        ...

    def group_metadata(self) -> GroupMetadata: ...
    def close(self) -> None:
        """Leaves the group; calls on_revoked for what is still assigned."""
        ...


class Reader(Protocol):
    """A consumer without a group, for changelogs: reads committed records of partitions it was told."""

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Replaces what is read: partition -> first offset."""
        ...

    def poll(self, max_records: int, timeout: float) -> Polled: ...
    def close(self) -> None: ...


class Producer(Protocol):
    """A transactional producer. Calls are bounded by their time-out; errors are raised classified (errors.KafkaError)."""

    def init_transactions(self, timeout: float) -> None:
        """Fences older producers of the same transactional id and ends their open transaction."""
        ...

    def begin(self) -> None: ...
    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Appends to the transaction. partition -1: murmur2 of the key as in the Java client (a null key: any partition).
        timestamp 0: now. Waits for room in the client's queue while it is full."""
        ...

    def produce_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Iterable[bytes | None],
        partition: int,
        timestamps: int | Iterable[int],
        headers: Iterable[Headers | None] | None = None,
    ) -> None:
        """`produce` for whole columns, without a Python call per record. Timestamps may be an int64 array."""
        ...

    def flush(self, timeout: float) -> None:
        """Returns when every record of this transaction is acknowledged; raises the first delivery failure, classified."""
        ...

    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, timeout: float) -> None: ...
    def commit(self, timeout: float) -> None: ...
    def abort(self, timeout: float) -> None: ...
    def disturbed(self) -> str | None:
        """R6: what happened on the coordinator connection during the last commit or abort, or None if it was quiet.
        After a disturbance the producer must be replaced before the next `begin`."""
        ...

    def close(self) -> None:
        """Drops the producer without waiting: what is not committed is left to be aborted by its successor."""
        ...


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as the cluster describes it. `config` holds effective values as text."""

    name: str
    partitions: int
    topic_id: str = ""
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewTopic:
    name: str
    partitions: int
    replication_factor: int = -1  # -1: the broker's default
    config: Mapping[str, str] = field(default_factory=dict)


class Admin(Protocol):
    """Questions about the cluster and changes to it."""

    def cluster_id(self, timeout: float) -> str:
        """Also the test that a broker answers: RetriableError if none did in time."""
        ...

    def topic_names(self, timeout: float) -> list[str]: ...
    def describe_topics(self, names: Sequence[str], timeout: float) -> dict[str, TopicInfo | None]:
        """None for a topic that does not exist."""
        ...

    def create_topics(self, topics: Sequence[NewTopic], timeout: float) -> None:
        """Returns when the topics can be used. One that exists already is not an error (two workers may start at once)."""
        ...

    def delete_topics(self, names: Sequence[str], timeout: float) -> None: ...
    def end_offsets(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, int]:
        """High watermarks: the end of the log, uncommitted and control records included (ListOffsets, read_uncommitted)."""
        ...

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout: float) -> dict[TopicPartition, int]: ...
    def delete_records(self, before: Mapping[TopicPartition, int], timeout: float) -> None:
        """Deletes the records below the given offsets."""
        ...

    def group_offsets(self, group: str, timeout: float) -> dict[TopicPartition, Committed]: ...
    def group_session_timeout_ms(self, group: str, timeout: float) -> int | None:
        """The session time-out of a group's members with KIP-848, where it is the brokers' setting; None from brokers that have
        no such setting."""
        ...

    def delete_group(self, group: str, timeout: float) -> None: ...
    def close(self) -> None: ...


class KafkaClient(Protocol):
    """The door to one cluster: makes the four clients. Settings (time-outs, security) were given to it when it was made."""

    def consumer(self, group_id: str) -> Consumer: ...
    def reader(self) -> Reader: ...
    def producer(self, transactional_id: str, *, on_log: Callable[[str], None] | None = None) -> Producer: ...
    def admin(self) -> Admin: ...
    def describe(self) -> str:
        """For messages: the bootstrap address, or "embedded broker"."""
        ...
