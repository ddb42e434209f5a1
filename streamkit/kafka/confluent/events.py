"""What librdkafka tells on the side: log lines and error events.

Both arrive on the thread that polls the client. Log lines go to the Python logger "streamkit.kafka"; error events that no
call reports (a wrong password is retried for ever) are remembered, so that the next call can say why nothing works.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from streamkit.errors import AuthenticationError, StreamkitError
from streamkit.kafka.confluent.classify import RETRIABLE, classify

logger = logging.getLogger("streamkit.kafka")

# R6: facilities of lines that mean that a connection was disturbed. Others on the coordinator's connection are routine:
# RETRY (a request answered with CONCURRENT_TRANSACTIONS is repeated) and WAKEUP.
_DISTURBANCES = frozenset({"FAIL", "REQTMOUT", "STATE", "NODENAME", "CONNECT", "DISCONNECT", "BROKERFAIL"})
_COORDINATOR = "TxnCoordinator"
# On the connection to a broker like others: to make it, and to fail in that, is routine; to lose it is not.
_TIMED_OUT, _LOST = "REQTMOUT", " UP -> "
_LATELY_S = 60.0
_REPEAT_AFTER_S = 10.0
_REMEMBERED_LINES = 100
_AFTER = re.compile(r" \(after \d+ms in state \w+\)")
_FAILED = "FAIL"
_REFUSED_PARTITION = re.compile(r'Failed to add partition "(.+?)" \[\d+\] to transaction: .*authorization failed')
_REMOVED_BROKER = re.compile(r"/(\d+): Decommissioning this broker .*\(_DESTROY_BROKER\)")
_HANDSHAKE = "APIVERSION_QUERY"  # the state of a connection whose first request has no answer yet

_CERTIFICATE = (
    "The broker's certificate is not signed by an authority that we trust, or not for this address: check kafka.ssl.ca.location "
    "(and the names in the certificate)"
)
_CREDENTIALS = (
    "The broker does not accept these credentials: check kafka.sasl.username, kafka.sasl.password and kafka.sasl.mechanism, and "
    "that there is such a user"
)
_WANTS_TLS = "; if it happens at once, the listener may want TLS: check kafka.security.protocol"
_NO_TLS = "; if it happens at once, the listener may not speak TLS: check kafka.security.protocol"
# librdkafka itself guesses so in some of its lines only
_CUT_SHORT = re.compile(
    r"(?:Disconnected|reset by peer).* in state SSL_HANDSHAKE"
)  # librdkafka itself guesses so in some of its lines only
_NO_MECHANISM = re.compile(r"not enabled|unsupported", re.IGNORECASE)
_MECHANISM = "Check kafka.sasl.mechanism: it must be one that this listener of the broker has"


class Repeats:
    """Which lines were written a moment ago: while a broker is away, librdkafka says so ten times a second."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said: dict[str, float] = {}

    def is_news(self, line: str) -> bool:
        """Whether to write the line; it counts as written then. How long an attempt took makes no other line of it."""
        line = _AFTER.sub("", line)
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

    Keeps until `forget` the last line that tells of a disturbance on the transaction coordinator's connection, and the last one
    of any connection that was lost (R6). Keeps the topic that a transaction was not allowed to write to, which no call names, and
    a broker that has left the metadata (R31).
    """

    def __init__(self, *, debug: bool = False, on_log: Callable[[str], None] | None = None) -> None:
        self._debug = debug
        self._on_log = on_log
        self._repeats = Repeats()
        self.disturbance: str | None = None
        self.broken: str | None = None
        self.refused_topic: str | None = None
        self.removed_broker: str | None = None
        self.on_failure: Callable[[str], None] | None = None

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Called by librdkafka while it is polled; must not raise."""
        if facility in _DISTURBANCES and _COORDINATOR in text:
            self.disturbance = f"{facility} {text}"
        if facility == _TIMED_OUT or (facility == "STATE" and _LOST in text):
            self.broken = f"{facility} {text}"
        if removed := _REMOVED_BROKER.search(text):
            self.removed_broker = removed[1]
        if level <= logging.DEBUG and not self._debug:
            return
        if refused := _REFUSED_PARTITION.search(text):
            self.refused_topic = refused[1]
        if facility == _FAILED and self.on_failure is not None:
            self.on_failure(text.partition("]: ")[2] or text)
        if level <= logging.DEBUG or self._is_worth_a_line(level, facility, client, text):
            logger.log(level, "%s [%s] %s", facility, client, text, extra={"client": client})
        if self._on_log is not None:
            self._on_log(f"{facility} {text}")

    def _is_worth_a_line(self, level: int, facility: str, client: str, text: str) -> bool:
        comes_as_event = facility == _FAILED and level > logging.INFO
        return not comes_as_event and self._repeats.is_news(f"{facility} {client} {text}")

    def forget(self) -> None:
        self.disturbance = self.broken = None


