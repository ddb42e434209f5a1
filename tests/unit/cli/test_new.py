"""The project that `streamkit new` makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.cli.new import FILES, create
from streamkit.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
STREAMKIT = str(Path(sys.executable).with_name("streamkit"))


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)


def test_its_test_passes_at_once(tmp_path):
    create("spending", tmp_path / "spending")
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / "spending")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_it_is_well_typed_and_formatted(tmp_path):
    create("spending", tmp_path)
    for command in (
        ("mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "new"), "app.py"),  # what it knows of the package is kept
        ("ruff", "format", "--isolated", "--line-length", "130", "--diff", "app.py", "test_app.py"),
    ):
        done = run(sys.executable, "-m", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_says_what_to_do_next(tmp_path):
    done = run(STREAMKIT, "new", "spending", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "spending").iterdir()) == sorted(FILES)
    assert "cd spending\n  streamkit dev app.py --input events=events.jsonl" in done.stdout
    assert "$" not in "".join((tmp_path / "spending" / file).read_text() for file in FILES)
    topology = run(STREAMKIT, "topology", "app.py", cwd=tmp_path / "spending")
    assert topology.stdout.startswith("app 'spending': 2 sub-topologies")
    assert run(STREAMKIT, "config", "app.py", cwd=tmp_path / "spending").returncode == 0


def test_the_directory_can_be_another(tmp_path):
    done = run(STREAMKIT, "new", "spending", "--directory", ".", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "app.py").exists()
    assert "cd " not in done.stdout


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_overwritten(tmp_path, file):
    (tmp_path / file).write_text("mine")
    with pytest.raises(ConfigError, match=f"has {file} already"):
        create("spending", tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(file, "mine")]


def test_a_place_where_nothing_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made in"):
        create("spending", tmp_path / "file" / "spending")


@pytest.mark.parametrize("name,hint", [("My_App", "write it as 'my-app'"), ("../x", "write it as 'x'"), ("é", "use lower-case")])
def test_a_name_is_kebab_case(tmp_path, name, hint):
    done = run(STREAMKIT, "new", name, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the name of the app: ")
    assert hint in done.stderr
    assert list(tmp_path.iterdir()) == []
