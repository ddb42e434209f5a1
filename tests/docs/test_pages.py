"""What the pages say of names, settings and other pages is so."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import streamkit as sk

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")})
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As code hosts make them out of headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(page.read_text())}


def broken(page: Path, text: str) -> list[str]:
    wrong = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert not broken(page, page.read_text())


def test_a_broken_link_is_found():
    text = "[a](docs/nowhere.md) [b](#nothing) [c](README.md#try-it) [d](https://kafka.apache.org)"
    assert broken(ROOT / "README.md", text) == ["docs/nowhere.md", "#nothing"]


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs/reference/settings.md").read_text()
    for field in dataclasses.fields(sk.EngineSettings):
        number = isinstance(field.default, int) and not isinstance(field.default, bool)
        unset = field.metadata.get("unset")
        default = unset if field.default is None else f"{field.default:,}" if number else f"`{str(field.default).lower()}`"
        assert f"| `{field.name}` | {default} |" in text, field.name


def test_every_rule_that_the_code_names_by_its_number_is_explained():
    sources = [path for top in ("streamkit", "tests") for path in (ROOT / top).rglob("*.py")]
    named = {rule for path in sources for rule in re.findall(r"\bR[1-9][0-9]?\b", path.read_text())}
    explained = re.findall(r"^\| (R[1-9][0-9]?) \| \w", (ROOT / "docs/internals.md").read_text(), re.MULTILINE)
    assert len(explained) > 20
    assert named == set(explained)
    assert len(explained) == len(named), "one is explained twice"


def test_every_module_below_these_packages_is_on_the_map():
    """Whose modules have names that say too little alone."""
    page = (ROOT / "docs/internals.md").read_text()
    of_packages = [path for top in ("runtime", "state", "eventtime") for path in (ROOT / "streamkit" / top).glob("*.py")]
    missing = [path.name for path in of_packages if path.stem not in ("__init__", "duration") and f"`{path.name}`" not in page]
    assert not missing


def test_no_page_installs_streamkit_from_an_index():
    """On PyPI the name belongs to another project. With an extra behind it, what is installed already is meant."""
    found = [
        str(page) for page in PAGES if re.search(r"pip install (?!-)[^`\n]*(?<![./\w-])streamkit(?![\w\[./-])", page.read_text())
    ]
    assert not found


def test_every_argument_of_run_is_documented():
    text = (ROOT / "docs/reference/settings.md").read_text()
    missing = [name for name in inspect.signature(sk.App.run).parameters if name != "self" and f"| `{name}` |" not in text]
    assert not missing


def test_the_table_of_operators_has_them_all():
    table = (ROOT / "docs/operators.md").read_text()
    steps = {name for kind in (sk.Stream, sk.Aggregated) for name in vars(kind) if not name.startswith("_")}
    assert not [name for name in steps if f"`{name}(" not in table]