class ErrorEvents:
    """Takes the place of `error_cb`: remembers what makes going on pointless, and the last trouble for messages.

    ``fatal`` is librdkafka's own fatal error; calls after it only report ``_FATAL``.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self.refused: KafkaError | None = None
        self.fatal: KafkaError | None = None
        self.all_down = False  # no broker was connected a moment ago
        self._trouble = ""
        self._trouble_at = 0.0
        self._repeats = Repeats()

    def __call__(self, error: KafkaError) -> None:
        """Called by librdkafka while it is polled; must not raise."""
        if _is_refusal(error):
            self.refused = error
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_down = True
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.lately():  # which says nothing of why
            self.note(error.str())
        if self._repeats.is_news(error.str()):
            code = error.name()
            logger.warning("%s: %s [%s]", self._client, error.str(), code, extra={"client": self._client, "code": code})

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Around calls that may bring librdkafka's fatal error (a fenced producer).

        confluent_kafka does not give it to `error_cb` but raises it out of whatever call polls; where a log line is served
        next in the same call, that fails with a SystemError which has the fatal error as its cause. Both end up in `fatal`.
        """
        try:
            yield
        except:  # noqa: E722 - it may be a bare KafkaError, which is no BaseException: nothing else would catch it
            fatal = _fatal_in(sys.exc_info()[1])
            if fatal is None:
                raise
            self.fatal = self.fatal or fatal

    def refusal(self) -> AuthenticationError | None:
        """The error to raise if the cluster refuses us; librdkafka itself would go on trying for ever."""
        error, self.refused = self.refused, None
        if error is None:
            return None
        text = _AFTER.sub("", error.str())
        return AuthenticationError(
            f"the cluster refuses this client: {text} [{error.name()}]. {_what_to_check(error)}", code=error.name()
        )

    def note(self, trouble: str) -> None:
        """Remembers what may explain the next time-out."""
        guess = _WANTS_TLS if _HANDSHAKE in trouble else _NO_TLS if _CUT_SHORT.search(trouble) else ""
        self._trouble = _AFTER.sub("", trouble) + guess
        self._trouble_at = time.monotonic()

    def lately(self) -> str:
        """What went wrong within the last minute; empty if nothing did."""
        return self._trouble if time.monotonic() - self._trouble_at < _LATELY_S else ""

    def classified(self, error: KafkaError, call: str, *, about: str = "", operation: str = "") -> StreamkitError:
        """What to raise for a failed call: that the cluster refuses us, if it does; a time-out says what happened lately."""
        if error.name() in RETRIABLE and self.lately():
            about = f"{about} (lately: {self.lately()})"
        return self.refusal() or classify(error, call, about=about, operation=operation)

    def check(self) -> None:
        refusal = self.refusal()
        if refusal is not None:
            raise refusal


def _fatal_in(raised: object) -> KafkaError | None:
    """The fatal error in what was raised, or behind it; `raised` may itself be a KafkaError, which is no exception."""
    while raised is not None:
        error = raised.args[0] if isinstance(raised, KafkaException) and raised.args else raised
        if isinstance(error, KafkaError) and error.fatal():
            return error
        raised = getattr(raised, "__cause__", None) or getattr(raised, "__context__", None)
    return None


def _is_refusal(error: KafkaError) -> bool:
    """Wrong credentials, or a certificate that is not trusted: nothing that time heals. (A handshake cut short is _SSL, too.)"""
    code = error.code()
    if code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM):
        return True
    return code == KafkaError._SSL and "certificate" in error.str().lower()


def _what_to_check(error: KafkaError) -> str:
    if error.code() == KafkaError._SSL:
        return _CERTIFICATE
    if error.code() == KafkaError.UNSUPPORTED_SASL_MECHANISM or _NO_MECHANISM.search(error.str()):
        return _MECHANISM
    return _CREDENTIALS


def attach(config: dict[str, Any], tap: LogTap, events: ErrorEvents) -> dict[str, Any]:
    tap.on_failure = events.note
    return {**config, "logger": tap, "error_cb": events}
