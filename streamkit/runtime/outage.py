"""A Kafka that does not answer for a while: told, waited for with growing pauses, and over when it answers again.

    HERE ──a poll, a commit or a take-over fails, a question gets no answer either──> AWAY ──a question is answered──> HERE

While it is away nothing is committed and nothing restored: state stays in memory, and what is uncommitted waits. A poll that
fails although the cluster answers (a partition without a leader) is only followed by a pause.
"""

from __future__ import annotations

import math

from streamkit.clock import Clock
from streamkit.errors import RetriableError
from streamkit.instrument import Instrument
from streamkit.kafka.client import Admin

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
TELL_EVERY_S = 10.0
_ASK_FOR_S = 3.0  # all topics of a large cluster take a while
_OF_THE_CLIENT = "_"
"""How librdkafka's own error codes begin, which no broker sends: a time-out, a connection that broke."""


class Outage:
    """Told of calls that fail; asked before anything else is tried."""

    def __init__(self, admin: Admin, address: str, clock: Clock, instrument: Instrument) -> None:
        self._admin = admin
        self._address = address
        self._clock = clock
        self._instrument = instrument
        self._since: float | None = None
        self._told = self._failed = -math.inf
        self._pause_s = FIRST_PAUSE_S
        self._trouble = ""

    @property
    def away(self) -> bool:
        return self._since is not None

    def poll_failed(self, error: RetriableError) -> None:
        """Finds out whether it was this poll only."""
        now = self._clock.monotonic()
        if now - self._failed > TELL_EVERY_S:
            self._pause_s = FIRST_PAUSE_S
        self._failed = now
        if self._since is not None:
            return
        if self._answers():
            self._tell("poll-retried", error=str(error))
            self._pause()
        else:
            self._begins(now)

    def suspect(self, error: RetriableError) -> None:
        """Another call that got no answer; one that was answered (by a refusal for now) says that Kafka is there."""
        if error.code.startswith(_OF_THE_CLIENT) and self._since is None and not self._answers():
            self._begins(self._clock.monotonic())

    def _begins(self, now: float) -> None:
        self._since, self._told = now, -math.inf
        self._tell_waiting(now)

    def over(self, *, heard: bool = False) -> bool:
        """Whether the cluster answers; while it does not, asking takes a moment and a pause. ``heard``: it has just sent
        records."""
        if self._since is None:
            return True
        if not heard:
            self._pause()
            if not self._answers():
                self._tell_waiting(self._since)
                return False
        self._instrument.event("broker-back", kafka=self._address, away_s=round(self._clock.monotonic() - self._since, 1))
        self._since = None
        self._pause_s = FIRST_PAUSE_S
        return True

    def _answers(self) -> bool:
        try:
            self._admin.topic_names(_ASK_FOR_S)  # of all questions the one that is never answered from a cache
        except RetriableError as error:
            self._trouble = str(error)
            return False
        return True

    def _pause(self) -> None:
        self._clock.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _tell_waiting(self, since: float) -> None:
        away_s = round(self._clock.monotonic() - since, 1)
        self._tell("waiting-for-broker", kafka=self._address, away_s=away_s, error=self._trouble)

    def _tell(self, event: str, **fields: object) -> None:
        now = self._clock.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            self._instrument.event(event, **fields)
