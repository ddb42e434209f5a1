"""What librdkafka says of a property, before any client is made: whether there is one of this name, and takes this value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

import confluent_kafka as ck

from streamkit.errors import ConfigError
from streamkit.kafka.confluent.settings import CONSUMER_ONLY, GUARDED, PRODUCER_ONLY

# librdkafka does not tell its names; these are enough to find what was misspelt.
_FREQUENT: Final = frozenset({
    "broker.address.family", "broker.address.ttl", "client.dns.lookup", "client.rack", "debug",
    "enable.ssl.certificate.verification", "https.ca.location", "max.in.flight", "message.max.bytes",
    "metadata.max.age.ms", "receive.message.max.bytes", "reconnect.backoff.max.ms", "reconnect.backoff.ms",
    "retry.backoff.max.ms", "retry.backoff.ms", "sasl.kerberos.keytab", "sasl.kerberos.principal",
    "sasl.kerberos.service.name", "sasl.mechanism", "sasl.mechanisms", "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "sasl.oauthbearer.extensions", "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username",
    "security.protocol", "socket.connection.setup.timeout.ms", "socket.keepalive.enable", "socket.nagle.disable",
    "socket.receive.buffer.bytes", "socket.send.buffer.bytes", "socket.timeout.ms", "ssl.ca.location", "ssl.ca.pem",
    "ssl.certificate.location", "ssl.certificate.pem", "ssl.cipher.suites", "ssl.curves.list",
    "ssl.endpoint.identification.algorithm", "ssl.key.location", "ssl.key.password", "ssl.key.pem",
    "ssl.keystore.location", "ssl.keystore.password", "statistics.interval.ms",
})  # fmt: skip
_STOP: Final = "streamkit.no.such.property"
_LOADS_CODE: Final = "plugin.library.paths"


def refuse_unknown(name: str, value: str, *, is_secret: bool) -> None:
    """Raises `ConfigError` with the nearest name, or with librdkafka's reason unless that could show a secret.

    >>> refuse_unknown("security.protocol", "SASL_SSL", is_secret=False)
    >>> refuse_unknown("securty.protocol", "SASL_SSL", is_secret=False)
    Traceback (most recent call last):
    streamkit.errors.ConfigError: librdkafka has no property 'securty.protocol'; did you mean security.protocol?
    """
    if name == _LOADS_CODE:
        return
    reason = _reason(name, value)
    if reason is None:
        return
    if reason.startswith("No such configuration property"):
        near = difflib.get_close_matches(name, _known(), n=1)
        hint = f"did you mean {near[0]}?" if near else "its CONFIGURATION.md lists them all"
        raise ConfigError(f"librdkafka has no property '{name}'; {hint}")
    raise ConfigError(f"librdkafka refuses the value of {name}" + ("" if is_secret else f": {reason}"))


def _reason(name: str, value: str) -> str | None:
    # Properties are set in their order, before a client is made: with one behind that cannot be, none ever is.
    try:
        ck.Producer({name: value, _STOP: ""})
    except ck.KafkaException as raised:
        reason = str(raised.args[0].str()).strip()
        return None if _STOP in reason else reason
    except (TypeError, AttributeError, ValueError):
        return "it is no text"
    return None


def _known() -> Iterable[str]:
    return sorted(_FREQUENT | PRODUCER_ONLY | CONSUMER_ONLY | set(GUARDED))
