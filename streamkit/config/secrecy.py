"""Which Kafka properties may be shown. What is not known to be harmless stays hidden, so that a misspelt password does, too."""

from __future__ import annotations

import re

_SECRET = re.compile(r"pass|secret|token|credential|private|key\.pem|jaas", re.IGNORECASE)
_SECURITY = re.compile(r"(sasl|ssl|https)\.", re.IGNORECASE)
_HARMLESS = frozenset({
    "https.ca.location", "sasl.kerberos.principal", "sasl.kerberos.service.name", "sasl.mechanism", "sasl.mechanisms",
    "sasl.oauthbearer.client.id", "sasl.oauthbearer.method", "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url",
    "sasl.username", "ssl.ca.location", "ssl.certificate.location", "ssl.cipher.suites", "ssl.crl.location",
    "ssl.curves.list", "ssl.endpoint.identification.algorithm", "ssl.key.location", "ssl.keystore.location",
    "ssl.sigalgs.list",
})  # fmt: skip


def is_secret(kafka_property: str) -> bool:
    """Whether the value of a librdkafka property must never be printed.

    >>> [is_secret(name) for name in ("sasl.password", "sasl.pasword", "sasl.username", "linger.ms")]
    [True, True, False, False]
    """
    if kafka_property in _HARMLESS:
        return False
    return bool(_SECURITY.match(kafka_property) or _SECRET.search(kafka_property))
