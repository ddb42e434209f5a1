"""README.md: its commands are run, its make targets exist, and what it says first fits on a screen. Its Python is run by
test_docstrings.py; tests/wheel runs it all in an environment with nothing but the wheel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import Page

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.timeout(300)
def test_its_commands_do_what_it_says(tmp_path):
    page = Page(tmp_path)
    page.run(README)
    assert page.ran == 4
    assert page.place == tmp_path / "my-shop"


def test_every_target_of_make_is_there():
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_command_of_streamkit_is_there():
    """Also in the blocks that are for reading: those that need a Kafka."""
    from streamkit.cli.main import commands

    known = {command.name for command in commands.registered_commands}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for line in page.read_text().splitlines():
            if found := re.match(r"(?:    |\$ )streamkit ([a-z]+)", line):
                assert found[1] in known, f"{page.name}: {line}"


def test_what_it_is_is_said_in_ten_lines():
    said = README.split("\n## ")[0].splitlines()
    assert len([line for line in said[1:] if line]) <= 12
