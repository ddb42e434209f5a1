"""What mypy says of pipelines: it accepts the right ones and rejects each line that is marked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = Path(__file__).with_name("typing_pipelines.py")


@pytest.mark.timeout(300)
def test_mypy_rejects_the_marked_lines_and_no_others():
    marked = {number for number, line in enumerate(PIPELINES.read_text().splitlines(), 1) if line.endswith("# refused by mypy")}
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--hide-error-context",
        str(PIPELINES.relative_to(ROOT)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    found = {int(match[1]) for line in errors if (match := re.match(r"tests/plan/typing_pipelines\.py:(\d+): error:", line))}
    assert all(line.startswith("tests/plan/typing_pipelines.py:") for line in errors), done.stdout
    assert found - marked == set(), f"mypy rejects what it should accept:\n{done.stdout}"
    assert marked - found == set(), f"mypy accepts these lines: {sorted(marked - found)}\n{done.stdout}{done.stderr}"
