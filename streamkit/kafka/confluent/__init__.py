"""The real Kafka client, with librdkafka. Nothing outside this package imports `confluent_kafka`.

`client.py` makes the four clients from `settings.py`; `consumer.py`, `reader.py`, `producer.py` and `admin.py` implement
the protocols of `kafka/client.py`; `fetch.py` is what consumer and reader share: positions, stale records, errors.
`properties.py` checks what users pass on. `classify.py` turns librdkafka's errors into ours (R5), `events.py` its log lines and
error events.
May import: errors and `kafka/client.py`. Start reading at `settings.py`, then `fetch.py`.
"""

from streamkit.kafka.confluent.client import ConfluentClient
from streamkit.kafka.confluent.settings import ConnectionSettings

__all__ = ["ConfluentClient", "ConnectionSettings"]
