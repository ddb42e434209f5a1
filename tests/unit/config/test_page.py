"""docs/reference/settings.md has the settings that there are, and its file and its output are real."""

from __future__ import annotations

import re

from streamkit.config.resolve import resolve
from tests.support.settings_page import PAGE, filled


def test_the_tables_are_those_of_the_code():
    assert filled(PAGE.read_text()) == PAGE.read_text(), "run python -m tests.support.settings_page"


def test_what_is_unset_is_told_as_streamkit_config_tells_it():
    page = PAGE.read_text()
    assert "| `min_insync_replicas` | the broker's |" in page
    assert "| `memory_limit_mb` | none |" in page


def test_the_example_file_is_accepted(tmp_path):
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    path = tmp_path / "streamkit.toml"
    path.write_text(example[1])
    found = resolve(environ={}, file=path)
    assert found.engine.commit_interval_ms == 50
    assert found.kafka["security.protocol"] == "SASL_SSL"
