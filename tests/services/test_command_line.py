"""The bids service from the command line: topology, wrong arguments, and a life on real Kafka that SIGTERM ends."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer

import streamkit as sk
from services.bids.app import TOPICS, Bid, make_app, topics
from services.bids.demo import PARTITIONS, SAMPLE, table
from streamkit.cli.main import run_command_line
from streamkit.kafka.client import TopicPartition
from tests.services.conftest import TABLE, create, delete
from tests.support import second_attempt

ROOT = Path(__file__).resolve().parents[2]
STREAMKIT = str(Path(sys.executable).with_name("streamkit"))
MODULE = "services.bids.app"
UNREACHABLE = "127.0.0.1:1"
APP = "bids"


def run(*command: str, kafka: str = UNREACHABLE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=environment(kafka), capture_output=True, text=True, timeout=200, check=False)


def environment(kafka: str) -> dict[str, str]:
    return {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}


# ---- without a broker


@pytest.mark.parametrize(
    "target", ["services.bids.app:app", "services.bids.app", "services.bids.app:make_app", "services/bids/app.py"]
)
def test_topology_prints_the_plan_without_a_broker(target):
    done = run(STREAMKIT, "topology", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("app 'bids': 3 sub-topologies\n")
    assert "aggregate 'totals' over cumulating(10m, step=2m)" in done.stdout
    assert "store   per-item, changelog bids.per-item.changelog" in done.stdout


def test_topology_prints_mermaid():
    done = run(STREAMKIT, "topology", "services.bids.app:app", "--mermaid")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("flowchart LR\n")
    assert '[("bid-totals-per-item")]' in done.stdout


@pytest.mark.parametrize(
    "target,message",
    [
        ("services.bids.nope:app", "there is no module 'services.bids.nope'"),
        ("services/bids/nope.py", "there is no file 'services/bids/nope.py'"),
        ("services.bids.app:ap", "'services.bids.app' has no 'ap'; did you mean 'app'?"),
        (
            "services.bids.app:TOPICS",
            "is of type Topics, not a sk.App or a function that makes one; the module has these apps: app",
        ),
        ("services.bids.app:Bid", "is the class Bid, not a sk.App"),
    ],
)
@pytest.mark.parametrize("command", ["run", "topology"])
def test_a_wrong_target_is_one_line_that_says_what(command, target, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["streamkit", command, target])
    with pytest.raises(SystemExit) as left:
        run_command_line()
    said = capsys.readouterr().err
    assert left.value.code == 1
    assert said.startswith("error: ")
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments", [("run",), ("run", "services.bids.app", "--on-error", "maybe"), ("nonsense",), ("topology", "--nonsense")]
)
def test_wrong_arguments_are_usage_errors(arguments):
    done = run(STREAMKIT, *arguments)
    assert done.returncode == 2
    assert "Usage: streamkit" in done.stderr


def test_a_broker_that_does_not_answer_is_an_error_in_bounded_time():
    for name in ("kafka.confluent", "runtime.service"):  # on a busy machine importing them takes longer than the wait
        importlib.import_module(f"streamkit.{name}")
    started = time.monotonic()
    with pytest.raises(sk.errors.BrokerUnreachableError, match=f"no Kafka broker answered at {UNREACHABLE} within 1 s"):
        make_app().run(bootstrap_servers=UNREACHABLE, settings=sk.EngineSettings(start_timeout_ms=1_000))
    assert time.monotonic() - started < 30


def test_fewer_partitions_than_none_are_refused_before_anything_is_touched():
    with pytest.raises(sk.errors.ConfigError, match="argument create_topics: -1 is no number of partitions"):
        make_app().run(bootstrap_servers=UNREACHABLE, create_topics=-1)


def test_the_demo_ends_with_the_table():
    done = run(sys.executable, "-m", "services.bids.demo", kafka="")
    assert (done.returncode, done.stderr) == (0, "")
    check_demo(done.stdout)


def check_demo(output: str) -> None:
    assert output.endswith(f"\n\n{TABLE}\n")
    live, rest = output.removesuffix(f"{TABLE}\n").split("Stopped by SIGTERM", 1)
    rows = TABLE.splitlines()[1:]
    assert [row for row in rows if f"all bids   {row}" in live] == rows[:3]
    assert [row for row in rows if f"all bids   {row}" in rest] == rows[3:]


# ---- on real Kafka


def test_missing_topics_are_listed(own):
    broker, name, found = own
    admin = broker.client.admin()
    admin.delete_topics([found.totals.name, found.late.name], 20)
    admin.close()
    with pytest.raises(sk.errors.TopicError) as raised:
        make_app(name, found).run(broker=broker)
    assert f"sink topic '{found.totals.name}' does not exist" in str(raised.value)
    assert f"sink topic '{found.late.name}' does not exist" in str(raised.value)
    assert "--create-topics" in str(raised.value)


def test_the_demo_on_real_kafka(real_broker):
    done = run(sys.executable, "-m", "services.bids.demo", kafka=real_broker)
    assert (done.returncode, done.stderr) == (0, "")
    check_demo(done.stdout)
    suffix = done.stdout.split("'")[1].removeprefix(APP)
    assert suffix.startswith("-")  # its own topics, not the service's
    delete(sk.Broker.at(real_broker), f"{APP}{suffix}", topics(suffix))


@pytest.fixture
def broker(real_broker: str) -> Iterator[sk.Broker]:
    """A Kafka with the service's topics under their own names; they must not be somebody's."""
    broker = sk.Broker.at(real_broker)
    admin = broker.client.admin()
    there = {topic.name for topic in TOPICS} & set(admin.topic_names(20))
    admin.close()
    assert not there, (
        f"this Kafka has {', '.join(sorted(there))}: the test would write to and delete them. Delete them, or use another"
    )
    create(broker, TOPICS)
    yield broker
    delete(broker, APP, TOPICS)


@contextmanager
def service(command: list[str], kafka: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(kafka), stderr=stderr)
    try:
        wait_for(lambda: '"event": "running"' in log.read_text() or process.poll() is not None, log)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], log: Path, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"it did not happen in {seconds} s; the log: {log.read_text()[-4000:]}"
        time.sleep(0.1)


def send(kafka: str, bids: list[Bid]) -> None:
    """Without a transaction, so that no marker stands behind the last record of a partition."""
    producer = Producer({"bootstrap.servers": kafka})
    encode = TOPICS.bids.value_serde.encoder()
    for number, bid in enumerate(bids):
        producer.produce(TOPICS.bids.name, encode(bid), bid.item.encode(), number % PARTITIONS)
    assert producer.flush(20) == 0


def end(process: subprocess.Popen[bytes], log: Path) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, log.read_text()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[-1] == "stopped"
    assert "draining" in events


def rows(broker: sk.Broker) -> list[str]:
    return table([record.value for record in broker.read(TOPICS.totals)]).splitlines()[1:]


def committed_and_end(broker: sk.Broker) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    bids = [TopicPartition(TOPICS.bids.name, partition) for partition in range(PARTITIONS)]
    admin = broker.client.admin()
    try:
        offsets = admin.group_offsets(APP, 20)
        return {tp: offsets[tp].offset for tp in bids}, admin.end_offsets(bids, 20)
    finally:
        admin.close()


@pytest.mark.parametrize(
    "command", [[sys.executable, "services/bids/app.py"], [STREAMKIT, "run", "services.bids.app:app"]], ids=["file", "cli"]
)
def test_sigterm_drains_and_a_restart_goes_on(command, broker, real_broker, tmp_path):
    expected = TABLE.splitlines()[1:]
    with service(command, real_broker, tmp_path / "first") as process:
        send(real_broker, SAMPLE)
        wait_for(lambda: rows(broker)[:3] == expected[:3], tmp_path / "first")
        end(process, tmp_path / "first")
    committed, ends = committed_and_end(broker)
    assert committed == ends

    with service(command, real_broker, tmp_path / "second") as process:
        closing = datetime(2020, 4, 15, 8, 21, tzinfo=UTC)
        send(real_broker, [Bid("Z", 0.5, "supplier3", closing)] * PARTITIONS)
        wait_for(lambda: len(rows(broker)) >= len(expected), tmp_path / "second")
        end(process, tmp_path / "second")
    items = [(record.value.item, record.value.total) for record in broker.read(TOPICS.item_totals)]
    with second_attempt.results():
        assert rows(broker) == expected  # each once
        assert sorted(items) == [(bid.item, bid.price) for bid in sorted(SAMPLE, key=lambda bid: bid.item)]
    committed, ends = committed_and_end(broker)
    assert committed == ends


def test_reset_takes_a_finished_app_back_to_its_beginning(broker, real_broker):
    send(real_broker, SAMPLE)
    for _ in range(2):
        done = run(STREAMKIT, "run", f"{MODULE}:app", "--until-end", kafka=real_broker)
        assert done.returncode == 0, done.stderr
    assert rows(broker) == TABLE.splitlines()[1:]  # there was nothing new the second time
    send(real_broker, SAMPLE)
    done = run(STREAMKIT, "run", f"{MODULE}:app", kafka=real_broker)
    assert done.returncode == 6
    assert "already ran to the end" in done.stderr
    done = run(STREAMKIT, "reset", f"{MODULE}:app", "--yes", kafka=real_broker)
    assert (done.returncode, done.stderr) == (0, "")
    done = run(STREAMKIT, "run", f"{MODULE}:app", "--until-end", kafka=real_broker)
    assert done.returncode == 0, done.stderr
    assert len(rows(broker)) > len(TABLE.splitlines()) - 1  # written again, into the same topics


def test_records_that_were_deleted_unread_stop_it_or_are_told(broker, real_broker, tmp_path):
    command = [STREAMKIT, "run", f"{MODULE}:app"]
    with service(command, real_broker, tmp_path / "first") as process:
        send(real_broker, SAMPLE)
        wait_for(lambda: rows(broker), tmp_path / "first")
        end(process, tmp_path / "first")
    send(real_broker, SAMPLE)
    place = TopicPartition(TOPICS.bids.name, 1)
    committed, ends = committed_and_end(broker)
    assert committed[place] < ends[place]
    admin = broker.client.admin()
    admin.delete_records({place: ends[place]}, 20)
    admin.close()

    done = run(*command, kafka=real_broker)
    assert done.returncode == 6, done.stderr
    gone = ends[place] - committed[place]
    assert f"the log now starts at {ends[place]}: {gone} records were deleted unread" in done.stderr
    assert "set on_lost_offset to earliest" in done.stderr

    with service([*command, "--set", "on_lost_offset=earliest"], real_broker, tmp_path / "second") as process:
        end(process, tmp_path / "second")
    told = [json.loads(line) for line in (tmp_path / "second").read_text().splitlines() if '"records-lost"' in line]
    assert [(line["topic"], line["partition"], line["offset"], line["records"]) for line in told] == [
        (place.topic, place.partition, committed[place], gone)
    ]
    assert committed_and_end(broker)[0][place] == ends[place]


def test_a_second_signal_does_not_wait(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([STREAMKIT, "run", f"{MODULE}:app"], cwd=ROOT, env=environment(UNREACHABLE), stderr=log)
    try:
        wait_for(lambda: "waiting-for-broker" in (tmp_path / "log").read_text(), tmp_path / "log")
        for number in (signal.SIGTERM, signal.SIGINT):  # two of one kind may count as one
            process.send_signal(number)
        assert process.wait(60) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    finally:
        process.kill()
        process.wait()
