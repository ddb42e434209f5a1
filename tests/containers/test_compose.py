"""docker-compose.yml: a Kafka, two replicas of the bids service, bids without end, and results that are read."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Iterator

import pytest

from tests.containers.conftest import ROOT
from tests.support.docker.compose import Compose, find_compose
from tests.support.docker.engine import EngineError, client, is_failure

FILE = ROOT / "docker-compose.yml"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def compose(docker, bids_image: str) -> Iterator[Compose]:
    try:
        command = find_compose(docker.say)
    except EngineError as error:
        (pytest.fail if is_failure(error) else pytest.skip)(f"no Compose: {error}")
    variables = {"KAFKA_PORT": str(free_port()), "BIDS_IMAGE": bids_image}
    made = Compose(command, FILE, f"streamkit-{secrets.token_hex(4)}", variables)
    try:
        yield made
    finally:
        made("down", "--volumes", "--timeout", "10")


def results(text: str) -> list[dict]:
    """Rows out of the log of the reader, whatever Compose puts before them."""
    return [json.loads(line[line.index("{") :]) for line in text.splitlines() if '{"' in line]


@pytest.mark.timeout(300)
def test_the_demo_comes_up_and_shows_results(compose):
    compose("up", "-d", "--no-build")
    with contextlib.closing(client()) as api:
        mine = api.containers.list(filters={"label": f"com.docker.compose.project={compose.project}"})
        services = sorted(each.labels["com.docker.compose.service"] for each in mine)
        assert services == ["bids", "bids", "kafka", "producer", "results"]
        for container in mine:
            published = [bind for binds in container.ports.values() for bind in binds or ()]
            assert {bind["HostIp"] for bind in published} <= {"127.0.0.1"}
        rows: list[dict] = []
        deadline = time.monotonic() + 150
        while not {"item", "price"} <= {name for row in rows for name in row}:
            assert time.monotonic() < deadline, compose("logs", "--tail", "20")
            time.sleep(1)
            rows = results(compose("logs", "results"))
        replicas = [each for each in mine if each.labels["com.docker.compose.service"] == "bids"]
        assert all(each.attrs["HostConfig"]["ReadonlyRootfs"] for each in replicas)
        compose("stop", "bids")
        for container in replicas:
            container.reload()
            assert container.attrs["State"]["ExitCode"] == 0, container.logs().decode()
            assert json.loads(container.logs().splitlines()[-1])["event"] == "stopped"
