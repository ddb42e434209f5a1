"""A service under test, whole: a real Kafka, several replicas as processes or containers, killed and scaled as in life.

`kafka.py` finds or starts a broker, `service.py` runs replicas on it; `replica.py` says what a replica is, `processes.py` and
`images.py` are its two kinds; `progress.py` asks how far a group is, `engine.py` is the door to Docker. May import: everything
below, app included. Docker and testcontainers are needed only where a container is started.
"""

from streamkit.testing.containers.kafka import IMAGE, Kafka, kafka
from streamkit.testing.containers.service import Service, service

__all__ = ["IMAGE", "Kafka", "Service", "kafka", "service"]
