"""What is done with input that cannot be processed: a record, or records that were deleted before they were read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from streamkit.errors import ConfigError, RecordError
from streamkit.instrument import Instrument
from streamkit.operators.refusals import Refusals

Verdict = Literal["stop", "skip"]
OnError = Verdict | Callable[[RecordError], Verdict]
OnLostOffset = Literal["stop", "earliest"]


def place_of(error: BaseException) -> dict[str, Any]:
    """Where it happened, as fields of an event; empty for what is not about one record."""
    if not isinstance(error, RecordError):
        return {}
    return {"topic": error.topic, "partition": error.partition, "offset": error.offset, "operator": error.operator}


class FailurePolicy:
    """``on_error`` of a service: a skipped record is told and counted by operator, never dropped in silence. And
    ``on_lost_offset``: "earliest" goes on with what is left of a source's log."""

    def __init__(self, on_error: OnError, instrument: Instrument, *, on_lost_offset: OnLostOffset = "stop") -> None:
        if not callable(on_error) and on_error not in ("stop", "skip"):
            raise ConfigError(f"on_error is 'stop', 'skip' or a function of the error, got {on_error!r}")
        self._on_error = on_error
        self.on_lost_offset = on_lost_offset
        self._instrument = instrument
        self.skipped: Counter[str] = Counter()
        self.refusals = Refusals()

    def reject(self, error: RecordError) -> None:
        """Raises the error, or counts the record as skipped and returns."""
        if self._verdict(error) == "stop":
            raise error
        self.skipped[error.operator] += 1
        self._instrument.event("record-skipped", error=str(error), **place_of(error))

    def _verdict(self, error: RecordError) -> Verdict:
        if not callable(self._on_error):
            return self._on_error
        verdict = self._on_error(error)
        if verdict not in ("stop", "skip"):
            raise ConfigError(f"the on_error function must return 'stop' or 'skip', it returned {verdict!r}") from error
        return verdict
