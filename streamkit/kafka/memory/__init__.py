"""The embedded broker: an in-process Kafka cluster on which the very same engine code runs.

`cluster.py` is the cluster with what tests do to it, `server/` the broker side, `client/` the clients, `network.py` what lies
between them, `faults.py` planted faults. May import: errors, clock, kafka/client.py, kafka/murmur2.py. tests/conformance
holds it to what real Kafka does. Start reading at `cluster.py`.
"""

from streamkit.kafka.memory.client.memory_client import MemoryClient
from streamkit.kafka.memory.cluster import Cluster, LogRecord

__all__ = ["Cluster", "LogRecord", "MemoryClient"]
