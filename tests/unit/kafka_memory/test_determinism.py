"""The same calls give the same cluster, whatever the order of hashes is in this process."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from streamkit.clock import ManualClock
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.kafka.memory import Cluster, MemoryClient
from tests.conformance.world import Listener

for protocol in ("classic", "consumer"):
    cluster = Cluster(ManualClock(), topics={"a": 3, "b": 3, "c": 2})
    clients = [MemoryClient(cluster, client_id=f"w{i}", group_protocol=protocol) for i in range(3)]
    members = []
    for client in clients:
        consumer, listener = client.consumer("g"), Listener()
        consumer.subscribe(["c", "a", "b"], listener)
        members.append((consumer, listener))
    for turn in range(30):
        for consumer, _ in members:
            consumer.poll(10, 0)
        if turn == 20:
            clients[0].crash()
            members = members[1:]
    for number, (consumer, listener) in enumerate(members):
        producer = clients[number + 1].producer(f"id-{number}")
        producer.init_transactions(1)
        producer.begin()
        for key in ("x", "y", "z"):
            for topic in ("a", "b"):
                producer.produce(topic, key.encode(), key.encode())
            producer.produce("c", key.encode(), None)
        producer.send_offsets({tp: Committed(1) for tp in listener.held}, consumer.group_metadata(), 1)
        producer.commit(1)
        print(consumer.group_metadata(), listener.calls)
    print(cluster.members("g"))
    print([record for topic in ("a", "b", "c") for record in cluster.read(topic, "read_uncommitted")])
    print(clients[1].admin().describe_topics(["a", "b"], 1))
"""


def output(seed: int) -> str:
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=200
    ).stdout


def test_nothing_depends_on_the_order_of_hashes():
    first = output(1)
    assert first.count("\n") == 10
    assert output(2) == first
