"""What librdkafka tells on the side: log lines and error events.

Both arrive on the thread that polls the client. Log lines go to the Python logger "streamkit.kafka"; error events that no
call reports (a wrong password is retried for ever) are remembered, so that the next call can say why nothing works.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from streamkit.errors import FatalError, StreamkitError
from streamkit.kafka.confluent.classify import RETRIABLE, classify

logger = logging.getLogger("streamkit.kafka")

# R6: facilities of lines that mean that a connection was disturbed. Others on the coordinator's connection are routine:
# RETRY (a request answered with CONCURRENT_TRANSACTIONS is repeated) and WAKEUP.
_DISTURBANCES = frozenset({"FAIL", "REQTMOUT", "STATE", "NODENAME", "CONNECT", "DISCONNECT", "BROKERFAIL"})
_COORDINATOR = "TxnCoordinator"
_LATELY_S = 60.0
_REPEAT_AFTER_S = 10.0
_REMEMBERED_LINES = 100


class Repeats:
    """Which lines were written a moment ago: while a broker is away, librdkafka says so ten times a second."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said: dict[str, float] = {}

    def is_news(self, line: str) -> bool:
        """Whether to write the line; it counts as written then."""
        now = self._now()
        if now - self._said.get(line, -_REPEAT_AFTER_S) < _REPEAT_AFTER_S:
            return False
        self._said.pop(line, None)
        self._said[line] = now
        if len(self._said) > _REMEMBERED_LINES:
            del self._said[next(iter(self._said))]  # the one said longest ago
        return True


class LogTap:
    """Takes the place of a logger in librdkafka's configuration.

    Keeps the last line that tells of a disturbance on the transaction coordinator's connection (R6) until `forget`.
    """

    def __init__(self, *, debug: bool = False, on_log: Callable[[str], None] | None = None) -> None:
        self._debug = debug
        self._on_log = on_log
        self._repeats = Repeats()
        self.disturbance: str | None = None

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Called by librdkafka while it is polled; must not raise."""
        if facility in _DISTURBANCES and _COORDINATOR in text:
            self.disturbance = f"{facility} {text}"
        if level > logging.DEBUG or self._debug:
            if level <= logging.DEBUG or self._repeats.is_news(f"{facility} {client} {text}"):
                logger.log(level, "%s [%s] %s", facility, client, text)
            if self._on_log is not None:
                self._on_log(f"{facility} {text}")

    def forget(self) -> None:
        self.disturbance = None


class ErrorEvents:
    """Takes the place of `error_cb`: remembers what makes going on pointless, and the last trouble for messages.

    ``fatal`` is librdkafka's own fatal error; calls after it only report ``_FATAL``.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self.refused: KafkaError | None = None
        self.fatal: KafkaError | None = None
        self._trouble = ""
        self._trouble_at = 0.0
        self._repeats = Repeats()

    def __call__(self, error: KafkaError) -> None:
        """Called by librdkafka while it is polled; must not raise."""
        if _is_refusal(error):
            self.refused = error
        self._trouble, self._trouble_at = error.str(), time.monotonic()
        if self._repeats.is_news(error.str()):
            logger.warning("%s: %s [%s]", self._client, error.str(), error.name())

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Around calls that may bring librdkafka's fatal error (a fenced producer).

        confluent_kafka does not give it to `error_cb` but raises it out of whatever call polls; where a log line is served
        next in the same call, that fails with a SystemError which has the fatal error as its cause. Both end up in `fatal`.
        """
        try:
            yield
        except (KafkaException, SystemError) as raised:
            fatal = _fatal_in(raised)
            if fatal is None:
                raise
            self.fatal = self.fatal or fatal

    def refusal(self) -> FatalError | None:
        """The error to raise if the cluster refuses us; librdkafka itself would go on trying for ever."""
        error, self.refused = self.refused, None
        if error is None:
            return None
        return FatalError(
            f"the cluster refuses this client: {error.str()}. Check security.protocol, sasl.* and ssl.* among the properties",
            code=error.name(),
            call=self._client,
        )

    def classified(self, error: KafkaError, call: str, *, about: str = "", operation: str = "") -> StreamkitError:
        """What to raise for a failed call: that the cluster refuses us, if it does; a time-out says what happened lately."""
        if error.name() in RETRIABLE and time.monotonic() - self._trouble_at < _LATELY_S and self._trouble:
            about = f"{about} (lately: {self._trouble})"
        return self.refusal() or classify(error, call, about=about, operation=operation)

    def check(self) -> None:
        refusal = self.refusal()
        if refusal is not None:
            raise refusal


def _fatal_in(raised: BaseException | None) -> KafkaError | None:
    while raised is not None:
        if isinstance(raised, KafkaException) and isinstance(raised.args[0], KafkaError) and raised.args[0].fatal():
            return raised.args[0]
        raised = raised.__cause__ or raised.__context__
    return None


def _is_refusal(error: KafkaError) -> bool:
    """Wrong credentials, or a certificate that is not trusted: nothing that time heals. (A handshake cut short is _SSL, too.)"""
    code = error.code()
    if code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM):
        return True
    return code == KafkaError._SSL and "certificate" in error.str().lower()


def attach(config: dict[str, Any], tap: LogTap, events: ErrorEvents) -> dict[str, Any]:
    return {**config, "logger": tap, "error_cb": events}
