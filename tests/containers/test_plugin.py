"""The test that docs/containers.md shows, in the project that `streamkit new` makes, by the pytest of a user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.cli.new import create
from tests.containers.conftest import ROOT

PAGE = ROOT / "docs/containers.md"


def run_pytest(directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"KAFKA_BOOTSTRAP_SERVERS", "PYTEST_ADDOPTS"}}
    environment |= {"TESTCONTAINERS_RYUK_DISABLED": "true", **variables}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    create("spending", tmp_path)
    (block,) = re.findall(r"<!-- this test is run [^>]*-->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "test_app.py").write_text(block)
    return tmp_path


@pytest.mark.timeout(330)
@pytest.mark.usefixtures("docker")
def test_the_test_of_the_page_passes(project):
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "kafka: container of apache/kafka:" in done.stdout  # which Kafka it was


def test_without_docker_it_fails_and_says_so(project, tmp_path):
    done = run_pytest(project, DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")
    assert done.returncode == 1
    assert "no Docker daemon answers" in done.stdout
    assert "skipped" not in done.stdout
