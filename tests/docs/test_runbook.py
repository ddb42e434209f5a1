"""The runbook has a section for every error that streamkit raises on purpose."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from streamkit import errors

PAGE = (Path(__file__).resolve().parents[2] / "docs/operate/runbook.md").read_text()
SECTIONS = {name: text.strip() for name, text in re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)}
CLASSES = sorted(name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, errors.StreamkitError))


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_a_section_that_says_something(name: str) -> None:
    assert name in SECTIONS, f"docs/operate/runbook.md has no section '### {name}': what happened, and what to do?"
    assert len(SECTIONS[name]) > 40


def test_there_is_no_section_of_an_error_that_is_gone() -> None:
    assert sorted(SECTIONS) == CLASSES


def test_the_commands_settings_and_fields_that_it_names_exist() -> None:
    import streamkit as sk
    from streamkit.config.catalogue import settings
    from streamkit.ops.events import FIELDS

    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    known = {*settings(), *FIELDS, *inspect.signature(sk.event_time).parameters, "key_by", "instance_id", "send_offsets"}
    assert named <= known, named - known
    assert hasattr(sk.App, "reset")
