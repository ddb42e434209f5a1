"""What a broker answers instead of a result."""

from __future__ import annotations


class BrokerError(Exception):
    """An error code of the Kafka protocol, named as librdkafka names it, for the client side to classify.

    ``record`` is the index of the record that was refused, where the broker says so (KIP-467).
    """

    def __init__(self, code: str, message: str, *, record: int | None = None) -> None:
        self.code = code
        self.message = message
        self.record = record
        super().__init__(f"{message} [{code}]")
