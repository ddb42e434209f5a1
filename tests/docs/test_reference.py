"""The pages of docs/reference/ that are made from docstrings and `--help` say what these say."""

from __future__ import annotations

import difflib
import re

import pytest

import streamkit as sk
from streamkit.cli.main import commands
from tests.support.reference_pages import AREAS, ELSEWHERE, MARK, PLACE, names_of, pages


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


def test_the_pages_are_up_to_date(made):
    for name, text in made.items():
        path = PLACE / name
        there = path.read_text() if path.exists() else ""
        difference = list(
            difflib.unified_diff(there.splitlines(), text.rstrip("\n").splitlines(), "committed", "now", lineterm="", n=1)
        )
        assert not difference, f"docs/reference/{name} is out of date: run `make docs`\n" + "\n".join(difference[:40])


def test_no_page_is_left_over(made):
    marked = {path.name for path in PLACE.glob("*.md") if path.read_text().startswith("#") and MARK[:40] in path.read_text()}
    assert marked == set(made)


def test_every_public_name_is_on_one_page(made):
    placed = [name for area in AREAS for name in names_of(area)]
    assert sorted([*placed, *ELSEWHERE]) == sorted(sk.__all__)
    for area in AREAS:
        for name in names_of(area):
            assert f"\n## sk.{name}\n" in made[area.file]


def test_every_method_has_its_heading(made):
    steps = {name for name in vars(sk.Stream) if not name.startswith("_")}
    assert steps
    assert all(f"\n### Stream.{name}\n" in made["streams.md"] for name in steps)


def test_every_error_and_every_command_is_there(made):
    errors = [value.__name__ for value in vars(sk.errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    tree = made["errors.md"].partition("## Exit codes")[0]
    assert len(errors) > 20
    for name in errors:
        assert f"\n## {name}\n" in made["errors.md"]
        assert re.search(rf"\b{name}\b", tree), f"{name} is not in the tree at the top of errors.py"
    assert all(f"\n## streamkit {command.name}\n" in made["cli.md"] for command in commands.registered_commands)


def test_examples_and_signatures_are_as_in_the_source(made):
    topics = made["topics.md"]
    assert "class sk.Topic(name: str, *, key: Any = None, value: Any = Row)" in topics
    assert "```python\n>>> import streamkit as sk\n>>> class Bid(sk.Model):\n" in topics
    assert "``" not in topics.replace("```", "")


def test_what_help_says_in_brackets_is_shown(made):
    """A terminal takes [words] in brackets for markup and shows nothing."""
    said = " ".join(made["cli.md"].replace("│", " ").split())
    assert "pip install 'streamkit[profile]'" in said
