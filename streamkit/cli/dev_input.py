"""Where the records of `streamkit dev` come from: files, standard input, and the generators under ``@topic.sample``."""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from streamkit.errors import ConfigError
from streamkit.kafka.client import Headers, KafkaClient, Producer
from streamkit.operators.event_time import scalar_ms
from streamkit.plan.names import near_names
from streamkit.plan.topic import Topic
from streamkit.record.model import Record, Row
from streamkit.serdes.json import JsonSerde, RowsJson, UntypedJson, serde_for
from streamkit.serdes.serde import DECODE_ERRORS, ENCODE_ERRORS

STDIN = "-"
_TIMEOUT_S = 30.0
_TRANSACTION_RECORDS = 10_000
_QUEUED_LINES = 10_000
_AT_ONCE = 1_000  # records taken between two steps of the worker, so that neither waits long for the other
_BAD = (*DECODE_ERRORS, *ENCODE_ERRORS)


@dataclass(frozen=True, slots=True)
class Given:
    """One ``--input`` or ``--input-records``."""

    topic: str
    place: str  # a file, or "-"
    whole_records: bool  # lines are {"key", "value", "timestamp", "headers"} instead of values

    @property
    def is_file(self) -> bool:
        return self.place != STDIN

    def at(self, line: int) -> str:
        return f"{self.place if self.is_file else 'standard input'}:{line}"


@dataclass(frozen=True, slots=True)
class WireRecord:
    """A record as it is sent."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0  # 0: now
    headers: Headers | None = None


def parse(text: str, *, whole_records: bool = False) -> Given:
    """``TOPIC=FILE``.

    >>> parse("bids=-")
    Given(topic='bids', place='-', whole_records=False)
    """
    topic, equals, place = text.partition("=")
    if not equals or not topic or not place:
        option = "--input-records" if whole_records else "--input"
        raise ConfigError(f"{option} {text}: write TOPIC=FILE, or TOPIC=- for standard input")
    if place != STDIN and (not Path(place).exists() or Path(place).is_dir()):  # a named pipe will do
        raise ConfigError(f"there is no file '{place}' (looked in {Path.cwd()})")
    return Given(topic, place, whole_records)


def refuse_unknown(given: Sequence[Given], sources: Mapping[str, Topic[Any, Any]]) -> None:
    """`ConfigError`: a topic that the app does not read, or standard input for two topics."""
    for one in given:
        if one.topic not in sources:
            raise ConfigError(f"the app does not read a topic '{one.topic}'; {near_names(one.topic, sources)}")
    if sum(not one.is_file for one in given) > 1:
        raise ConfigError("standard input can be the input of one topic only")


class Lines:
    """Turns lines into records of a topic; `ConfigError` names the file and the line that does not fit."""

    def __init__(self, given: Given, topic: Topic[Any, Any]) -> None:
        self._given = given
        self._topic = topic
        self._value = _value_reader(topic)

    def record(self, line: bytes, number: int) -> WireRecord:
        try:
            if not self._given.whole_records:
                return WireRecord(self._topic.name, self._value(line))
            return self._whole(msgspec.json.decode(line, type=_WholeRecord))
        except _BAD as error:
            raise ConfigError(f"{self._given.at(number)}: no record of topic '{self._topic.name}': {error}") from None

    def _whole(self, record: _WholeRecord) -> WireRecord:
        raw = bytes(record.value)
        headers: Headers = [(name, None if text is None else text.encode()) for name, text in record.headers.items()]
        return WireRecord(
            self._topic.name,
            None if raw == b"null" else self._value(raw),
            self._topic.key_serde.encode_one(_key(record.key, self._topic)),
            0 if record.timestamp is None else scalar_ms(record.timestamp),
            headers or None,
        )


class _WholeRecord(msgspec.Struct, forbid_unknown_fields=True):
    value: msgspec.Raw
    key: Any = None
    timestamp: str | int | None = None
    headers: dict[str, str | None] = {}


def _key(key: Any, topic: Topic[Any, Any]) -> Any:
    kind = topic.key_serde.type
    if key is None or kind is Any:
        return key
    if kind is bytes:
        return msgspec.convert(key, str).encode()
    return msgspec.convert(key, kind)


def _value_reader(topic: Topic[Any, Any]) -> Callable[[bytes], bytes]:
    """From JSON to the bytes of a value, through the topic's serde. What is JSON on the wire goes there as it was written."""
    serde = topic.value_serde
    if isinstance(serde, JsonSerde | UntypedJson | RowsJson):
        decode = serde.decoder(None)

        def checked(line: bytes) -> bytes:
            decode(line)
            return line

        return checked
    kind, encode = serde.schema.type, serde.encoder()
    if kind is bytes:
        return lambda line: encode(msgspec.json.decode(line, type=str).encode())
    if kind in (str, int, float):
        return lambda line: encode(msgspec.json.decode(line, type=kind))
    from_json = serde_for(kind or Row).decoder(None)
    return lambda line: encode(from_json(line))


