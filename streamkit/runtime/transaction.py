"""The worker's transaction: begun at the first write, ended by the commit sequence of R4.

    IDLE ──first write──> OPEN ──commit acknowledged──> IDLE
    OPEN ──abort──> IDLE          OPEN, IDLE ──fenced, or an outcome that is unknown──> the producer is replaced (IDLE)

Retriable errors repeat the same call until the transaction's deadline; all others leave to the worker, which knows what has to be
brought back. Ownership is checked by epochs (R9): each assignment of a partition counts its epoch up, the transaction remembers
those it began with, and a commit is refused when one has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from streamkit.clock import Clock
from streamkit.config import EngineSettings
from streamkit.errors import GenerationError, KafkaError, RetriableError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Committed, GroupMetadata, Headers, Producer, TopicPartition

_RETRY_PAUSE_S = 0.05


class UnknownOutcomeError(KafkaError):
    """A commit may or may not have happened: the committed offsets have to be read again."""


class Transaction:
    """One producer and its transaction at a time. `produce_many` is the output of all operators."""

    def __init__(
        self, make_producer: Callable[[], Producer], clock: Clock, settings: EngineSettings, instrument: Instrument
    ) -> None:
        self._make_producer = make_producer
        self._clock = clock
        self._settings = settings
        self._instrument = instrument
        self._producer: Producer | None = None
        self.open = False
        self.begun_at = 0.0
        self.records = 0
        self.last_commit_s = 0.0

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
        producer = self._begun()
        producer.produce_many(topic, values, keys, partition, timestamps, headers)
        self.records += len(values)

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Headers | None = None) -> None:
        self._begun().produce(topic, value, key, partition, 0, headers)
        self.records += 1

    def _begun(self) -> Producer:
        producer = self.producer()
        if not self.open:  # lazily, at the first write (R2)
            try:
                producer.begin()
            except KafkaError:  # whether it has begun is not known
                self.replace()
                raise
            self.open, self.begun_at, self.records = True, self._clock.monotonic(), 0
        return producer

    def producer(self) -> Producer:
        """The producer, made and initialised when first needed: that fences our predecessor and ends its transaction."""
        if self._producer is None:
            producer = self._make_producer()
            try:
                self._retry(producer.init_transactions, self._settings.start_timeout_ms / 1000)
            except BaseException:
                producer.close()
                raise
            self._producer = producer
        return self._producer

    # ---- ending

    def commit(self, offsets: Mapping[TopicPartition, Committed], group: GroupMetadata) -> None:
        """R4 behind the point where feeding stopped. Raises classified errors with the transaction still open."""
        assert offsets, "every transaction sends at least one offset (R1)"  # noqa: S101 - a bug here, not a fault outside
        if group.generation < 0 or not group.member_id:  # R10: classic brokers would accept that unfenced
            raise GenerationError(
                f"group '{group.group_id}' has no generation at this moment", code="ILLEGAL_GENERATION", call="commit"
            )
        producer = self._begun()
        started = self._clock.monotonic()
        deadline = self._settings.deadline_s
        self._retry(producer.flush, deadline)
        self._retry(lambda left: producer.send_offsets(offsets, group, left), deadline - (self._clock.monotonic() - started))
        try:
            self._retry(producer.commit, max(deadline - (self._clock.monotonic() - started), 1.0))
        except RetriableError as error:
            self.replace()
            raise UnknownOutcomeError(
                f"the commit was not answered within {deadline:.0f} s", code=error.code, call="commit"
            ) from error
        self.open = False
        self.last_commit_s = self._clock.monotonic() - started
        self._recycle_if_disturbed(producer)

    def abort(self) -> None:
        """Ends the open transaction without effect; a producer that cannot even do that is replaced, which does it as well."""
        if not self.open:
            return
        producer = self._producer
        assert producer is not None  # noqa: S101 - open
        self.open = False
        try:
            self._retry(producer.abort, self._settings.deadline_s)
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

    def _retry(self, call: Callable[[float], None], seconds: float) -> None:
        """Repeats a call while it says that it may be repeated."""
        end = self._clock.monotonic() + seconds
        while True:
            left = end - self._clock.monotonic()
            try:
                call(max(left, 0.05))
            except RetriableError:
                if self._clock.monotonic() >= end:
                    raise
                self._clock.sleep(_RETRY_PAUSE_S)
            else:
                return
