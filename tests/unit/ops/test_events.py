"""The table of events is that of the code, and so is the page made from it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import streamkit
from streamkit.ops.events import EVENTS, FIELDS
from tests.support.events_page import PAGE, page

PACKAGE = Path(streamkit.__file__).parent
TELLS = ("event", "_tell")


def calls(source: str) -> Iterator[tuple[str | None, set[str]]]:
    """Name (None: not a constant) and fields of every event that is told."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TELLS and node.args:
            first = node.args[0]
            name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
            yield name, {keyword.arg for keyword in node.keywords if keyword.arg is not None}


def sources() -> list[Path]:
    return [path for part in ("runtime", "ops") for path in sorted((PACKAGE / part).rglob("*.py")) if path.name != "events.py"]


@cache
def told() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sources():
        for name, fields in calls(path.read_text()):
            if name is not None:
                found.setdefault(name, set()).update(fields)
    return found


def words() -> set[str]:
    """Every text in the code: some events are told by a variable name."""
    trees = (ast.parse(path.read_text()) for path in sources())
    return {
        node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_event_that_is_told_is_in_the_table():
    assert sorted(set(told()) - set(EVENTS)) == []


def test_every_event_of_the_table_is_told():
    assert sorted(set(EVENTS) - words()) == []


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_the_fields_of_an_event_are_those_of_the_table(name):
    assert sorted(told().get(name, set()) - set(EVENTS[name].fields)) == []
    assert sorted(set(EVENTS[name].fields) - set(FIELDS)) == []


def test_every_field_has_an_event():
    assert sorted(set(FIELDS) - {field for event in EVENTS.values() for field in event.fields}) == []


def test_the_search_finds_what_it_is_for():
    found = list(calls('self._instrument.event("gone", topic=1, **more)\ninstrument.event(name)\nother("x")'))
    assert found == [("gone", {"topic"}), (None, set())]


def test_the_page_is_that_of_the_table():
    assert page() == PAGE.read_text(), "run python -m tests.support.events_page"
