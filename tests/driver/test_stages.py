"""Where the time goes: the times of the stages add up to the whole, and every stage of a pipeline is among them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import streamkit as sk
from streamkit.clock import ManualClock
from streamkit.config import EngineSettings
from streamkit.errors import ConfigError, UserFunctionError
from streamkit.instrument import Recorder
from streamkit.kafka.client import TopicPartition
from streamkit.runtime import service
from streamkit.runtime.service import RunOptions, run_service
from streamkit.runtime.stage_report import StageReport
from streamkit.stages import COMMIT, CONSUME, OTHER, Stages

START = datetime(2024, 1, 1, tzinfo=UTC)


class Bid(sk.Model):
    item: str
    price: int


BIDS, OUT = sk.Topic("bids", key=str, value=Bid), sk.Topic("out")


def bids_app() -> sk.App:
    app = sk.App("stages")
    kept = app.stream(BIDS).filter(pl.col("price") > 0)
    kept.key_by("item").window(sk.tumbling("10s")).aggregate("totals", n=sk.count(), total=sk.sum("price")).on_close().to(OUT)
    return app


def filled(records: int) -> sk.Broker:
    broker = sk.Broker.embedded()
    for topic in (BIDS, OUT):
        broker.create_topic(topic)
    for number in range(0, records, 1_000):
        broker.send(BIDS, *(Bid(f"i{n % 50}", n % 7) for n in range(1_000)), timestamp=START + timedelta(seconds=number / 100))
    return broker


def test_the_times_of_the_stages_add_up_to_the_whole():
    """Measured around the service from outside: nothing is counted twice, and nothing is left out."""
    run_service(bids_app().topology(), filled(1_000).client, EngineSettings(), RunOptions(until_end=True), Recorder())  # imports
    broker, events, told = filled(20_000), Recorder(), []
    options = RunOptions(until_end=True, report=lambda times, records: told.append((times, records)))
    begun = time.perf_counter()
    run_service(bids_app().topology(), broker.client, EngineSettings(), options, events)
    whole = time.perf_counter() - begun
    [(times, records)] = told
    read = [TopicPartition(topic, 0) for topic in ("bids", "stages.bids-by-item.repartition")]
    with_control_records = sum(broker.client.admin().end_offsets(read, 10).values())  # the slower, the more commits
    assert 37_140 <= records <= with_control_records  # read twice, the second time without the prices of 0
    assert with_control_records < 40_000
    counted = sum(each.seconds for each in times)
    assert 0.8 * whole < counted <= whole
    assert {each.name for each in times} >= {
        "wait", "consume", "decode bids", "operator filter(price > 0)", "encode key_by(item)", "produce",
        "decode key_by(item)", "operator aggregate 'totals' over tumbling(10s)", "encode to(out)", "changelog",
        "commit", "restore", "other",
    }  # fmt: skip
    [event] = events.of("stages")
    assert event["records"] == records
    assert sum(event["shares"].values()) == pytest.approx(100, abs=2)


def test_at_the_end_it_tells_the_state_that_there_was():
    broker, events, read = filled(1_000), Recorder(), [0]
    options = RunOptions(on_step=lambda worker: read.append(worker.stages.records), stop=lambda: read[-1] > 1_000)
    run_service(bids_app().topology(), broker.client, EngineSettings(), options, events)
    [event] = events.of("stages")
    assert event["state_bytes"] > 0


def test_a_stage_has_its_own_time_only_and_waiting_is_told_from_work():
    now = {"wall": 0, "cpu": 0}
    stages = Stages(wall_ns=lambda: now["wall"], cpu_ns=lambda: now["cpu"])
    outer, inner = stages.number("operator", "outer"), stages.number("encode", "inner")
    assert stages.number("operator", "outer") == outer

    def pass_time(wall_s: int, cpu_s: int) -> None:
        now["wall"] += wall_s * 10**9
        now["cpu"] += cpu_s * 10**9

    stages.enter(CONSUME)
    pass_time(10, 3)
    stages.enter(outer)
    pass_time(4, 4)
    before = stages.enter(inner)
    pass_time(2, 2)
    stages.enter(before)
    pass_time(1, 1)
    stages.enter(COMMIT)
    pass_time(8, 1)
    stages.enter(outer)
    assert {each.name: each.seconds for each in stages.times()} == {
        "wait": 7, "consume": 3, "operator outer": 5, "encode inner": 2, "commit": 1, "commit-wait": 7,
    }  # fmt: skip


def test_it_is_told_once_a_minute_in_which_records_came_and_of_the_whole_run():
    now, clock, events = {"ns": 0}, ManualClock(), Recorder()
    stages = Stages(wall_ns=lambda: now["ns"], cpu_ns=lambda: 0)
    decode = stages.number("decode", "bids")
    report = StageReport(stages, events, clock, lambda: {"one": 3, "other": 4})

    def minute(records: int, decoding_s: int) -> None:
        stages.enter(decode)
        now["ns"] += decoding_s * 10**9
        stages.enter(OTHER)
        now["ns"] += (60 - decoding_s) * 10**9
        stages.records += records
        clock.advance(60)
        report.look()
        report.look()

    minute(600, 15)
    assert events.of("stages") == [
        {"seconds": 60.0, "records": 600, "records_per_s": 10, "state_bytes": 7, "shares": {"decode bids": 25.0, "other": 75.0}}
    ]
    minute(0, 0)
    assert len(events.of("stages")) == 1
    minute(60, 3)
    assert events.of("stages")[1]["shares"] == {"decode bids": 5.0, "other": 95.0}
    assert [each.seconds for each in report.end()] == [18, 162]
    assert events.of("stages")[2] == {
        "seconds": 180.0, "records": 660, "records_per_s": 4, "state_bytes": 7, "shares": {"decode bids": 10.0, "other": 90.0},
    }  # fmt: skip


# ---- as users ask for it


@pytest.fixture
def copying():
    broker = sk.Broker.embedded()
    numbers, doubled = sk.Topic("numbers", value=int), sk.Topic("doubled")
    for topic in (numbers, doubled):
        broker.create_topic(topic)
    app = sk.App("doubling")
    app.stream(numbers).map(lambda n: {"n": 2 * n}).to(doubled)
    broker.send(numbers, *range(500))
    return app, broker, doubled


def test_report_prints_the_table_at_the_end(copying, capsys):
    app, broker, _ = copying
    app.run(broker=broker, until_end=True, report=True)
    printed = capsys.readouterr().err
    assert "500 records in" in printed
    assert re.search(r"decode +│ numbers +│ +\d", printed)
    assert re.search(r"encode +│ to\(doubled\) +│ +\d", printed)


def test_a_profile_is_written_when_the_run_ends_by_sigterm(copying, tmp_path):
    app, broker, doubled = copying
    page = tmp_path / "profile.html"
    stopped = threading.Thread(target=_terminate_after, args=(broker, doubled, 500))
    stopped.start()
    app.run(broker=broker, profile=page)
    stopped.join()
    text = page.read_text()
    assert "<html" in text
    assert "worker.py" in text  # the frames of the loop are in it


def _terminate_after(broker: sk.Broker, topic: sk.Topic, records: int) -> None:
    while len(broker.read(topic)) < records:
        time.sleep(0.05)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_profile_is_written_also_when_an_error_ends_the_run(copying, tmp_path):
    _, broker, _ = copying
    app = sk.App("failing")
    app.stream(sk.Topic("numbers", value=int)).map(lambda _: 1 // 0).to(sk.Topic("doubled"))
    with pytest.raises(UserFunctionError):
        app.run(broker=broker, profile=tmp_path / "profile.html")
    assert "<html" in (tmp_path / "profile.html").read_text()


def test_a_profile_of_a_service_that_runs_on_ends_by_itself(copying, tmp_path, monkeypatch):
    app, broker, _ = copying
    page = tmp_path / "profile.html"
    monkeypatch.setattr("streamkit.ops.profile.LONGEST_S", 0.0)
    looked = []
    original = service.RunOptions

    def options(**given):
        on_step = given.pop("on_step")
        return original(**given, on_step=lambda worker: (on_step(worker), looked.append(page.read_text()))[0])

    monkeypatch.setattr(service, "RunOptions", options)
    app.run(broker=broker, until_end=True, profile=page)
    assert "<html" in looked[0]  # after the first step


def test_a_profile_that_cannot_be_made_is_said_before_the_run(copying, tmp_path, monkeypatch):
    app, broker, doubled = copying
    with pytest.raises(ConfigError, match=r"--profile .*missing/profile.html: the file cannot be written \(No such file"):
        app.run(broker=broker, profile=tmp_path / "missing" / "profile.html")
    with pytest.raises(ConfigError, match=r"the file cannot be written \(Is a directory"):
        app.run(broker=broker, profile=tmp_path)
    monkeypatch.setattr("streamkit.ops.profile.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs pyinstrument, which is not installed: pip install 'streamkit\[profile\]'"):
        app.run(broker=broker, profile=tmp_path / "profile.html")
    assert broker.read(doubled) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_profile_that_cannot_be_written_in_the_end_changes_nothing_of_the_run(copying, tmp_path, capsys, *, fails):
    _, broker, doubled = copying
    place = tmp_path / "gone"
    place.mkdir()

    def work(number):
        shutil.rmtree(place, ignore_errors=True)
        return {"n": 1 // (0 if fails else 1)}

    app = sk.App("working")
    app.stream(sk.Topic("numbers", value=int)).map(work).to(sk.Topic("doubled"))
    with pytest.raises(UserFunctionError) if fails else nullcontext():
        app.run(broker=broker, until_end=True, profile=place / "profile.html")
    assert len(broker.read(doubled)) == (0 if fails else 500)
    (told,) = (line for line in capsys.readouterr().err.splitlines() if "profile-lost" in line)
    assert "No such file or directory" in told


def test_with_several_workers_it_is_said_once_and_before_any_is_started(tmp_path):
    (tmp_path / "pipeline.py").write_text(
        "import streamkit as sk\napp = sk.App('app')\napp.stream(sk.Topic('in')).to(sk.Topic('out'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "streamkit.cli", "run", "pipeline:app", "--workers", "2", "--profile", "missing/profile.html"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines() == [
        "error: --profile missing/profile-0.html: the file cannot be written (No such file or directory)"
    ]


def test_the_command_has_both(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-m", "streamkit.cli", "run", "--help"], capture_output=True, text=True, check=True,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    ).stdout  # fmt: skip
    assert "--report" in shown
    assert "--profile" in shown
