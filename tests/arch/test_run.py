"""A run of the tests cannot pass by leaving tests out: what tests/conftest.py promises, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PASSES = "def test_passes(): pass\n"
NEEDS_A_BROKER = "def test_needs_a_broker(real_broker): assert real_broker\n"
ASKS_LATE = "def test_asks_late(request): assert request.getfixturevalue('real_broker')\n"
IMPATIENT = "from tests.support import broker; broker.NAMED_BROKER_TIMEOUT = 0.2\n"
SKIPS = "import pytest\ndef test_skips(): pytest.skip('no reason')\n"


CRASHES = "import os\ndef test_crashes(): os._exit(9)\ndef test_after_it(): pass\n"


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # with it pytest says things twice
    return subprocess.run(
        [*command, "--rootdir", str(directory), *arguments, str(directory)],
        cwd=ROOT,
        env={**environment, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},  # nobody answers there
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_without_a_broker_the_run_fails_and_says_why(tmp_path):
    (tmp_path / "test_a.py").write_text(IMPATIENT + PASSES + NEEDS_A_BROKER)
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "KAFKA_BOOTSTRAP_SERVERS is set, but 127.0.0.1:1 did not answer" in done.stdout


def test_no_broker_deselects_what_needs_one_and_says_so(tmp_path):
    (tmp_path / "test_a.py").write_text(PASSES + NEEDS_A_BROKER)
    done = run(tmp_path, "--no-broker")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "1 passed, 1 deselected" in done.stdout


def test_a_test_that_asks_for_the_broker_late_must_be_marked(tmp_path):
    (tmp_path / "test_a.py").write_text(ASKS_LATE)
    done = run(tmp_path, "--no-broker")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "mark the test with @pytest.mark.broker" in done.stdout


@pytest.mark.parametrize("source", [SKIPS, NEEDS_A_BROKER, ""])
def test_a_run_in_which_no_test_passed_is_not_a_success(tmp_path, source):
    (tmp_path / "test_a.py").write_text(source)
    assert run(tmp_path, "--no-broker").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_last_line_is_the_summary_of_pytest(tmp_path):
    (tmp_path / "test_a.py").write_text(PASSES)
    assert "1 passed" in run(tmp_path).stdout.rstrip().splitlines()[-1]


def test_beside_each_other_a_crash_is_one_failure_and_the_rest_is_run(tmp_path):
    (tmp_path / "test_a.py").write_text(CRASHES)
    (tmp_path / "test_b.py").write_text(PASSES)
    done = run(tmp_path, "-n", "2")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 passed" in done.stdout.rstrip().splitlines()[-1]
    assert done.stdout.count("crashed while running 'test_a.py::test_crashes'") == 1


def test_beside_each_other_one_process_looks_for_the_broker_and_the_run_fails_without(tmp_path):
    (tmp_path / "conftest.py").write_text(IMPATIENT)
    (tmp_path / "test_a.py").write_text(PASSES + NEEDS_A_BROKER)
    done = run(tmp_path, "-n", "2")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "KAFKA_BOOTSTRAP_SERVERS is set, but 127.0.0.1:1 did not answer" in done.stdout
    assert "passed" not in done.stdout


LATE = "import pytest\ntried = []\n{mark}\ndef test_it():\n    tried.append(1)\n    assert len(tried) > {fails}, 'too late'\n"
WRONG = """
import pytest
from tests.support import second_attempt
tried = []
@pytest.mark.broker
def test_it():
    tried.append(1)
    with second_attempt.results():
        assert len(tried) > 1, "lost"
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "with xdist"])
def test_a_test_on_a_real_kafka_has_a_second_attempt_and_the_first_is_shown(tmp_path, workers):
    (tmp_path / "test_a.py").write_text(LATE.format(mark="@pytest.mark.broker", fails=1))
    done = run(tmp_path, *workers)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "1 passed, 1 rerun" in done.stdout
    assert "first attempt of test_a.py::test_it" in done.stdout
    assert "AssertionError: too late" in done.stdout


@pytest.mark.parametrize(
    "content",
    [LATE.format(mark="@pytest.mark.broker", fails=2), LATE.format(mark="", fails=1), WRONG],
    ids=["twice", "without a Kafka", "wrong results"],
)
def test_what_fails_twice_or_for_another_reason_fails(tmp_path, content):
    (tmp_path / "test_a.py").write_text(content)
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert ("1 rerun" in done.stdout) == ("> 2" in content)
