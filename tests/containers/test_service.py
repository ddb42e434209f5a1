"""`streamkit.testing.containers`: what it does with replicas, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import streamkit as sk
from streamkit.errors import BrokerUnreachableError, ConfigError, ContainerError
from streamkit.testing.containers import Kafka, Service, kafka, service
from tests.containers.conftest import BIDS, QUICK, own_kafka
from tests.support.container import label_of_this_run
from tests.support.docker.engine import client

START = datetime(2020, 1, 1, tzinfo=UTC)

SERVICE = """
import streamkit as sk

class Click(sk.Model):
    page: str
    at: int

CLICKS = sk.Topic("clicks-{run}", key=str, value=Click)
COUNTS = sk.Topic("counts-{run}", key=str)
app = sk.App("counts-{run}")
clicks = app.stream(CLICKS, event_time=sk.event_time("at", idle_after="1s"))
clicks.key_by("page").window(sk.tumbling("1m")).aggregate("per-page", clicks=sk.count()).on_close().to(COUNTS)
"""


class Click(sk.Model):
    page: str
    at: int


class Project:
    """A service in a file of its own, with topics and a group of this test."""

    def __init__(self, directory: Path) -> None:
        run = secrets.token_hex(4)
        self.file = directory / f"counts_{run}.py"
        self.file.write_text(SERVICE.format(run=run))
        self.clicks = sk.Topic(f"clicks-{run}", key=str, value=Click)
        self.counts = sk.Topic(f"counts-{run}", key=str)
        self.sent = 0

    def send(self, running: Service, count: int) -> None:
        """A click a second, from page to page and from partition to partition."""
        with running.kafka.sender() as send:
            for _ in range(count):
                click = Click(f"page-{self.sent % 3}", round((START + timedelta(seconds=self.sent)).timestamp() * 1000))
                send(self.clicks, click, key=click.page, partition=self.sent % 2)
                self.sent += 1

    def counted(self, kafka: Kafka) -> int:
        """Clicks of all windows; each window must be there once."""
        records = kafka.read(self.counts)
        windows = [(record.key, record.value.window_start) for record in records]
        assert len(windows) == len(set(windows))
        return sum(record.value.clicks for record in records)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# ---- replicas


@pytest.mark.timeout(180)
def test_replicas_as_processes_are_killed_stopped_and_scaled(shared_kafka: Kafka, project: Project):
    with service(f"{project.file}:app", kafka=shared_kafka, replicas=2, partitions=2, settings=QUICK) as running:
        assert running.running == (0, 1)
        project.send(running, 70)
        running.wait_until_caught_up()
        assert running.read(project.counts, at_least=3)
        running.kill(0)
        assert running.running == (1,)
        running.start(0)
        running.scale(3)
        assert running.running == (0, 1, 2)
        project.send(running, 70)
        running.wait_until_caught_up()
        running.stop(1)
        assert running.running == (0, 2)
        assert running.events(1)[-1]["event"] == "stopped"
        running.restart(*running.running)
        running.scale(1)
        assert running.running == (0,)
        running.run_until_end()
        assert running.running == ()
    assert project.counted(shared_kafka) == 140


def test_an_image_needs_no_app_here(bids_image: str, clean_kafka: Kafka):
    command = ["run", "app.py", "--create-topics", "1"]
    with service(image=bids_image, group="bids", kafka=clean_kafka, command=command) as running:
        running.kafka.create_topic("bids")
        bid = {"item": "A", "price": 1.0, "supplier_id": "s", "bidtime": "2020-04-15T08:00:00Z"}
        running.send(sk.Topic("bids", key=str), bid, key="A")
        running.wait_until_caught_up("bids")
        with pytest.raises(ContainerError, match=r"name the topics, or give service\(app="):
            running.wait_until_caught_up()
        assert running.container_id(0)


@pytest.mark.usefixtures("docker")
def test_a_kafka_that_the_environment_names_is_used_by_processes_and_by_containers(
    shared_kafka: Kafka, bids_image: str, monkeypatch, project: Project
):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", shared_kafka.bootstrap_servers)
    told: list[str] = []
    with kafka(report=told.append) as named:
        assert told == [f"kafka: KAFKA_BOOTSTRAP_SERVERS at {shared_kafka.bootstrap_servers}"]
        assert named.network is None
        with service(f"{project.file}:app", kafka=named, partitions=2) as running:
            project.send(running, 1)
            running.wait_until_caught_up()
        command = ["run", "app.py", "--create-topics", "1"]
        with service(image=bids_image, group="bids", kafka=named, command=command) as running:
            (started,) = [event for event in running.events(0) if event["event"] == "started"]
            assert started["worker"] == "bids-0-0"  # this machine's network, and yet a name of its own
    assert shared_kafka.read(project.clicks)  # it was left as it was


# ---- what goes wrong


def test_a_replica_that_ends_at_its_start_shows_its_last_lines(shared_kafka: Kafka, project: Project):
    with (
        pytest.raises(ContainerError, match=r"-0' ended with exit code 1; its last lines:(.|\n)*'clicks-\w+' does not exist"),
        service(f"{project.file}:app", kafka=shared_kafka),
    ):
        pytest.fail("it did not start")


def test_a_container_that_ends_at_its_start_shows_its_last_lines(clean_kafka: Kafka, bids_image: str):
    with (
        pytest.raises(ContainerError, match=r"'bids-0' ended with exit code 1; its last lines:(.|\n)*'bids' does not exist"),
        service(image=bids_image, group="bids", kafka=clean_kafka),
    ):
        pytest.fail("it did not start")


def test_a_wait_is_bounded_and_says_for_what(shared_kafka: Kafka, project: Project):
    with service(f"{project.file}:app", kafka=shared_kafka, partitions=2) as running:
        project.send(running, 1)
        running.wait_until_caught_up()
        with pytest.raises(ContainerError, match=r"waited 1s for 5 records in 'counts-\w+', which has 0\n---- 'counts-\w+-0'"):
            running.read(project.counts, at_least=5, timeout="1s")
        running.kill(0)
        project.send(running, 1)
        with pytest.raises(ContainerError, match=r"waited 1s for group 'counts-\w+' to process clicks-\w+-1 at 0 of 2"):
            running.wait_until_caught_up(timeout="1s")


def test_a_replica_that_dies_is_told_instead_of_a_time_out(shared_kafka: Kafka, project: Project):
    with service(f"{project.file}:app", kafka=shared_kafka, partitions=2) as running:
        shared_kafka.send(sk.Topic(project.clicks.name, key=str, value=str), "no click", key="a")
        started = time.monotonic()
        with pytest.raises(ContainerError, match=r"ended with exit code 5; its last lines:(.|\n)*clicks-"):
            running.wait_until_caught_up(timeout="60s")
        assert time.monotonic() - started < 30


def test_a_failed_block_shows_the_logs_of_all(shared_kafka: Kafka, project: Project):
    with (
        pytest.raises(ZeroDivisionError) as failed,
        service(f"{project.file}:app", kafka=shared_kafka, replicas=2, partitions=2),
    ):
        _ = 1 // 0
    notes = "\n".join(failed.value.__notes__)
    assert notes.count("its last lines:") == 2
    assert '"event": "started"' in notes


def test_wrong_arguments_are_told(shared_kafka: Kafka, project: Project):
    def start(*arguments, **options) -> None:
        with service(*arguments, kafka=shared_kafka, **options):
            pytest.fail("it started")

    with pytest.raises(ContainerError, match="give an app, an image, or both"):
        start()
    with pytest.raises(ContainerError, match="the name of its consumer group"):
        start(image=BIDS)
    with pytest.raises(ContainerError, match="image 'streamkit/nowhere:1' is not here and cannot be pulled; build it"):
        start(image="streamkit/nowhere:1", group="g")
    with pytest.raises(ConfigError, match=r"there is no file 'nowhere\.py'"):
        start("nowhere.py")
    with pytest.raises(ContainerError, match=r"App\('made-here'\) is no variable of a module"):
        start(sk.App("made-here"))
    with service(f"{project.file}:app", kafka=shared_kafka, partitions=2) as running:
        with pytest.raises(ContainerError, match=r"has no replica 3; it has: 0 to 0"):
            running.kill(3)
        with pytest.raises(ContainerError, match="runs already"):
            running.start(0)
        with pytest.raises(ContainerError, match=r"is a process, not a container: give service\(image="):
            running.container_id(0)


@pytest.mark.usefixtures("docker")
def test_a_kafka_that_does_not_come_up_shows_its_log(monkeypatch):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with (
        pytest.raises(ContainerError, match=r"has ended; the end of its log:(.|\n)*min.insync.replicas"),
        kafka(settings={"min.insync.replicas": "none"}),
    ):
        pytest.fail("it came up")


def test_a_named_kafka_that_does_not_answer_is_not_passed_over(monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    said = r"KAFKA_BOOTSTRAP_SERVERS=127\.0\.0\.1:1, but no broker answers"
    with pytest.raises(BrokerUnreachableError, match=said), kafka(timeout="500ms"):
        pytest.fail("it was passed over")


def test_without_docker_the_error_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(ContainerError, match=r"no Docker daemon answers at DOCKER_HOST=unix://.*: start one"), kafka():
        pytest.fail("it started")


# ---- nothing is left behind


def test_nothing_is_left_behind(docker, project: Project):
    def ours() -> set[str]:
        label = {"label": label_of_this_run()}
        with contextlib.closing(client()) as api:
            return {each.id for each in (*api.containers.list(all=True, filters=label), *api.networks.list(filters=label))}

    before = ours()
    with own_kafka() as broker, service(f"{project.file}:app", kafka=broker, partitions=2) as running:
        pid = _pid_of(running)
        assert Path(f"/proc/{pid}").exists()
        assert len(ours() - before) == 2  # the broker and its network
    assert ours() == before
    assert not Path(f"/proc/{pid}").exists()


def _pid_of(running: Service) -> int:
    return running._replicas[0]._process.pid
