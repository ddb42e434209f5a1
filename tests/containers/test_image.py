"""The image of a service: small, without rights, stopped in order; and the one of the project that `streamkit new` makes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import streamkit as sk
from services.bids.app import TOPICS, app
from services.bids.demo import SAMPLE
from streamkit.cli.new import create
from streamkit.testing.containers import Kafka, service
from tests.containers.conftest import QUICK, ROOT
from tests.support.docker.engine import client
from tests.support.docker.images import build

LIMIT_MB = 500
REQUIRE = {"STREAMKIT_NATIVE": "require"}
"""A service that cannot use the compiled extensions then ends with an error."""
COMPILED = f"streamkit {sk.__version__} (compiled: kafka, serdes, state)\n"


@pytest.fixture
def api(docker) -> Iterator[Any]:
    with contextlib.closing(client()) as api:
        yield api


def output(api: Any, image: str, *command: str, **options: Any) -> str:
    return api.containers.run(image, list(command), remove=True, read_only=True, **options).decode()


def test_it_is_small(api, bids_image):
    assert api.images.get(bids_image).attrs["Size"] < LIMIT_MB * 1_000_000


def test_it_says_how_it_is_to_be_run(api, bids_image):
    config = api.images.get(bids_image).attrs["Config"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["streamkit"]
    assert config["Cmd"] == ["run", "app.py"]
    assert config["User"].partition(":")[0] not in {"", "0", "root"}
    assert config.get("Healthcheck") is None


def test_it_holds_the_service_and_nothing_of_the_workshop(api, bids_image):
    script = "import os, sys, importlib.util as u; print(os.getuid(), *sorted(os.listdir('/app/services')))"
    script += "; print(*[name for name in ('pytest', 'testcontainers', 'mypy', 'tests', 'benchmarks') if u.find_spec(name)])"
    script += "; import shutil; print(*[name for name in ('gcc', 'cc') if shutil.which(name)])"
    uid, *files = output(api, bids_image, "-c", script, entrypoint="python").split()
    assert uid == "10001"
    assert files == ["__init__.py", "__pycache__", "bids"]


def test_it_has_the_compiled_extensions(api, bids_image):
    assert output(api, bids_image, "--version", environment=REQUIRE) == COMPILED


def test_its_commands_work_on_a_read_only_root_file_system(api, bids_image):
    assert output(api, bids_image, "topology", "app.py").startswith("app 'bids': 3 sub-topologies")
    shown = output(api, bids_image, "config", "app.py", environment={"STREAMKIT_COMMIT_INTERVAL": "50ms"})
    assert 'log_format = "json"' in shown
    assert 'commit_interval = "50ms"' in shown


def test_a_stop_is_heard_while_it_still_starts(api, bids_image):
    """Process 1 is not given a signal for which it has no handler, so the command line has one before it imports anything."""
    script = "import signal, sys; from streamkit.cli import main; sys.argv[1:] = ['--version']\n"
    script += "try: main()\nexcept SystemExit: print(signal.getsignal(signal.SIGTERM).__name__)"
    assert output(api, bids_image, "-c", script, entrypoint="python").split()[-1] == "_leave"


def test_a_stop_is_heard_while_a_broker_is_waited_for(api, bids_image):
    container = api.containers.run(bids_image, detach=True, environment={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    try:
        deadline = time.monotonic() + 60
        while b"waiting-for-broker" not in container.logs():
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.1)
        container.kill("SIGTERM")
        assert container.wait(timeout=60)["StatusCode"] == 0, container.logs().decode()
    finally:
        container.remove(force=True)


def test_a_stop_drains(api, bids_image, clean_kafka: Kafka):
    with service(app, image=bids_image, kafka=clean_kafka, partitions=3, settings=QUICK, environment=REQUIRE) as running:
        for number, bid in enumerate(SAMPLE):
            running.send(TOPICS.bids, bid, key=bid.item, partition=number % 3)
        running.read(TOPICS.totals, at_least=3)
        container = api.containers.get(running.container_id(0))
        assert container.attrs["HostConfig"]["ReadonlyRootfs"]
        container.stop(timeout=20)
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0
        events = [json.loads(line)["event"] for line in running.log(0).splitlines()]
        assert events[-1] == "stopped"
        assert "draining" in events
        running.start(0)
        running.wait_for_event("running", replica=0)
        assert len(running.read(TOPICS.totals)) == 3  # nothing twice


def test_extensions_that_cannot_be_loaded_are_gone_without(api, bids_image, clean_kafka: Kafka, tmp_path):
    """As those of a wheel that was compiled beside a newer C library: its binaries are cut off here."""
    cut = "find /opt/streamkit/lib/python3.11/site-packages/streamkit -name '*.abi3.so' -exec truncate --size 20 '{}' ';'"
    (tmp_path / "Dockerfile").write_text(f"FROM {bids_image}\nUSER root\nRUN {cut}\nUSER 10001:10001\n")
    image = "streamkit/bids-without:test"
    build(api, tmp_path, image)
    assert output(api, image, "--version") == f"streamkit {sk.__version__} (compiled: nothing)\n"
    with service(app, image=image, kafka=clean_kafka, partitions=3, settings=QUICK) as running:
        for number, bid in enumerate(SAMPLE):
            running.send(TOPICS.bids, bid, key=bid.item, partition=number % 3)
        assert len(running.read(TOPICS.totals, at_least=3)) == 3
        told = [json.loads(line)["event"] for line in running.log(0).splitlines()]
    assert any("_native is not there, so records are handled one by one" in event for event in told)


@pytest.mark.timeout(240)
def test_the_project_of_streamkit_new_becomes_an_image(api, bids_image, clean_kafka: Kafka, tmp_path):
    """With streamkit as an sdist of this tree, which is compiled there. What streamkit depends on is taken out of the image of
    the bids service, so as not to be fetched again."""
    create("spending", tmp_path)
    sdist = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(sdist, cwd=ROOT, check=True, capture_output=True, timeout=60)
    dockerfile = tmp_path / "Dockerfile"
    environment = "RUN python -m venv --without-pip /opt/streamkit\n"
    there = f"COPY --from={bids_image} /opt/streamkit /opt/streamkit\n"
    there += "RUN python -m pip --python /opt/streamkit/bin/python uninstall --quiet --yes streamkit\n"
    text = dockerfile.read_text()
    assert text.count(environment) == 1
    dockerfile.write_text(text.replace(environment, there))
    build(api, tmp_path, "streamkit/spending:test")
    assert output(api, "streamkit/spending:test", "--version", environment=REQUIRE) == COMPILED
    events, totals = sk.Topic("events", key=str), sk.Topic("totals", key=str)
    clean_kafka.create_topic("events")
    with service(
        group="spending", image="streamkit/spending:test", kafka=clean_kafka, command=["run", "app.py", "--create-topics", "1"]
    ) as running:
        for clock in ("09:00:10", "09:01:30"):
            running.send(events, {"user": "anna", "amount": 2.0, "at": f"2026-01-05T{clock}Z"}, key="anna")
        running.wait_until_caught_up("events")
        assert [record.value.total for record in running.read(totals, at_least=1)] == [2.0]
