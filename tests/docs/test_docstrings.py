"""Every example in a docstring of streamkit and in README.md and docs/*.md gives the output that stands below it."""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reference_pages import MARK

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "streamkit"
FLAGS = doctest.ELLIPSIS
FENCE = re.compile(r"^```(?:python|pycon)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def modules() -> list[str]:
    """By file, not by import: a module that cannot be imported is one failing test, not none."""
    found = sorted(PACKAGE.rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found)
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def pages() -> list[str]:
    """Those made of docstrings have the examples of these."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in found if MARK not in path.read_text()]


def examples(name: str, text: str) -> Iterator[doctest.DocTest]:
    """The fenced Python blocks of a page that are written as a session. Fences end a block's last output."""
    parser = doctest.DocTestParser()
    for block in FENCE.finditer(text):
        if ">>>" in block[1]:
            yield parser.get_doctest(block[1], {}, name, name, text.count("\n", 0, block.start(1)))


def run(tests: list[doctest.DocTest], globs: dict[str, object] | None = None) -> str:
    """The report of what failed. With `globs`, the blocks of a page see what the blocks above them made."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for test in tests:
        if globs is not None:
            test.globs = globs
        runner.run(test, out=report.append, clear_globs=False)
    return "".join(report)


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    report = run(doctest.DocTestFinder(exclude_empty=True).find(module))
    assert not report, report


@pytest.mark.parametrize("page", pages())
def test_examples_in_pages(page):
    report = run(list(examples(page, (ROOT / page).read_text())), globs={"__name__": "__main__"})
    assert not report, report


def test_a_wrong_example_is_found():
    text = "Text.\n\n```python\n>>> x = 1\n>>> x + 1\n2\n```\n\nand\n\n```pycon\n>>> x\n5\n```\n"
    report = run(list(examples("page.md", text)), globs={})
    assert 'File "page.md", line 12' in report
    assert report.count("Failed example") == 1
