"""The base of operators, and what they ask of the task around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamkit.errors import RecordError
from streamkit.kafka.client import Headers
from streamkit.operators.refusals import Refusals
from streamkit.record.batch import Batch
from streamkit.serdes.keys import KEY_TYPE_HEADER
from streamkit.stages import NOT_A_STAGE, NoStages, Stages

Int64s = npt.NDArray[np.int64]
_NO_STAGES = NoStages()


class Output(Protocol):
    """Where results go: into the running transaction (kafka.client.Producer.produce_many has this shape)."""

    def produce_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Iterable[bytes | None],
        partition: int,
        timestamps: int | Iterable[int],
        headers: Iterable[Headers | None] | None = None,
    ) -> None: ...

    def flush(self) -> None:
        """Returns when all is acknowledged; raises what the broker says of a record that it refuses."""
        ...

    def abort(self) -> None:
        """Drops the running transaction; what is written next is in another. Who calls it must raise in the end, so that
        everything is processed again (R7)."""
        ...


class Failures(Protocol):
    """What is done with a record that cannot be processed."""

    @property
    def refusals(self) -> Refusals: ...

    def reject(self, error: RecordError) -> None:
        """Raises the error, or returns if the record is to be left out."""
        ...


class Operator:
    """Gets batches and hands results to the operators behind it.

    ``process`` is all that an operator must have. ``advance`` is called with the watermark of its input whenever time has moved;
    it fires what that releases, then gives the watermark below which nothing more will come out of it. ``stage`` is where its own
    time is counted, without that of the operators behind it.
    """

    stages: Stages = _NO_STAGES
    stage: int = NOT_A_STAGE

    def __init__(self) -> None:
        self.behind: list[Operator] = []

    def process(self, batch: Batch) -> None:
        raise NotImplementedError

    def advance(self, watermark: int) -> int:
        return watermark

    def emit(self, batch: Batch) -> None:
        if len(batch):
            for operator in self.behind:
                if operator.stage == NOT_A_STAGE:
                    operator.process(batch)
                else:
                    before = self.stages.enter(operator.stage)
                    operator.process(batch)
                    self.stages.enter(before)


class PassOn(Operator):
    """Hands batches on as they are: merges, and the named outputs of other operators."""

    def process(self, batch: Batch) -> None:
        self.emit(batch)


def place(batch: Batch, index: int, operator: str) -> dict[str, Any]:
    """The arguments of a RecordError for record ``index``."""
    topic, partition = batch.origin.tp
    return {"topic": topic, "partition": partition, "offset": batch.offset(index), "operator": operator}


WATERMARK_HEADER = "streamkit-watermark"
"""On a repartitioned record that is behind its own source partition's watermark: that watermark, decimal milliseconds."""

EVENT_TIME_HEADER = "streamkit-event-time"
"""On a repartitioned record whose event time is 1970-01-01T00:00Z or before: that time, decimal milliseconds. Kafka's clients
take the timestamp 0 for "now", and brokers refuse negative ones."""

FIRST_TIMESTAMP = 1
"""The earliest Kafka timestamp that is sent."""

CONTROL_HEADER = "streamkit-control"
"""On control records (runtime/control.py)."""

_INTERNAL = {WATERMARK_HEADER, KEY_TYPE_HEADER, EVENT_TIME_HEADER}


def kafka_timestamps(timestamps: Int64s) -> Int64s:
    """Event times as Kafka can hold them."""
    return np.maximum(timestamps, FIRST_TIMESTAMP)


def user_headers(batch: Batch) -> list[Headers | None] | None:
    """The headers of each record without those that only travel inside; None if no record has any."""
    headers = batch.headers()
    if not any(headers):
        return None
    return [None if not found else [header for header in found if header[0] not in _INTERNAL] for found in headers]
