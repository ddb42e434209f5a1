"""What `streamkit dev` prints: every committed record of the sink topics, a line each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from streamkit.errors import StreamkitError
from streamkit.kafka.client import KafkaClient, Reader, RecordBatch, TopicPartition
from streamkit.operators.map import instant
from streamkit.plan.topic import Topic
from streamkit.serdes.json import JsonSerde, RowsJson, UntypedJson
from streamkit.serdes.serde import DECODE_ERRORS

_TIMEOUT_S = 30.0
_POLL_RECORDS = 2_000


class Results:
    """Reads the sink topics beside the worker; what was printed is not printed again."""

    def __init__(self, client: KafkaClient, *, from_start: bool, write: Callable[[str], None]) -> None:
        self._client = client
        self._from_start = from_start
        self._write = write
        self._positions: dict[TopicPartition, int] = {}
        self._lines: dict[str, Callable[[bytes | None, bytes | None, int], str]] = {}
        self._reader: Reader | None = None

    def watch(self, topics: Sequence[Topic[Any, Any]]) -> None:
        """These sinks from now on: those known already go on where they were, others from the start or the present end."""
        self._lines = {topic.name: line_of(topic) for topic in topics}
        ends = self._ends()
        for tp, end in ends.items():
            self._positions.setdefault(tp, 0 if self._from_start else end)
        self.close()
        self._reader = self._client.reader()
        self._reader.assign({tp: self._positions[tp] for tp in ends})

    def print_new(self, wait_s: float = 0.0) -> None:
        """What has been committed since the last call, as far as it is here already."""
        if self._reader is None:
            return
        polled = self._reader.poll(_POLL_RECORDS, wait_s)
        for batch in polled.batches:
            self._print(batch)
            self._positions[batch.tp] = max(self._positions[batch.tp], batch.next_offset)
        for tp, end in polled.ends.items():
            self._positions[tp] = max(self._positions[tp], end)

    def print_rest(self) -> None:
        """All that is committed now."""
        ends = self._ends()
        give_up = time.monotonic() + _TIMEOUT_S
        while any(self._positions[tp] < end for tp, end in ends.items()):
            if time.monotonic() > give_up:
                raise StreamkitError(f"the results could not be read to their end within {_TIMEOUT_S:.0f} s")
            self.print_new(0.1)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _print(self, batch: RecordBatch) -> None:
        line = self._lines[batch.tp.topic]
        for key, value, timestamp in zip(batch.keys(), batch.values(), batch.timestamps(), strict=True):
            self._write(line(key, value, int(timestamp)))

    def _ends(self) -> dict[TopicPartition, int]:
        admin = self._client.admin()
        try:
            found = admin.describe_topics(sorted(self._lines), _TIMEOUT_S)
            partitions = [
                TopicPartition(name, number)
                for name, info in found.items()
                if info is not None
                for number in range(info.partitions)
            ]
            return admin.end_offsets(partitions, _TIMEOUT_S)
        finally:
            admin.close()


def line_of(topic: Topic[Any, Any]) -> Callable[[bytes | None, bytes | None, int], str]:
    """Makes the line of a record: topic, key, value as compact JSON, event time.

    >>> line_of(Topic("totals", key=str, value=int))(b"anna", b"5", 1586937959999)
    'totals  anna  5  2020-04-15T08:05:59.999Z'
    """
    value_text = _value_text(topic)

    def line(key: bytes | None, value: bytes | None, timestamp: int) -> str:
        time_text = f"{instant(timestamp).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
        shown = "null" if value is None else value_text(value)
        return f"{topic.name}  {_key_text(topic, key)}  {shown}  {time_text}"

    return line


def _key_text(topic: Topic[Any, Any], key: bytes | None) -> str:
    try:
        decoded = topic.key_serde.decode_one(key)
    except DECODE_ERRORS:
        decoded = key
    if isinstance(decoded, bytes):
        decoded = decoded.decode(errors="replace")
    return decoded if isinstance(decoded, str) else msgspec.json.encode(decoded).decode()


def _value_text(topic: Topic[Any, Any]) -> Callable[[bytes], str]:
    serde = topic.value_serde
    is_json = isinstance(serde, JsonSerde | UntypedJson | RowsJson)
    decode = serde.decoder(None)

    def text(value: bytes) -> str:
        try:
            if is_json:  # as it lies in the topic: nothing is rounded or left out
                return msgspec.json.format(value, indent=-1).decode()
            decoded = decode(value)
        except DECODE_ERRORS:  # what somebody else wrote
            decoded = value
        if isinstance(decoded, bytes):
            decoded = decoded.decode(errors="replace")
        return msgspec.json.encode(decoded, enc_hook=str).decode()

    return text
