"""How an engine is found, started and ended, and whether its absence fails the run: without touching the machine's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.docker import engine as engines
from tests.support.docker import images
from tests.support.docker.engine import EngineError, EngineRefusedError, find_engine, is_failure
from tests.support.docker.images import ImageError, Images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nobody(monkeypatch, tmp_path) -> None:
    """No engine answers, and the environment asks for nothing."""
    for variable in ("CI", "DOCKER_HOST", engines.MODE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(engines, "_running", lambda _: None)


def stand_in(directory: Path, monkeypatch, script: str) -> None:
    """A `dockerd` of our own on the PATH; the other commands are there."""
    for name in engines.PACKAGES:
        (directory / name).write_text("#!/bin/sh\nexit 0\n")
        (directory / name).chmod(0o755)
    (directory / "dockerd").write_text(f"#!{sys.executable}\n{script}")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("CI", "true")


@pytest.mark.parametrize(
    "variables,error,fails",
    [
        ({}, EngineError, False),
        ({}, EngineRefusedError, False),
        ({"CI": "true"}, EngineError, True),
        ({"CI": "true"}, ImageError, True),
        ({"CI": "true"}, EngineRefusedError, False),
        ({engines.MODE: "install"}, EngineError, False),
        ({engines.MODE: "require"}, EngineRefusedError, True),
    ],
)
def test_only_a_machine_that_refuses_excuses_ci(nobody, monkeypatch, variables, error, fails):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_failure(error("why")) is fails


def test_nothing_is_installed_where_nobody_asked(nobody):
    with pytest.raises(EngineRefusedError, match="none is installed here without CI or STREAMKIT_TESTS_DOCKER=install"):
        find_engine(print)


def test_off_is_off(nobody, monkeypatch):
    monkeypatch.setenv(engines.MODE, "off")
    with pytest.raises(EngineRefusedError, match="STREAMKIT_TESTS_DOCKER=off"):
        find_engine(print)


def test_installing_takes_root(nobody, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineRefusedError, match="takes root"):
        find_engine(print)


def test_a_named_engine_that_does_not_answer_is_no_refusal(nobody, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(EngineError, match="does not answer") as raised:
        find_engine(print)
    assert is_failure(raised.value)


def test_a_dockerd_that_gives_up_is_a_refusal_with_its_last_words(nobody, monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, "print('failed to mount overlay: operation not permitted'); raise SystemExit(1)")
    with pytest.raises(EngineRefusedError, match=r"gave up with exit code 1:\nfailed to mount overlay"):
        find_engine(print)


def test_a_dockerd_that_hangs_is_ended_and_is_no_refusal(nobody, monkeypatch, tmp_path):
    pid = tmp_path / "pid"
    stand_in(tmp_path, monkeypatch, f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    monkeypatch.setattr(engines, "START_TIMEOUT", 1)
    with pytest.raises(EngineError, match="did not answer within 1 s") as raised:
        find_engine(print)
    assert is_failure(raised.value)
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_an_engine_of_ours_is_told_to_end_when_the_run_is_killed(tmp_path):
    """By SIGTERM: dockerd then stops its containers, as it could not after SIGKILL."""
    told = tmp_path / "told"
    daemon = f"import signal, time; signal.signal(15, lambda *_: (open({str(told)!r}, 'w').close(), exit())); print(flush=True)\n"
    daemon += "time.sleep(60)"
    script = "import subprocess, sys, time; from tests.support.watchdog import Watchdog\n"
    script += f"daemon = subprocess.Popen([sys.executable, '-c', {daemon!r}], stdout=subprocess.PIPE); daemon.stdout.readline()\n"
    script += "Watchdog().watch_daemon(daemon.pid); print(flush=True); time.sleep(60)"
    run = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert run.stdout is not None
    run.stdout.readline()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    deadline = time.monotonic() + 20
    while not told.exists():
        assert time.monotonic() < deadline, "it was not told"
        time.sleep(0.05)


# ---- images


class NoImages:
    """The client of an engine that has nothing."""

    class images:  # noqa: N801 - as the client calls it
        @staticmethod
        def list(_: str) -> list[str]:
            return []

    def close(self) -> None:
        pass


@pytest.fixture
def offline(monkeypatch) -> list[str]:
    """No registry answers; what was asked for, pulled or built."""
    asked: list[str] = []
    monkeypatch.setattr(images, "client", NoImages)
    monkeypatch.setattr(Images, "_pull", lambda _, tag: asked.append(f"pull {tag}") or "no such host")
    for tag in (images.DEBIAN, images.PYTHON, images.KAFKA):
        monkeypatch.setitem(images._LOOK_ALIKES, tag, lambda *_, tag=tag: asked.append(f"build {tag}"))
    return asked


def test_look_alikes_are_built_where_an_engine_was_asked_for(nobody, monkeypatch, offline):
    monkeypatch.setenv("CI", "true")
    Images(print).ensure(images.KAFKA)
    assert offline[0] == f"pull {images.KAFKA}"
    assert offline[-1] == f"build {images.KAFKA}"
    assert sum(line.startswith("pull") for line in offline) == 1  # one is enough to know


def test_no_look_alike_stands_under_a_public_tag_on_a_developers_machine(nobody, offline):
    with pytest.raises(ImageError, match=r"apache/kafka:\S+ is not here, and it cannot be pulled: no such host"):
        Images(print).ensure(images.KAFKA)
    assert offline == [f"pull {images.KAFKA}"]


@pytest.mark.parametrize(
    "labels,built",
    [
        ({}, False),  # the public image
        ({images.LABEL: "of these files"}, False),
        ({images.LABEL: "1"}, True),
    ],
)
def test_a_look_alike_is_built_anew_when_its_files_have_changed(nobody, monkeypatch, offline, labels, built):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(images, "_edition", lambda _: "of these files")
    monkeypatch.setattr(NoImages.images, "list", lambda tag: [SimpleNamespace(labels=labels if tag == images.PYTHON else {})])
    Images(print).ensure(images.PYTHON)
    assert (f"build {images.PYTHON}" in offline) is built


def test_the_edition_of_a_look_alike_is_that_of_its_files(monkeypatch, tmp_path):
    shutil.copytree(images.HERE, tmp_path, dirs_exist_ok=True)
    before = images._edition(images.PYTHON)
    monkeypatch.setattr(images, "HERE", tmp_path)
    assert images._edition(images.PYTHON) == before
    (tmp_path / "python" / "Dockerfile").write_text("FROM debian:bookworm-slim")
    assert images._edition(images.PYTHON) != before
