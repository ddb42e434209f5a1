"""A service under test, whole: a real Kafka, several replicas as processes or containers, killed and scaled as in life.

`broker.py` finds or starts a Kafka, `replicas.py` runs a service on it; `replica.py` says what a replica is, `processes.py` and
`images.py` are its two kinds; `progress.py` asks how far a group is, `engine.py` is the door to Docker. May import: everything
below, app included. Docker and testcontainers are needed only where a container is started.
"""

from streamkit.testing.containers.broker import IMAGE, Kafka, kafka
from streamkit.testing.containers.replicas import Service, service

__all__ = ["IMAGE", "Kafka", "Service", "kafka", "service"]
