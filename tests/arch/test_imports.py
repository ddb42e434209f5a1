"""The direction of imports, as pyproject.toml draws it: it holds, and each contract catches what it is there for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

# Every package of the layers, made by name in a scratch tree, so that a contract is tested before its package is written.
LAYERS = "errors config record clock instrument eventtime serdes state kafka plan dsl sql operators runtime ops app testing cli"


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo", "--config", str(tree / "pyproject.toml")],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture
def tree(tmp_path):
    for package in (*(f"streamkit/{layer}" for layer in LAYERS.split()), "streamkit", "services", "services/bids"):
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "__init__.py").write_text('"""A package."""\n')
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_project_keeps_its_contracts():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_allowed_imports_are_allowed(tree):
    lazy_face = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from streamkit.app import App\n"
    (tree / "streamkit/__init__.py").write_text(lazy_face)
    (tree / "streamkit/kafka/confluent.py").write_text("import confluent_kafka\nfrom streamkit.errors import X\n")
    (tree / "streamkit/testing/driver.py").write_text("import pytest\nfrom streamkit import app\n")
    (tree / "streamkit/cli/run.py").write_text("import streamkit\nfrom streamkit.testing import driver\n")
    (tree / "services/bids/app.py").write_text("import streamkit as sk\nfrom services.bids import model\n")
    (tree / "services/bids/model.py").write_text("from streamkit import Model\n")
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "file,line",
    [
        ("streamkit/errors/x.py", "from streamkit import record"),
        ("streamkit/record/x.py", "from streamkit import clock"),
        ("streamkit/eventtime/x.py", "import streamkit.kafka"),
        ("streamkit/plan/x.py", "from streamkit.dsl import x"),
        ("streamkit/dsl/x.py", "from streamkit import operators"),
        ("streamkit/runtime/x.py", "from streamkit.testing import driver"),
        ("streamkit/app/x.py", "from streamkit import cli"),
        ("streamkit/novelty/__init__.py", ""),  # exhaustive: a package that nobody gave a place
        ("streamkit/runtime/x.py", "import confluent_kafka"),
        ("streamkit/state/x.py", "import fastavro"),
        ("streamkit/serdes/x.py", "import rocksdict"),
        ("streamkit/app/x.py", "import starlette"),
        ("streamkit/runtime/x.py", "from prometheus_client import Counter"),
        ("streamkit/dsl/x.py", "import hypothesis"),
        ("streamkit/ops/x.py", "from testcontainers.core import container"),
        ("streamkit/dsl/x.py", "import streamkit"),
        ("streamkit/runtime/x.py", "from streamkit import App"),
        ("services/bids/app.py", "from streamkit.kafka import client"),
        ("services/bids/app.py", "import confluent_kafka"),
        ("streamkit/cli/x.py", "import services.bids"),
    ],
)
def test_a_wrong_import_is_caught(tree, file, line):
    path = tree / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    done = lint_imports(tree)
    assert done.returncode == 1, f"nobody minds `{line}` in {file}:\n{done.stdout}{done.stderr}"
    assert "BROKEN" in done.stdout, done.stdout + done.stderr