class Sender:
    """Appends records in transactions; one producer for the whole session."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client
        self._producer: Producer | None = None

    def send(self, records: Iterable[WireRecord]) -> int:
        """How many there were. An error while they are made leaves out what stands in the same transaction."""
        sent = 0
        rest = iter(records)
        while chunk := list(islice(rest, _TRANSACTION_RECORDS)):
            producer = self._started()
            producer.begin()
            for record in chunk:
                producer.produce(record.topic, record.value, record.key, -1, record.timestamp, record.headers)
            producer.flush(_TIMEOUT_S)
            producer.commit(_TIMEOUT_S)
            sent += len(chunk)
        return sent

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()

    def _started(self) -> Producer:
        if self._producer is None:
            self._producer = self._client.producer(f"streamkit-dev-{uuid.uuid4().hex}")
            self._producer.init_transactions(_TIMEOUT_S)
        return self._producer


def read_file(given: Given, topic: Topic[Any, Any]) -> Iterator[WireRecord]:
    """The records of a file; empty lines are left out."""
    lines = Lines(given, topic)
    try:
        with Path(given.place).open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield lines.record(line.strip(), number)
    except OSError as error:
        raise ConfigError(f"'{given.place}' cannot be read: {error.strerror}") from error


class Stdin:
    """Standard input, read by a thread, so that the worker need not wait for somebody who types."""

    def __init__(self, given: Given, topic: Topic[Any, Any], descriptor: int = 0) -> None:
        self._lines: queue.Queue[bytes] = queue.Queue(_QUEUED_LINES)
        self._descriptor = descriptor
        self._number = 0
        self._given = given
        self.use(topic)
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def use(self, topic: Topic[Any, Any]) -> None:
        """The topic as the present version of the module declares it."""
        self._parser = Lines(self._given, topic)

    def due(self, complain: Callable[[str], None]) -> Iterator[WireRecord]:
        """What has come; a line that does not fit is complained of and left out: who types may try again."""
        for _ in range(_AT_ONCE):
            try:
                line = self._lines.get_nowait().strip()
            except queue.Empty:
                return
            self._number += 1
            try:
                if line:
                    yield self._parser.record(line, self._number)
            except ConfigError as error:
                complain(f"error: {error}")

    def _read(self) -> None:
        # os.read: a thread that waits inside sys.stdin's buffer holds its lock, which would break the exit of the process
        rest = b""
        while data := os.read(self._descriptor, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._lines.put(line)
        if rest:
            self._lines.put(rest)


class Sample:
    """What ``@topic.sample`` makes, at ``rate`` records a second."""

    def __init__(self, topic: Topic[Any, Any], rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._rate = rate
        self._now = now
        self._started = now()
        self._taken = 0
        self._encode = topic.value_serde.encoder()
        self._values: Iterator[Any] | None = None

    def due(self) -> Iterator[WireRecord]:
        """Those whose time has come. `ConfigError`: the generator raised, or made what the topic cannot take."""
        wanted = int((self._now() - self._started) * self._rate) + 1
        for _ in range(min(wanted - self._taken, _AT_ONCE)):
            try:
                if self._values is None:
                    self._values = iter(self._topic.sampler() if self._topic.sampler is not None else ())
                value = next(self._values)
                record = self._record(value)
            except StopIteration:
                return
            except Exception as error:
                place = f"the sample generator of topic '{self._topic.name}', record {self._taken + 1}"
                raise ConfigError(f"{place}: {type(error).__name__}: {error}") from error
            self._taken += 1
            yield record

    def _record(self, made: Any) -> WireRecord:
        if not isinstance(made, Record):
            return WireRecord(self._topic.name, self._encode(made))
        value = None if made.value is None else self._encode(made.value)
        key = self._topic.key_serde.encode_one(made.key)
        return WireRecord(self._topic.name, value, key, scalar_ms(made.timestamp), list(made.headers.items()) or None)
