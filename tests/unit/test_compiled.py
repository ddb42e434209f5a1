"""What STREAMKIT_NATIVE decides, and that the places which name the compiled modules agree."""

from __future__ import annotations

import logging
import re
import sys
import types
from pathlib import Path

import pytest

from streamkit import compiled
from streamkit.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
MISSING = "streamkit.is_not_compiled"


@pytest.fixture
def there(monkeypatch) -> types.ModuleType:
    """A module that stands for a compiled one, as `there`."""
    module = types.ModuleType("there")
    monkeypatch.setitem(sys.modules, "there", module)
    return module


@pytest.mark.parametrize("wanted", [None, "", "auto", "require"])
def test_what_is_there_is_taken(monkeypatch, there, wanted):
    choose(monkeypatch, wanted)
    assert compiled.load("there") is there


def test_off_goes_without_and_says_nothing(monkeypatch, there, caplog):
    choose(monkeypatch, "off")
    with caplog.at_level(logging.DEBUG, "streamkit"):
        assert compiled.load("there") is None
    assert not caplog.records


@pytest.mark.parametrize("wanted", [None, "", "auto"])
def test_what_is_missing_is_gone_without_and_told(monkeypatch, caplog, wanted):
    choose(monkeypatch, wanted)
    with caplog.at_level(logging.INFO, "streamkit"):
        assert compiled.load(MISSING) is None
    (told,) = caplog.messages
    assert told.startswith(f"{MISSING} is not there, so records are handled one by one: No module named")


def test_what_was_compiled_for_another_system_is_gone_without_and_told(monkeypatch, caplog, tmp_path):
    """As a binary for a newer C library is that pip takes from a wheel of another machine: the loader refuses it."""
    (tmp_path / "of_another_system.abi3.so").write_bytes(b"\x7fELF of another system")
    monkeypatch.syspath_prepend(tmp_path)
    choose(monkeypatch, "auto")
    with caplog.at_level(logging.INFO, "streamkit"):
        assert compiled.load("of_another_system") is None
    (told,) = caplog.messages
    assert "of_another_system.abi3.so" in told.partition("one by one: ")[2]
    choose(monkeypatch, "require")
    with pytest.raises(ConfigError, match=r"require, but of_another_system cannot be loaded: .*of_another_system\.abi3\.so"):
        compiled.load("of_another_system")


def test_what_is_missing_is_an_error_where_it_is_required(monkeypatch):
    choose(monkeypatch, "require")
    with pytest.raises(ConfigError, match=f"STREAMKIT_NATIVE=require, but {MISSING} cannot be loaded: No module named") as raised:
        compiled.load(MISSING)
    assert isinstance(raised.value.__cause__, ImportError)


def test_an_error_that_is_no_failed_import_is_not_hidden(monkeypatch, tmp_path):
    (tmp_path / "with_a_bug.py").write_text("1 // 0")
    monkeypatch.syspath_prepend(tmp_path)
    choose(monkeypatch, "auto")
    with pytest.raises(ZeroDivisionError):
        compiled.load("with_a_bug")


def test_another_value_is_an_error_that_says_which_there_are(monkeypatch, there):
    choose(monkeypatch, "yes")
    with pytest.raises(ConfigError, match="STREAMKIT_NATIVE=yes: wanted is one of auto, off, require"):
        compiled.load("there")


@pytest.mark.parametrize("wanted,is_required", [(None, False), ("auto", False), ("off", False), ("require", True)])
def test_required(monkeypatch, wanted, is_required):
    choose(monkeypatch, wanted)
    assert compiled.required() is is_required


def test_what_is_built_is_what_is_named():
    """hatch_build.py stands outside of the package, and needs what builds it."""
    built = set(re.findall(r'"(streamkit\.[\w.]+)": "', (ROOT / "hatch_build.py").read_text()))
    documented = set(re.findall(r"^    (streamkit\.\S+)", compiled.__doc__ or "", re.MULTILINE))
    assert built == documented == set(compiled.PARTS.values())


def test_make_installs_anew_when_any_source_of_an_extension_has_changed():
    folders = re.findall(r'"streamkit\.[\w.]+": "([^"]+)"', (ROOT / "hatch_build.py").read_text())
    sources = {path for folder in folders for path in (ROOT / folder).glob("*.[ch]")}
    line = re.search(r"^INSTALLED_FROM := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line is not None
    patterns = [each for group in re.findall(r"\$\(wildcard ([^)]*)\)", line[1]) for each in group.split()]
    watched = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert len(folders) == len(compiled.PARTS)
    assert sources
    assert watched == sources


def choose(monkeypatch: pytest.MonkeyPatch, wanted: str | None) -> None:
    if wanted is None:
        monkeypatch.delenv(compiled.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(compiled.VARIABLE, wanted)
