"""The worker's transaction: begun at the first write, ended by the commit sequence of R4.

    IDLE ──first write──> OPEN ──commit acknowledged──> IDLE
    OPEN ──abort──> IDLE          OPEN, IDLE ──fenced, or an outcome that is unknown──> the producer is replaced (IDLE)

Retriable errors repeat the same call until the transaction's deadline; all others leave to the worker, which knows what has to be
brought back. A fatal error of the producer (INVALID_TXN_STATE, a gap in its sequence numbers) is the end of that producer, not of
the worker: it leaves as `BrokenProducerError`; only what the cluster does not allow stays what it is. Ownership is checked by
epochs (R9): each assignment of a partition counts its epoch up, the transaction remembers those it began with, and a commit is
refused when one has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import (
    AbortableError,
    AuthenticationError,
    AuthorizationError,
    FatalError,
    FencedError,
    GenerationError,
    KafkaError,
    RetriableError,
)
from streamkit.instrument import Instrument
from streamkit.kafka.client import Committed, GroupMetadata, Headers, Producer, TopicPartition
from streamkit.runtime.deadlines import Guard, NoGuard, patience
from streamkit.stages import COMMIT, PRODUCE, NoStages, Stages

_RETRY_PAUSE_S = 0.05
_SERVE_EVERY_S = 1.0
_INIT_PAUSE_S = 0.5
_INIT_ATTEMPTS = 5
_AT_ONCE_S = 10.0
"""For calls without a time-out of their own, which answer at once."""
_OFFSETS_BYTES = 500_000
"""Brokers keep the offsets of one request in one batch, and take a megabyte of it: more they refuse, without a name for it."""
_OFFSET_BYTES = 64
"""Of one position, beside its names and its metadata."""
_FEW_OFFSETS = 100
"""With the longest names and metadata, these are below it."""


class UnknownOutcomeError(KafkaError):
    """A commit may or may not have happened: the committed offsets have to be read again."""


class BrokenProducerError(KafkaError):
    """The producer cannot go on, but its successor can: replace it and bring the committed state back."""


class Transaction:
    """One producer and its transaction at a time. `produce_many` is the output of all operators."""

    def __init__(
        self,
        make_producer: Callable[[], Producer],
        clock: Clock,
        settings: EngineSettings,
        instrument: Instrument,
        guard: Guard | None = None,
        stages: Stages | None = None,
    ) -> None:
        self.stages = stages or NoStages()
        self._make_producer = make_producer
        self._clock = clock
        self._settings = settings
        self._instrument = instrument
        self._guard = guard or NoGuard()
        self._producer: Producer | None = None
        self.open = False
        self.begun_at = 0.0
        self.records = 0
        self.last_commit_s = 0.0
        self._serve_at = 0.0

    # ---- writing

    def produce_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Iterable[bytes | None],
        partition: int,
        timestamps: int | Iterable[int],
        headers: Iterable[Headers | None] | None = None,
    ) -> None:
        before = self.stages.enter(PRODUCE)
        producer = self._begun()
        try:
            producer.produce_many(topic, values, keys, partition, timestamps, headers)
        except FatalError as error:
            _raise_broken(error)
            raise
        self.records += len(values)
        self.stages.enter(before)

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Headers | None = None) -> None:
        producer = self._begun()
        try:
            producer.produce(topic, value, key, partition, 0, headers)
        except FatalError as error:
            _raise_broken(error)
            raise
        self.records += 1

    def flush(self) -> None:
        """Waits for what was written so far; RejectedRecordError for a record that the broker refuses."""
        if self._producer is not None:
            self._retry("flush", self._producer.flush, self._settings.deadline_s)

    def _begun(self) -> Producer:
        producer = self.producer()
        if not self.open:  # lazily, at the first write (R2)
            self._recycle_if_disturbed(producer)  # by what happened since the last one
            producer = self.producer()
            try:
                self._call("begin", lambda _: producer.begin(), _AT_ONCE_S)
            except KafkaError:  # whether it has begun is not known
                self.replace()
                raise
            self.open, self.begun_at, self.records = True, self._clock.monotonic(), 0
        return producer

    def producer(self, within_s: float | None = None) -> Producer:
        """The producer, made and initialised when first needed: that fences our predecessor and ends its transaction.

        RetriableError after ``within_s`` (None: as long as a start may take)."""
        if self._producer is None:
            start_s = self._settings.start_timeout_ms / 1000
            self._producer = self._initialised(start_s if within_s is None else min(within_s, start_s))
        return self._producer

    def _initialised(self, within_s: float) -> Producer:
        """Another init of the same id, or a transaction that is only just being ended, may refuse ours for a moment: then a
        fresh producer tries again, within bounds."""
        end = self._clock.monotonic() + within_s
        for attempt in range(1, _INIT_ATTEMPTS + 1):
            producer = self._make_producer()
            try:
                self._retry("init_transactions", producer.init_transactions, end - self._clock.monotonic())
            except (AbortableError, FencedError) as error:
                producer.close()
                if attempt == _INIT_ATTEMPTS or self._clock.monotonic() + _INIT_PAUSE_S >= end:
                    raise
                self._instrument.event("init-retried", error=str(error))
                self._clock.sleep(_INIT_PAUSE_S)
            except BaseException:
                producer.close()
                raise
            else:
                return producer
        raise AssertionError("the last attempt raises or returns")

    def serve(self) -> None:
        """Now and then, also while nothing is written: lets the client call back. What it tells of a broker that is away would
        pile up, and librdkafka looks through all of it for each further line (a fifth of a processor after half an hour)."""
        now = self._clock.monotonic()
        if self._producer is not None and now >= self._serve_at:
            self._serve_at = now + _SERVE_EVERY_S
            self._producer.disturbed()

    # ---- ending

    def commit(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, within_s: float | None = None) -> None:
        """R4 behind the point where feeding stopped. Raises classified errors with the transaction still open.

        ``within_s`` is for a commit that has less time than the transaction itself gives (inside a rebalance callback, R8).
        """
        assert offsets, "every transaction sends at least one offset (R1)"  # noqa: S101 - a bug here, not a fault outside
        _refuse_unfenced(group)
        before = self.stages.enter(COMMIT)
        producer = self._begun()
        started = self._clock.monotonic()
        deadline = self._settings.deadline_s if within_s is None else min(self._settings.deadline_s, within_s)

        def left() -> float:
            return deadline - (self._clock.monotonic() - started)

        self._retry("flush", producer.flush, left())
        self._send_offsets(producer, offsets, group, left)
        try:
            self._retry("commit", producer.commit, max(left(), 1.0))
        except RetriableError as error:
            self.replace()
            raise UnknownOutcomeError(
                f"the commit was not answered within {deadline:.0f} s", code=error.code, call="commit"
            ) from error
        self.open = False
        self.last_commit_s = self._clock.monotonic() - started
        self._recycle_if_disturbed(producer)
        self.stages.enter(before)

    def confirm(self, partitions: Iterable[TopicPartition], group: GroupMetadata) -> None:
        """Asks the group's coordinator whether it still takes offsets of us; raises its answer if not. Nothing is committed."""
        _refuse_unfenced(group)
        offsets = {tp: Committed(0) for tp in partitions}
        if not offsets:
            raise GenerationError(
                f"group '{group.group_id}' has given us nothing", code="ILLEGAL_GENERATION", call="send_offsets"
            )
        self._send_offsets(self._begun(), offsets, group, lambda: self._settings.deadline_s)
        self.abort()

    def _send_offsets(
        self, producer: Producer, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata, left: Callable[[], float]
    ) -> None:
        def send(part: Mapping[TopicPartition, Committed]) -> None:
            self._retry("send_offsets", lambda seconds: producer.send_offsets(part, group, seconds), left())

        for part in _parts(offsets, group.group_id):
            send(part)

    def abort(self) -> None:
        """Ends the open transaction without effect; a producer that cannot even do that is replaced, which does it as well."""
        if not self.open:
            return
        producer = self._producer
        assert producer is not None  # noqa: S101 - open
        self.open = False
        try:
            self._retry("abort", producer.abort, self._settings.deadline_s)
        except KafkaError as error:
            self._instrument.event("abort-failed", error=str(error))
            self.replace()
            return
        self._recycle_if_disturbed(producer)

    def replace(self) -> None:
        """Drops the producer. The next one has the same id: its init fences whatever the old one still has on its way."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None
            self.open = False
            self._instrument.event("producer-replaced")

    def _recycle_if_disturbed(self, producer: Producer) -> None:
        """R6: an EndTxn that was delayed or sent twice could end the *next* transaction; a new epoch fences it."""
        disturbance = producer.disturbed()
        if disturbance is not None:
            self._instrument.event("producer-disturbed", reason=disturbance)
            self.replace()

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _retry(self, name: str, call: Callable[[float], None], seconds: float) -> None:
        """Repeats a call while it says that it may be repeated."""
        end = self._clock.monotonic() + seconds
        while True:
            left = end - self._clock.monotonic()
            try:
                self._call(name, call, max(left, 0.05))
            except RetriableError:
                if self._clock.monotonic() >= end:
                    raise
                self._clock.sleep(_RETRY_PAUSE_S)
            else:
                return

    def _call(self, name: str, call: Callable[[float], None], timeout: float) -> None:
        """R31: one that ignores its time-out is noticed from outside."""
        self._guard.enter(name, patience(timeout))
        try:
            call(timeout)
        except FatalError as error:
            if name != "init_transactions":  # a successor would be told the same
                _raise_broken(error)
            raise
        finally:
            self._guard.leave()


def _parts(offsets: Mapping[TopicPartition, Committed], group: str) -> Iterator[Mapping[TopicPartition, Committed]]:
    """What fits into one request each."""
    if len(offsets) <= _FEW_OFFSETS:
        yield offsets
        return
    part: dict[TopicPartition, Committed] = {}
    size = 0
    for tp, committed in offsets.items():
        needs = _OFFSET_BYTES + len(group) + len(tp.topic) + len(committed.metadata)
        if size + needs > _OFFSETS_BYTES:
            yield part
            part, size = {}, 0
        part[tp] = committed
        size += needs
    yield part


def _raise_broken(error: FatalError) -> None:
    """R5: what the cluster does not allow will not be allowed to another producer either; anything else may be."""
    if not isinstance(error, (AuthorizationError, AuthenticationError)):
        raise BrokenProducerError(str(error), code=error.code) from error


def _refuse_unfenced(group: GroupMetadata) -> None:
    """R10: classic brokers would accept offsets without an identity."""
    if group.generation < 0 or not group.member_id:
        raise GenerationError(
            f"group '{group.group_id}' has no generation at this moment", code="ILLEGAL_GENERATION", call="commit"
        )
